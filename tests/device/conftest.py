"""A device to run, and what must hold after every run: nothing left, nothing said on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.devices import Outcome, Toy, nothing_left, run

Run = Callable[..., Outcome]


@pytest.fixture
def device(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a toy; afterwards no process and no control group is left, and no traceback was printed."""
    count = 0

    def run_one(toy: Toy | Path, frames: int = 12, **plan: Any) -> Outcome:
        nonlocal count
        count += 1
        return run(toy, tmp_path / str(count), frames, **plan)

    with nothing_left():
        yield run_one
    assert capfd.readouterr().err == ""
