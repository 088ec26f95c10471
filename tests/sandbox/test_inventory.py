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
from tests.support.walls import require_wall

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
        ("events", "eventfds, 6 are declared"),
        ("polls", "eventpolls, 2 are declared"),
    ],
)
def test_what_a_process_holds_too_much_is_named(flaw: str, words: str, yard: Yard) -> None:
    with yard.confined("nothing", with_channel=True, flaws=[flaw]) as process:
        found = inventory.differences(process.pid, process.expected())
    assert len(found) == 1, found
    assert words in found[0]


def test_a_process_of_its_own_is_named(yard: Yard) -> None:
    with yard.confined("nothing", frozenset({"seccomp"}), flaws=["child"]) as process:
        found = inventory.differences(process.pid, process.expected())
    assert found == ["has 1 processes of its own, none is declared before its code runs"]


def test_a_second_mount_on_one_point_is_named(yard: Yard) -> None:
    with yard.confined(
        "nothing", frozenset({"seccomp", "caps", "landlock", "uid"}), flaws=["mount"]
    ) as process:
        found = inventory.differences(process.pid, process.expected())
    assert found == [f"has two mounts on {rootfs.SCRATCH_DIR}"]


def test_only_a_gate_may_write_to_the_channel_and_hold_four_sockets(yard: Yard) -> None:
    off = frozenset({"seccomp", "caps", "landlock", "uid"})
    with yard.confined("nothing", off, flaws=["channel"]) as process:
        assert inventory.differences(process.pid, process.expected()) == [
            f"can write to {rootfs.CHANNEL_DIR}"
        ]
        assert inventory.differences(process.pid, process.expected(is_gate=True)) == []
    with yard.confined("nothing", with_channel=True, flaws=["socket"]) as process:
        assert inventory.differences(process.pid, process.expected(is_gate=True)) == []
    with yard.confined("nothing", with_channel=True, flaws=["socket", "socket"]) as process:
        assert inventory.differences(process.pid, process.expected(is_gate=True)) == [
            "holds 5 sockets, 4 are declared"
        ]


@pytest.mark.root
@pytest.mark.parametrize(
    ("groups", "gid", "names"),
    [([], 64_900, []), ([4_711], 64_900, ["belongs to groups 4711"]), ([], 0, ["Gid is"])],
)
def test_another_group_id_and_supplementary_groups_are_named(
    groups: list[int], gid: int, names: list[str]
) -> None:
    with subprocess.Popen(["sleep", "60"], user=64_900, group=gid, extra_groups=groups) as child:
        expected = dataclasses.replace(_bare({"uid"}), outer_uid=64_900)
        found = inventory.differences(child.pid, expected)
        child.kill()
    assert len(found) == len(names), found
    assert all(name in line for name, line in zip(names, found, strict=True)), found


_GROUPED = """
from sandbox import inventory
from tests.sandbox.confined import yard
with yard() as place, place.confined("nothing") as process:
    print("uid" in process.walls, inventory.differences(process.pid, process.expected()))
"""


@pytest.mark.root
def test_the_groups_of_who_starts_the_device_are_given_up() -> None:
    require_wall("uid")
    done = subprocess.run(
        [sys.executable, "-c", _GROUPED], extra_groups=[4_711], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True []\n"


def _row(**changed: str) -> dict[str, str]:
    """A thread's rows of /proc/PID/status as they are behind all walls, but for ``changed``."""
    sets = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16)
    ids = {name: "\t".join([str(os.geteuid())] * 4) for name in ("Uid", "Gid")}
    return {"Seccomp": "2", "Seccomp_filters": "2", "NoNewPrivs": "1", "Groups": ""} | sets | ids | changed


@pytest.mark.parametrize(
    ("changed", "own", "words"),
    [
        ({}, {}, []),
        ({"Seccomp_filters": "1"}, {}, ["1 seccomp filters, 2 are declared"]),
        ({"Seccomp_filters": "3"}, {"Seccomp_filters": "2"}, ["1 seccomp filters, 2 are declared"]),
        ({"Seccomp": "1"}, {}, ["seccomp mode is 1, 2 (filter) is declared"]),
        ({"NoNewPrivs": "0"}, {}, ["can gain new privileges"]),
        ({"CapInh": "0000000000000001"}, {}, ["CapInh is"]),
        ({"CapPrm": "0000000000000001"}, {}, ["CapPrm is"]),
        ({"CapEff": "0000000000000001"}, {}, ["CapEff is"]),
        ({"CapAmb": "0000000000000001"}, {}, ["CapAmb is"]),
        ({"CapBnd": "0000000000000001"}, {}, ["CapBnd is"]),
        ({"Uid": "1\t1\t1\t0"}, {}, ["Uid is"]),
    ],
)
def test_each_row_of_a_threads_status_that_differs_is_named(
    changed: dict[str, str], own: dict[str, str], words: list[str]
) -> None:
    expected = _bare({"seccomp", "nnp", "caps", "userns", "uid"})
    if os.getgid() != os.geteuid():
        expected = dataclasses.replace(expected, walls=expected.walls - {"uid"})
        words = [] if "Uid" in changed else words
    found = inventory._thread(_row(**changed), own, expected)
    assert len(found) == len(words), found
    assert all(word in line for word, line in zip(words, found, strict=True)), found


def _limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changed: str) -> list[str]:
    rows = {
        "Max core file size": "0                    0",
        "Max open files": "32                   32",
        "Max address space": "1000                 1000",
    } | changed
    table = tmp_path / "limits"
    table.write_text(
        "Limit  Soft Limit  Hard Limit  Units\n" + "".join(f"{n:26}{v}  bytes\n" for n, v in rows.items())
    )
    monkeypatch.setattr(inventory, "Path", lambda _path: table)
    return inventory._limits(1, _bare({"rlimits"}))


def test_a_limit_that_the_process_could_raise_again_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(**changed: str) -> list[str]:
        return _limits(tmp_path, monkeypatch, **changed)

    assert find() == []
    assert find(**{"Max core file size": "0                    unlimited"}) == ["may write core dumps"]
    assert find(**{"Max open files": "32                   1024"}) == ["may open 1024 files, 32 are declared"]
    assert find(**{"Max open files": "32                   unlimited"}) != []
    assert find(**{"Max address space": "1000                 unlimited"}) == [
        "has no limit on its address space"
    ]


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
