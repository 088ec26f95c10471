"""When a partition's windows opened on the real clock, read off a finished run: how late, and which it did not have."""

from __future__ import annotations

from dataclasses import dataclass

from world.bench import Record

#: Rulings that say nothing about a window that was not had, or had in time.
_NOT_OF_TIME = frozenset({"cpu_exceeded", "stale_input", "log_flood"})


class NoTimes(Exception):
    """A run that tells nothing about its windows; the sentence says why."""


@dataclass(frozen=True, slots=True)
class WindowTimes:
    """One run. ``lateness_ms`` has one value for each window that opened, in order; the rest are numbers of frames."""

    frames: int
    lateness_ms: tuple[float, ...]
    unopened: frozenset[int]
    overran: frozenset[int]
    opened_late: frozenset[int]

    @property
    def missed(self) -> int:
        """Deadlines missed: windows that did not open, opened later than their budget lasts, or did not end in it."""
        return len(self.unopened | self.overran | self.opened_late)


def read_off(record: Record, partition: str, budget_ms: float) -> WindowTimes:
    """The windows of one partition, each of ``budget_ms``. Raises ``NoTimes``."""
    ends = record.of_kind("end")
    if not ends:
        raise NoTimes("the monitor ended without a word about its windows")
    if record.exit_status != 0:
        raise NoTimes(f"the device stopped: {ends[0].text}")
    told = ends[0].facts.get(f"lateness_ms.{partition}")
    if not isinstance(told, list):
        raise NoTimes(f"not one window of {partition} opened")
    lateness = tuple(float(value) for value in told)
    unopened = _frames(ends[0].facts.get(f"unopened.{partition}"))
    opened = [frame for frame in range(record.plan.frames) if frame not in unopened]
    if len(opened) != len(lateness):
        raise NoTimes(
            f"{partition} had {len(lateness)} windows and did not have {len(unopened)}, of {record.plan.frames}"
        )
    late = frozenset(frame for frame, ms in zip(opened, lateness, strict=True) if ms > budget_ms)
    overran = frozenset(
        note.frame
        for note in record.of_kind("ruling")
        if note.partition == partition and note.facts["event"] not in _NOT_OF_TIME
    )
    return WindowTimes(record.plan.frames, lateness, unopened, overran, late)


def _frames(told: object) -> frozenset[int]:
    return frozenset(int(frame) for frame in told) if isinstance(told, list) else frozenset()
