"""C15: a glucose reading in the world's name and a dose in therapy's."""

from __future__ import annotations

from faults.attack import Attack, Effect, Injection, OneOf, Parameters, Report
from faults.effects import forged, minute_of
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import codec, wire


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``what``: a ``reading``, a ``dose``, or ``both`` (usual). The numbers are what the published design says."""
    at_min, what, sent = messages.minute_now(foothold), str(parameters.get("what", "both")), 0
    if what in ("reading", "both"):
        header = foothold.header(int(parameters["world_cgm_port"]), source=wire.WORLD)
        sent += foothold.send_raw(wire.pack(header, codec.encode(messages.forged_reading(at_min))))
    if what in ("dose", "both"):
        port, source = int(parameters["therapy_pump_command_port"]), int(parameters["therapy_number"])
        header = foothold.header(port, source=source)
        sent += foothold.send_raw(wire.pack(header, codec.encode(messages.forged_command(at_min))))
    return {"sent": sent}


def effect(seen: Observations, injection: Injection) -> Effect:
    """One of the two forgeries was admitted."""
    at_min = minute_of(injection)
    payloads = {
        codec.encode(messages.forged_reading(at_min)): "The forged glucose reading",
        codec.encode(messages.forged_command(at_min)): "The forged dose",
    }
    return forged(seen, injection, payloads) or Effect(False, "Neither forged message went through.")


ATTACK = Attack(
    "C15",
    "It forges a glucose of 400 in the sensor's name, and a large insulin dose in therapy's name.",
    effect,
    inject,
    parameters={"what": OneOf(("reading", "dose", "both"))},
    needs=("ports",),
    costs_a_restart=True,
    walls=("stamp", "route"),
)
