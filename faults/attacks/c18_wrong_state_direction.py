"""C18: in its own name, a dose to ports to which it has no right to speak."""

from __future__ import annotations

from faults.attack import Attack, Effect, Injection, Parameters, Report
from faults.effects import forged, minute_of
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import codec, wire


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """A dose to therapy's port, to the pump's, and backwards through its own input ``status``."""
    payload = codec.encode(messages.forged_command(messages.minute_now(foothold)))
    ports = [int(parameters["therapy_pump_command_port"]), int(parameters["world_pump_command_port"])]
    ports.append(foothold.port("status"))
    sent = sum(foothold.send_raw(wire.pack(foothold.header(port), payload)) for port in ports)
    return {"sent": sent}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The dose was admitted, to whatever port."""
    payloads = {codec.encode(messages.forged_command(minute_of(injection))): "The dose command"}
    return forged(seen, injection, payloads) or Effect(
        False, "No message went through to a port that is not its own."
    )


ATTACK = Attack(
    "C18",
    "It sends a dose command straight to the pump, to which it has no right to speak.",
    effect,
    inject,
    needs=("ports",),
    walls=("route",),
)
