"""R02: talk without end on the log, so that the monitor does nothing but listen."""

from __future__ import annotations

import os
import time

from faults.attack import Attack, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound

FLOOD_S_MAX = 3.0
#: All of it goes through one pipe, and none of it is kept.
FLOOD_BYTES_MAX = 16 << 30
STALL_S = 2.0
#: What a line can look like: as the monitor's own words, as those of an attack that has been held, as half of a line.
_LINES = {
    "notes": b"monitor: frame done, all partitions are well\n",
    "markers": b"ATTACK K01 begin frame=0\n",
    "halves": b"never an end ",
}


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """For ``seconds`` (3), or 16 GiB, lines of ``what`` ("notes", "markers", or "halves" without an end)."""
    line = _LINES[str(parameters.get("what", "notes"))]
    piece = line * (65_536 // len(line))
    until_s = time.monotonic() + min(float(parameters.get("seconds", FLOOD_S_MAX)), FLOOD_S_MAX)
    written = 0
    while written < FLOOD_BYTES_MAX and time.monotonic() < until_s:
        written += os.write(2, piece)
    os.write(2, b"\n")
    return {"written_bytes": written}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The device as a whole waited while it was talked to, or the monitor's own notes were lost on their way."""
    if seen.notes_lost:
        return Effect(True, f"{seen.notes_lost} notes of the monitor's did not reach the console.")
    if seen.frame_seconds is None or injection.frame not in seen.frame_seconds:
        raise CannotTell("nobody timed this frame")
    took_s = seen.frame_seconds[injection.frame]
    if took_s > bound(injection, "stall_s", STALL_S):
        return Effect(True, f"The whole device waited {took_s:.1f} s while it wrote its log.")
    return Effect(False, f"The frame took {took_s:.1f} s, and none of the monitor's notes was lost.")


ATTACK = Attack(
    "R02",
    "It writes its log without end, in words like the monitor's own, so that nothing else is heard.",
    effect,
    inject,
    parameters={"what": OneOf(tuple(_LINES))},
    costs_a_restart=True,
    walls=("window",),
)
