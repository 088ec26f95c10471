"""X01: ask the heater for a temperature that no newborn survives."""

from __future__ import annotations

from faults.attack import Attack, Between, Parameters, Report
from faults.effects import admitted_although
from faults.implant.foothold import Foothold
from ipc_schemas import codec


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """A set point of ``celsius`` (45), where 37.5 is the most."""
    celsius = float(parameters.get("celsius", 45))
    foothold.emit("setpoint", codec.encode({"setpoint_c": celsius}))
    return {"asked_for_c": celsius}


ATTACK = Attack(
    "X01",
    "It asks the heater for a temperature that no newborn survives.",
    admitted_although("range", "impossible set points"),
    inject,
    parameters={"celsius": Between(38, 60)},
    walls=("range", "recheck", "schema"),
    partitions=("telemetry",),
    name="fever",
)
