"""Folders of runs whose owner is dead are swept; anything that may belong to a living process stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from world import leftovers
from world.bench import run_folder


def dead_pid() -> int:
    """The pid of a process that has ended and was waited for."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(30)
    return process.pid


def a_folder(base: Path, name: str, text: str | None = None) -> Path:
    folder = base / name
    folder.mkdir()
    if text is not None:
        (folder / leftovers.MARK).write_text(text)
    return folder


def own_mark(tmp_path: Path) -> list[str]:
    """The words of a mark of this process: boot, PID namespace, pid, start."""
    folder = a_folder(tmp_path, "mine")
    leftovers.mark(folder)
    return (folder / leftovers.MARK).read_text().split()


def test_a_folder_of_a_dead_process_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    boot, space, _, start = own_mark(tmp_path)
    folder = a_folder(tmp_path, "bh-dead", f"{boot} {space} {dead_pid()} {start}\n")
    (folder / "ch").mkdir()
    assert leftovers.sweep(tmp_path) == [folder]
    assert not folder.exists()


def test_a_pid_that_another_process_has_now_is_a_dead_owner(tmp_path: Path) -> None:
    boot, space, pid, start = own_mark(tmp_path)
    folder = a_folder(tmp_path, "bh-reused", f"{boot} {space} {pid} {int(start) - 1}\n")
    assert leftovers.sweep(tmp_path) == [folder]


def test_a_folder_of_a_living_process_stays(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "bh-alive")
    leftovers.mark(folder)
    assert leftovers.sweep(tmp_path) == []
    assert folder.exists()


@pytest.mark.parametrize(
    "text", [None, "", "x", "boot pid:[1] 99999999", "boot pid:[1] -1 5", "boot pid:[1] 99999999 5"]
)
def test_without_a_mark_of_this_boot_and_namespace_a_folder_stays(tmp_path: Path, text: str | None) -> None:
    folder = a_folder(tmp_path, "bh-strange", text)
    assert leftovers.sweep(tmp_path) == []
    assert folder.exists()


def test_a_pid_of_another_namespace_says_nothing_about_its_owner(tmp_path: Path) -> None:
    boot, _, _, start = own_mark(tmp_path)
    folder = a_folder(tmp_path, "bh-elsewhere", f"{boot} pid:[1] {dead_pid()} {start}\n")
    assert leftovers.sweep(tmp_path) == []
    assert folder.exists()


def test_neither_a_link_nor_a_folder_of_another_name_is_followed(tmp_path: Path) -> None:
    boot, space, _, start = own_mark(tmp_path)
    mark = f"{boot} {space} {dead_pid()} {start}\n"
    other = a_folder(tmp_path, "precious", mark)
    (tmp_path / "bh-link").symlink_to(other)
    assert leftovers.sweep(tmp_path) == []
    assert other.exists()


def test_a_run_sweeps_marks_and_removes_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = reachable(tmp_path, monkeypatch)
    boot, space, _, start = own_mark(tmp_path)
    left = a_folder(base, "bh-dead", f"{boot} {space} {dead_pid()} {start}\n")
    with run_folder() as folder:
        assert folder.parent == base
        assert not left.exists()
        assert (folder / leftovers.MARK).read_text().split()[2] == str(os.getpid())
    assert not folder.exists()


def reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TMPDIR with a short name that every user may pass through."""
    base = tmp_path / "t"
    base.mkdir(mode=0o755)
    for one in (tmp_path, *tmp_path.parents):
        if one.stat().st_uid == os.geteuid() and not one.stat().st_mode & 0o001:
            one.chmod(one.stat().st_mode | 0o001)
    monkeypatch.setenv("TMPDIR", str(base))
    monkeypatch.setattr(leftovers, "SOCKET_PATH_BYTES_MAX", 107 + len(str(base)))
    return base


def test_a_temporary_folder_too_long_for_a_socket_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = reachable(tmp_path, monkeypatch)
    assert leftovers.base() == base
    longest = len(str(base)) + len("/bh-12345678/ch/") + 31 + len("/gate.sock")
    monkeypatch.setattr(leftovers, "SOCKET_PATH_BYTES_MAX", longest)
    assert leftovers.base() == base
    monkeypatch.setattr(leftovers, "SOCKET_PATH_BYTES_MAX", longest - 1)
    assert leftovers.base() == leftovers.FALLBACK


def test_a_temporary_folder_that_is_not_there_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert leftovers.base() == leftovers.FALLBACK
    monkeypatch.delenv("TMPDIR")
    assert leftovers.base() == leftovers.FALLBACK
