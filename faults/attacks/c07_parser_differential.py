"""C07: one message, two readings."""

from __future__ import annotations

from faults.attack import Attack, Effect, Injection, OneOf, Parameters, Report
from faults.effects import anything
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import codec

#: What only the ambiguous messages carry: the steps beside an integer that is wider than it needs to be, and
#: the two readings of a counter that comes twice.
AMBIGUOUS_STEPS = 297.0625
AMBIGUOUS_COUNTERS = (0xA5A5_0001, 0xA5A5_0002)


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``kind``: an integer in ``wide`` form, one key ``twice`` (readers differ on which wins), or ``both`` (usual)."""
    minute, kind, sent = messages.minute_now(foothold), str(parameters.get("kind", "both")), 0
    if kind in ("wide", "both"):
        wide = codec.encode("at_min") + b"\xcf" + minute.to_bytes(8, "big")
        steps = codec.encode("steps_per_min") + codec.encode(AMBIGUOUS_STEPS)
        foothold.emit(messages.HINT, messages.MAP_OF_TWO + wide + steps)
        sent += 1
    if kind in ("twice", "both"):
        first, last = AMBIGUOUS_COUNTERS
        fields = codec.encode(messages.request(minute, counter=first))[1:]
        again = codec.encode("counter") + codec.encode(last)
        foothold.emit(messages.REQUEST, messages.MAP_OF_SEVEN + fields + again)
        sent += 1
    return {"sent": sent}


def effect(seen: Observations, injection: Injection) -> Effect:
    """One of the readings of a message that has several was passed on, or the message itself."""
    for one, payload in seen.payloads(injection):
        if seen.refusal(one.port, payload) == "canonical":
            return Effect(
                True, f"A message with two readings went through to {one.port} in frame {one.frame}."
            )
        value = anything(payload)
        if isinstance(value, dict) and (
            value.get("steps_per_min") == AMBIGUOUS_STEPS or value.get("counter") in AMBIGUOUS_COUNTERS
        ):
            return Effect(True, f"One of two readings went through to {one.port} in frame {one.frame}.")
    return Effect(False, "No ambiguous message went through, in no reading.")


ATTACK = Attack(
    "C07",
    "It sends a message that two readers read differently, to slip past the one that checks.",
    effect,
    inject,
    parameters={"kind": OneOf(("wide", "twice", "both"))},
    replaces=messages.HINT,
    walls=("canonical",),
)
