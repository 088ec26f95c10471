"""Which partitions are off at the end of a run is read from their lives in the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidence.at_end import Off, off_at_end
from faults.experiment import Run
from monitor import journal
from monitor.loader import load_design
from sandbox import walls
from world.bench import Plan, Record

PLAN = Plan(Path("designs/insulin_pump"), 9)
DESIGN = load_design(PLAN.design, walls.ALL)
HEADER = journal.Header(1, "d", "0" * 64, 9, (), {}, ())
UP = {0: (("therapy", "up"), ("transfer", "up"))}


def off(lives: dict[int, tuple[tuple[str, str], ...]]) -> tuple[Off, ...]:
    """Who is off after these lives, by frame."""
    frames = [
        journal.Frame(frame, (), (), (), tuple(journal.Life(name, 0, what) for name, what in told))
        for frame, told in lives.items()
    ]
    return off_at_end(Run(DESIGN, Record(PLAN, Path(), None), journal.Reading((HEADER, *frames), "00", 0)))


@pytest.mark.parametrize(
    ("lives", "found"),
    [
        (UP, ()),
        (UP | {3: (("therapy", "killed"), ("therapy", "up"))}, ()),
        (UP | {3: (("therapy", "killed"),), 4: (("therapy", "up"),)}, ()),
        (UP | {3: (("therapy", "ended"),)}, (Off("therapy", "C", True, 3),)),
        (
            UP | {3: (("transfer", "killed"),), 4: (("transfer", "failed"),)},
            (Off("transfer", "A", False, 3),),
        ),
        ({0: (("transfer", "up"),)}, (Off("therapy", "C", True, 0),)),
    ],
)
def test_a_partition_is_off_since_its_last_life_ended(
    lives: dict[int, tuple[tuple[str, str], ...]], found: tuple[Off, ...]
) -> None:
    assert off(lives) == found


def test_without_a_journal_nothing_is_claimed() -> None:
    assert off_at_end(Run(DESIGN, Record(PLAN, Path(), None), None)) == ()
