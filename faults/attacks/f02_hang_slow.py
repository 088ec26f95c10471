"""F02: hang, and do not give the turn back."""

from __future__ import annotations

import time

from faults.attack import Attack, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound

HANG_S_MAX = 3.0
STALL_S = 2.0


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """Does not close its window for ``seconds`` (3): it spins, or with ``how`` "sleep" it sleeps."""
    until_s = time.monotonic() + min(float(parameters.get("seconds", HANG_S_MAX)), HANG_S_MAX)
    turns = 0
    while time.monotonic() < until_s:
        turns += 1
        if parameters.get("how", "spin") == "sleep":
            time.sleep(0.05)
    return {"turns": turns}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The device as a whole waited for it."""
    if seen.frame_seconds is None or injection.frame not in seen.frame_seconds:
        raise CannotTell("nobody timed this frame")
    limit, took = bound(injection, "stall_s", STALL_S), seen.frame_seconds[injection.frame]
    if took > limit:
        return Effect(True, f"The whole device waited {took:.1f} s for it.")
    return Effect(False, f"The frame took {took:.1f} s: nobody waited for it.")


ATTACK = Attack(
    "F02",
    "It simply hangs, and does not give its turn back.",
    effect,
    inject,
    parameters={"how": OneOf(("sleep", "spin"))},
    costs_a_restart=True,
    walls=("window",),
)
