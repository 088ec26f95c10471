"""F03: the partition's own clock jumps, and with it what it stamps on its messages."""

from __future__ import annotations

from faults.attack import Attack, Effect, Injection, OneOf, Parameters, Report
from faults.effects import anything, minute_of
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import codec
from ipc_schemas.insulin_pump import ActivityHint

FRAME_MIN = 5
#: An honest message may be one frame old.
OFF_MIN = 10
FRAME_MAX, MINUTE_MAX = 0xFFFF_FFFF, 5_256_000


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """The SDK's frame jumps by ``minutes`` (60) until the next window sets it again; what is sent bears that time."""
    minutes = int(parameters.get("minutes", 60))
    link = foothold.link
    if link is None:
        return {"note": "no link found"}
    link.frame = min(max(link.frame + minutes // FRAME_MIN, 0), FRAME_MAX)
    at_min = min(max(messages.minute_now(foothold) + minutes, 0), MINUTE_MAX)
    foothold.emit(messages.HINT, codec.encode(ActivityHint(at_min, 60.0)))
    return {"frame": link.frame, "at_min": at_min}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A message was admitted that is stamped with a time two frames or more from the device's own."""
    for one, payload in seen.payloads(injection):
        value = anything(payload)
        at_min = value.get("at_min") if isinstance(value, dict) else None
        if one.frame != injection.frame or not isinstance(at_min, int):
            continue
        off_min = at_min - minute_of(injection)
        if abs(off_min) >= OFF_MIN:
            return Effect(
                True, f"A message from a clock {off_min:+d} minutes off went through to {one.port}."
            )
    return Effect(False, "No message from the wrong clock went through.")


ATTACK = Attack(
    "F03",
    "Its clock jumps, and it sends measurements stamped with a time that is not now.",
    effect,
    inject,
    parameters={"minutes": OneOf((10, -10, 60, -60, 1_440, -1_440))},
    replaces=messages.HINT,
    costs_a_restart=True,
    walls=("sequence",),
)
