"""K17: grab memory, so that none is left for others."""

from __future__ import annotations

import mmap

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.effects import GRANTED, PARTITION_RSS_BYTES_MAX, in_mib
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound

MEMORY_BYTES_MAX = 600_000_000
_STEP_BYTES = 8 << 20


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """Anonymous memory, every page really taken: ``bytes`` (595 MB)."""
    size = min(int(parameters.get("bytes", 595_000_000)), MEMORY_BYTES_MAX)
    held: list[mmap.mmap] = []
    taken = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    total, note = 0, ""
    try:
        while total < size:
            step = min(_STEP_BYTES, size - total)
            held.append(mmap.mmap(-1, step, flags=taken))
            total += step
    except (OSError, MemoryError) as error:
        note = f"{type(error).__name__}: {error}"
    bodies.hold(parameters, 0.1)
    for block in held:
        block.close()
    return {"bytes": total, "note": note}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A process of the attacker was seen with more memory than any of its bounds allows."""
    limit = bound(injection, "rss_bytes_max", PARTITION_RSS_BYTES_MAX)
    peak = max(peak.rss_bytes_max for peak in seen.peaks_of(injection, seen.attacker))
    return Effect(
        peak > limit,
        f"{seen.attacker} held at most {in_mib(peak)} of memory; the bound is {in_mib(limit)} {GRANTED}.",
    )


ATTACK = Attack(
    "K17",
    "It grabs hundreds of megabytes of memory, so that none is left for therapy.",
    effect,
    inject,
    parameters={"bytes": Between(450_000_000, MEMORY_BYTES_MAX)},
    walls=("rlimits", "memcg"),
)
