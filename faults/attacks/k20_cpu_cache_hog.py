"""K20: keep every processor busy, and drive everyone else's data out of the caches."""

from __future__ import annotations

import time

from faults.attack import Attack, Between, Effect, Injection, OneOf, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound

CHILDREN_MAX = 4
#: Of processor time each, and on the clock, which is longer on a busy machine.
SPIN_CPU_S, SPIN_S_MAX = 1.8, 8
#: One window of one second, and half of that for what else a partition does in its frames.
CPU_S_MAX = 1.5
#: What each walks through: nothing, as much as the last cache, or more than any cache holds.
BYTES_USUAL, BYTES_MAX = 8 << 20, 48 << 20
_LINE_BYTES = 64


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """``count`` (2) children and this process each walk through ``bytes`` (8 MiB) of memory for ``seconds`` (1.8) of
    processor time; with no bytes they only spin.
    """
    seconds = min(float(parameters.get("seconds", SPIN_CPU_S)), SPIN_CPU_S)
    count = min(int(parameters.get("count", 2)), CHILDREN_MAX)
    size = min(int(parameters.get("bytes", BYTES_USUAL)), BYTES_MAX)
    born, note = bodies.breed(count, lambda: _spin(seconds, size), SPIN_S_MAX)
    _spin(seconds, size)
    return {"children": born, "note": note}


def _spin(seconds: float, size: int) -> None:
    memory, line = bytearray(size), bytes(size // _LINE_BYTES)
    until_s, enough_s = time.monotonic() + SPIN_S_MAX, time.process_time() + seconds
    while time.monotonic() < until_s and time.process_time() < enough_s:
        memory[::_LINE_BYTES] = line


def effect(seen: Observations, injection: Injection) -> Effect:
    """It used more processor time than its window grants. Virtual time shows nothing of this; the host's count does."""
    limit = bound(injection, "cpu_s_max", CPU_S_MAX)
    used = sum(peak.cpu_s for peak in seen.peaks_of(injection, seen.attacker))
    return Effect(
        used > limit, f"It used {used:.1f} s of processor time; {limit:.1f} s is what its frames grant."
    )


ATTACK = Attack(
    "K20",
    "It keeps every processor busy at once, and pushes everyone else's data out of the fast memory.",
    effect,
    inject,
    parameters={"count": Between(1, CHILDREN_MAX), "bytes": OneOf((0, BYTES_USUAL, BYTES_MAX))},
    costs_a_restart=True,
    walls=("window",),
)
