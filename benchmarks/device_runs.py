"""Runs of a measured device through the test bench, and what is read off them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from world.bench import Bench, Plan, Record, run_folder


class RunFailed(Exception):
    """A run that was to be measured did not end as it should; the sentence says how."""


def run(design: Path, frames: int, clock: str = "virtual") -> Record:
    """One walled run, journal on. Raises ``RunFailed``."""
    with run_folder() as folder, Bench() as bench:
        record = bench.run(Plan(design, frames, clock=clock), folder)
        check(record)
        return record


def check(record: Record) -> None:
    """Raises ``RunFailed`` unless the device did all its frames."""
    if record.exit_status != 0:
        ends = [note.text for note in record.of_kind("end")]
        raise RunFailed(
            f"{record.plan.design.name}: the device stopped: {ends[0] if ends else 'without a word'}"
        )


@contextmanager
def design_folder() -> Iterator[Path]:
    """A folder for a made design, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bh-bench-") as name:
        yield Path(name)
