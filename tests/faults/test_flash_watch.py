"""Whoever acts when a file is opened acts in order, once, and ends with the block."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from faults.flash_watch import OnOpen
from tests.support.devices import wait_until


def test_each_step_waits_for_its_own_file_and_for_the_one_before(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    done: list[str] = []
    with OnOpen(tmp_path, [("a", lambda: done.append("a")), ("b", lambda: done.append("b"))]):
        (tmp_path / "b").read_text()
        (tmp_path / "c").read_text()
        (tmp_path / "a").read_text()
        assert wait_until(lambda: done == ["a"], 10.0)
        (tmp_path / "b").read_text()
        assert wait_until(lambda: done == ["a", "b"], 10.0)
        (tmp_path / "a").read_text()
    assert done == ["a", "b"]
    assert "flash" not in {thread.name for thread in threading.enumerate()}


def test_whoever_has_the_file_open_reads_on_in_the_old_one(tmp_path: Path) -> None:
    path, other = tmp_path / "image", tmp_path / "other"
    path.write_text("own")
    other.write_text("foreign")
    swapped = threading.Event()

    def swap() -> None:
        other.replace(path)
        swapped.set()

    with OnOpen(tmp_path, [("image", swap)]), open(path) as held:
        assert swapped.wait(10.0)
        assert held.read() == "own"
    assert path.read_text() == "foreign"


def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        OnOpen(tmp_path / "nowhere", [])
