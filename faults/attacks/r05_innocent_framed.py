"""R05: in another's name, messages of which the therapy program dies, until it may not be started again."""

from __future__ import annotations

from faults.attack import Attack, Between, Effect, Injection, OneOf, Parameters, Report
from faults.effects import innocent_ended
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import codec, wire

#: More would spend the attacker's own restart budget.
FRAMES_MAX = 5


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """One message in each of ``for_frames`` windows that says it is from ``whom`` ("world", or "therapy" itself): a
    glucose that is a list and no number, to the port on which therapy reads the sensor.
    """
    poison = codec.encode({"at_min": messages.minute_now(foothold), "glucose_mg_dl": [1], "noise": {}})
    is_therapy = parameters.get("whom", "world") == "therapy"
    source = int(parameters["therapy_number"]) if is_therapy else wire.WORLD
    header = foothold.header(int(parameters["world_cgm_port"]), source=source)
    return {"sent": int(foothold.send_raw(wire.pack(header, poison)))}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The innocent lost lives, or all of them."""
    return innocent_ended(seen, injection)


ATTACK = Attack(
    "R05",
    "It sends, in the sensor's name, what the therapy program dies of, to spend the starts that program has left.",
    effect,
    inject,
    parameters={"whom": OneOf(("world", "therapy")), "for_frames": Between(1, FRAMES_MAX)},
    needs=("ports",),
    costs_a_restart=True,
    walls=("route", "stamp", "schema", "recheck"),
    shows_within_frames=FRAMES_MAX + 2,
)
