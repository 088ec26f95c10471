"""C19: give the turn back, and then read nothing any more."""

from __future__ import annotations

import time

from faults.attack import Attack, Between, CannotTell, Effect, Injection, Parameters, Report
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound

SILENCE_MS_MAX = 4_000
STALL_S = 2.0


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """Closes this window as an honest partition does, and then leaves its channel unread for ``silence_ms`` (3,000).

    So the next window goes into a queue that nobody empties, and whoever sends it waits for an answer.
    """
    link = foothold.link
    link.close_window()
    # The SDK will close the window once more when this returns: once only, that must not happen.
    link.close_window = lambda: delattr(link, "close_window")
    time.sleep(min(int(parameters.get("silence_ms", 3_000)), SILENCE_MS_MAX) / 1_000)
    return {"closed": foothold.window.frame}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The device as a whole waited for it, in this frame or the next."""
    timed = {
        frame: seconds
        for frame, seconds in (seen.frame_seconds or {}).items()
        if frame in (injection.frame, injection.frame + 1) and injection.covers(frame)
    }
    if not timed:
        raise CannotTell("nobody timed these frames")
    limit, took = bound(injection, "stall_s", STALL_S), max(timed.values())
    if took > limit:
        return Effect(True, f"The whole device waited {took:.1f} s for a reader that did not read.")
    return Effect(False, f"No frame took longer than {took:.1f} s: nobody waited for the reader.")


ATTACK = Attack(
    "C19",
    "It stops reading what it is sent, so that whoever sends to it has to wait.",
    effect,
    inject,
    parameters={"silence_ms": Between(2_500, SILENCE_MS_MAX)},
    costs_a_restart=True,
    walls=("window",),
)
