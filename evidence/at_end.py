"""Which partitions are off when a run ends, from the journal: a device whose therapy is gone has not done its day."""

from __future__ import annotations

from typing import NamedTuple

from faults.experiment import Run
from monitor import journal
from monitor.design import Partition, SafetyClass


class Off(NamedTuple):
    """A partition that is not up at the end, since ``since_frame``. ``is_critical``: critical, or of class C."""

    partition: str
    safety_class: str
    is_critical: bool
    since_frame: int

    @property
    def who(self) -> str:
        """``therapy (class C)``."""
        return f"{self.partition} (class {self.safety_class})"


def off_at_end(run: Run) -> tuple[Off, ...]:
    """The partitions that are off at the end, in the design's order; none without a journal, which tells nothing."""
    if run.reading is None:
        return ()
    since: dict[str, int | None] = {partition.name: 0 for partition in run.design.partitions}
    pages = [entry for entry in run.reading.entries if isinstance(entry, journal.Frame)]
    for frame, life in ((page.frame, life) for page in pages for life in page.lives):
        if life.what == "up":
            since[life.partition] = None
        elif since.get(life.partition) is None:
            since[life.partition] = frame
    return tuple(_off(p, began) for p in run.design.partitions if (began := since[p.name]) is not None)


def _off(partition: Partition, frame: int) -> Off:
    is_critical = partition.is_critical or partition.safety_class is SafetyClass.C
    return Off(partition.name, partition.safety_class.value, is_critical, frame)
