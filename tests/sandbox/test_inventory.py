"""The hole inventory names each kind of hole, in a live process that has just that one."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import inventory, rootfs, walls
from tests.sandbox.confined import IS_ROOT, Limits, Yard, standing

pytestmark = pytest.mark.walls


def test_a_process_as_declared_has_no_hole(yard: Yard) -> None:
    with yard.confined("nothing", with_channel=True) as process:
        assert inventory.differences(process.pid, process.expected()) == []
        ended = process.finish()
        assert [answer["ok"] for answer in process.said] == [True], (process.text, ended)


#: A wall that was left out although it is declared -> words of the hole.
MISSING = {
    "seccomp": "seccomp mode is 0",
    "caps": "holds capabilities: CapEff",
    "mntns": "which is not declared",
    "netns": "shares the net namespace",
    "pidns": "shares the pid namespace",
    "ipcns": "shares the ipc namespace",
    "utsns": "shares the uts namespace",
    "cgroupns": "shares the cgroup namespace",
    "procfs": "sees /proc",
    "rlimits": "may write core dumps",
    "fds": "holds descriptor",
}


@pytest.mark.parametrize("wall", sorted(MISSING))
def test_a_missing_wall_is_named(wall: str, yard: Yard) -> None:
    off = {wall} | ({"uid"} if wall == "caps" else set())  # a change of user empties the sets as well
    with yard.confined("nothing", frozenset(off)) as process:
        declared = process.walls | {wall}
        found = inventory.differences(process.pid, process.expected(walls=declared))
    assert any(MISSING[wall] in line for line in found), found


def test_a_missing_user_namespace_is_named(yard: Yard) -> None:
    with yard.confined("nothing", frozenset({"userns"})) as process:
        found = inventory.differences(process.pid, process.expected(walls=process.walls | {"userns"}))
    assert "shares the user namespace with the monitor" in found


def test_a_process_that_can_gain_privileges_is_named(yard: Yard) -> None:
    with yard.confined("nothing", frozenset({"nnp", "seccomp", "landlock"})) as process:
        found = inventory.differences(process.pid, process.expected(walls=process.walls | {"nnp"}))
    assert [line for line in found if "can gain new privileges" in line] == found != []


def test_a_session_of_the_monitor_is_named() -> None:
    with subprocess.Popen(["sleep", "60"], close_fds=True) as child:
        expected = _bare({"session"})
        found = inventory.differences(child.pid, expected)
        child.kill()
    assert found == ["is in the monitor's session"]


def _bare(up: set[str]) -> inventory.Expected:
    return inventory.Expected(frozenset(up), os.geteuid(), False, False, 32, ())


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ("pipe", "holds 2 pipes, 1 are declared"),
        ("file", "holds descriptor"),
        ("socket", "sockets, 2 are declared"),
        ("thread", "has 4 threads, 3 are declared"),
    ],
)
def test_what_a_process_holds_too_much_is_named(flaw: str, words: str, yard: Yard) -> None:
    with yard.confined("nothing", with_channel=True, flaws=[flaw]) as process:
        found = inventory.differences(process.pid, process.expected())
    assert len(found) == 1, found
    assert words in found[0]


def test_an_open_file_is_named(yard: Yard) -> None:
    facts = {"flaws": ["file"], "path": "/image/lib/probe.py"}
    with yard.confined("nothing", frozenset(), None, **facts) as process:
        found = inventory.differences(process.pid, process.expected())
    assert len(found) == 1
    assert found[0].endswith("on /image/lib/probe.py")


def test_a_mount_that_is_not_declared_is_named(yard: Yard) -> None:
    with yard.confined("nothing") as process:
        found = inventory.differences(process.pid, process.expected(has_scratch=False))
    assert found == ["sees /scratch, which is not declared"]


def test_a_writable_mount_is_named(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "SCRATCH_DIR", "/elsewhere")
    with yard.confined("nothing") as process:
        expected = process.expected()
        monkeypatch.setattr(
            inventory,
            "declared_mounts",
            lambda _expected, full=inventory.declared_mounts: full(_expected) | {"/scratch"},
        )
        assert inventory.differences(process.pid, expected) == ["can write to /scratch"]


def test_the_channel_of_another_partition_is_named(yard: Yard, tmp_path: Path) -> None:
    with yard.confined("nothing") as process:
        found = inventory.differences(process.pid, process.expected(channel=str(tmp_path)))
    assert found == [f"has another folder than {tmp_path} on /channel"]


def test_another_user_id_is_named(yard: Yard) -> None:
    with yard.confined("nothing") as process:
        expected = process.expected(walls=process.walls | {"uid"}, outer_uid=4_711)
        found = inventory.differences(process.pid, expected)
    assert any("Uid is" in line and "4711 is declared" in line for line in found)


def test_too_many_files_are_named(yard: Yard) -> None:
    with yard.confined("nothing", limits=Limits(files=64)) as process:
        found = inventory.differences(process.pid, process.expected())
    assert found == ["may open 64 files, 32 are declared"]


def test_a_process_that_cannot_be_inspected_is_a_hole() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        found = inventory.differences(child.pid, _bare(set(standing())))
    assert len(found) == 1
    assert "cannot be inspected" in found[0]


def test_an_ordinary_process_is_full_of_holes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen(["sleep", "60"], pass_fds=(theirs.fileno(),)) as child:
        found = inventory.differences(
            child.pid, dataclasses.replace(_bare(set(walls.OS_WALL_NAMES)), outer_uid=1)
        )
        child.kill()
    text = "\n".join(found)
    for words in ("seccomp mode", "can gain", "Uid is", "shares the net", "sees /", "core dumps", "session"):
        assert words in text
    assert ("CapEff" in text) == IS_ROOT
