"""Nothing is left: no process, no mount, no control group, whoever dies first."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import cgroups
from tests.sandbox.confined import IS_ROOT, Yard, yard
from tests.support.devices import descendants
from tests.support.walls import require_wall

_ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.walls
_DEADLINE_S = 10.0


def _await(what: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + _DEADLINE_S
    while not what():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.005)
    return True


def _is_gone(pid: int) -> bool:
    """Whether the process is dead; one that nobody has collected yet is dead, too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def test_nothing_is_left_after_an_end(yard: Yard) -> None:
    before = Path("/proc/self/mounts").read_text()
    with yard.confined("wait") as process:
        pid = process.pid
        process.nascent.go()
        process.read_until(b"waiting")
        groups = process.group.joined_by if process.group else ()
        assert Path("/proc/self/mounts").read_text() == before
    assert not os.path.exists(f"/proc/{pid}")
    assert Path("/proc/self/mounts").read_text() == before
    assert not [path for path in groups if os.path.exists(os.path.dirname(path))]


def test_members_die_with_the_first_process_of_their_namespace(yard: Yard) -> None:
    with yard.confined("breed", frozenset({"seccomp", "pidscg"})) as process:
        process.nascent.go()
        process.read_until(b"bred")
        children = _children(process.pid)
        assert len(children) == 5
        signal.pidfd_send_signal(process.nascent.pidfd, signal.SIGKILL)
        assert select.select([process.nascent.pidfd], [], [], 5)[0]
        assert all(_is_gone(pid) for pid in children), "the kernel buries the members first"


def test_without_the_namespace_children_outlive_the_kill(yard: Yard) -> None:
    """The control of the test before. The control group, where one stands, still collects them."""
    with yard.confined("breed", frozenset({"seccomp", "pidscg", "pidns", "memcg", "cpucg"})) as process:
        process.nascent.go()
        process.read_until(b"bred")
        children = _children(process.pid)
        signal.pidfd_send_signal(process.nascent.pidfd, signal.SIGKILL)
        assert select.select([process.nascent.pidfd], [], [], 5)[0]
        assert not any(_is_gone(pid) for pid in children)
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        assert _await(lambda: all(_is_gone(pid) for pid in children))


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_template_is_noticed_and_its_children_go_on_under_the_monitor() -> None:
    """Confined processes belong to the monitor, not to the template:
    a dead template stops starts, not therapy.
    """
    with yard() as place, place.confined("wait") as process:
        process.nascent.go()
        process.read_until(b"waiting")
        os.kill(place.launcher.template_pid, signal.SIGKILL)
        assert _await(lambda: _is_gone(place.launcher.template_pid))
        assert not _is_gone(process.pid)
        assert f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{process.pid}/status").read_text()


_KEEPER = """
import sys
from tests.sandbox.confined import yard
OFF = frozenset(sys.argv[1:])
with yard() as place, place.confined("wait", off=OFF) as sealed, place.confined("wait", off=OFF) as running:
    running.nascent.go()
    running.read_until(b"waiting")
    print(place.launcher.template_pid, sealed.pid, running.pid, flush=True)
    sys.stdin.read()
"""


def _killed_keeper(*off: str) -> tuple[int, list[int]]:
    """The pid of a monitor that was killed with SIGKILL, so that nothing of it can tidy up, and of its processes: the
    template, one that waits for ``go``, one that runs.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-c", _KEEPER, *off], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert keeper.stdout is not None
    assert keeper.stdin is not None
    pids = [int(word) for word in keeper.stdout.readline().split()]
    assert len(pids) == 3
    assert not any(_is_gone(pid) for pid in pids)
    keeper.kill()
    keeper.wait()
    keeper.stdin.close()
    keeper.stdout.close()
    return keeper.pid, pids


def test_with_the_monitor_killed_every_process_dies() -> None:
    keeper, pids = _killed_keeper()
    assert _await(lambda: all(_is_gone(pid) for pid in pids)), [pid for pid in pids if not _is_gone(pid)]
    if IS_ROOT:
        assert _await(lambda: cgroups.sweep() >= 0 and not _groups_of(keeper))


def test_without_the_lifeline_a_process_outlives_the_monitor() -> None:
    """The control of the test before."""
    _, pids = _killed_keeper("lifeline")
    assert _await(lambda: _is_gone(pids[0]))
    time.sleep(0.2)
    running = pids[-1]
    try:
        assert not _is_gone(running)
    finally:
        os.kill(running, signal.SIGKILL)
    assert _await(lambda: _is_gone(running))


LEFT_S = 0.5
_UNTIED = f"""
import os, signal, sys
from sandbox import template
from sandbox.launcher import Launcher
from tests.sandbox.confined import yard
template.LEFT_S_MAX = {LEFT_S}
template.warm_up()
OFF = frozenset({{"lifeline"}})
with yard(Launcher(is_warm=True)) as place, place.confined("wait", off=OFF) as running:
    running.nascent.go()
    running.read_until(b"waiting")
    if "stopped" in sys.argv:
        signal.pidfd_send_signal(running.nascent.pidfd, signal.SIGSTOP)
    if "without" in sys.argv:
        os.kill(place.launcher.template_pid, signal.SIGKILL)
    print(running.pid, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("how", ["running", "stopped"])
def test_what_outlives_the_monitor_without_the_lifeline_ends_all_the_same(how: str) -> None:
    """Seen: partitions of killed monitors that were alive after eight minutes, their own bound with them."""
    keeper, child = _untied(how)
    killed_s = time.monotonic()
    keeper.kill()
    keeper.wait()
    time.sleep(0.1)
    assert not _is_gone(child) or time.monotonic() - killed_s >= LEFT_S  # not before; a busy host looks late
    assert _await(lambda: _is_gone(child))


def test_a_watchman_lets_a_partition_live_as_long_as_the_monitor_does() -> None:
    """Also when the template, from which it was forked, is gone."""
    keeper, child = _untied("without")
    time.sleep(1.0)
    assert not _is_gone(child)
    keeper.kill()
    keeper.wait()
    assert _await(lambda: _is_gone(child))


def test_a_watchman_holds_nothing_but_the_two_processes_that_it_watches() -> None:
    """Whatever else it held of the template's would stay open with it: a socket that tells of a death, a log."""
    keeper, child = _untied("without")

    def held_by(pid: int) -> list[str]:
        numbers = [number for number in os.listdir(f"/proc/{pid}/fd") if int(number) > 2]
        return [os.readlink(f"/proc/{pid}/fd/{number}") for number in numbers]

    def held() -> list[list[str]]:
        found = descendants(keeper.pid).items()
        return [held_by(pid) for pid, name in found if name == "bh-watchman"]

    try:
        assert _await(lambda: held() == [["anon_inode:[pidfd]"] * 2]), held()
    finally:
        keeper.kill()
        keeper.wait()
    assert _await(lambda: _is_gone(child))


def _untied(how: str) -> tuple[subprocess.Popen[str], int]:
    """A monitor and its one partition, which has no lifeline."""
    keeper = subprocess.Popen([sys.executable, "-c", _UNTIED, how], stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    with keeper.stdout:
        child = int(keeper.stdout.readline())
    return keeper, child


def _groups_of(pid: int) -> list[Path]:
    return [path for each in cgroups.hierarchies() for path in each.own.glob(f"{cgroups.PREFIX}*_{pid}_*")]


@pytest.mark.root
def test_groups_of_the_living_are_not_swept() -> None:
    require_wall("pidscg")
    group = cgroups.Group(cgroups.title("kept"), frozenset({"pidscg"}), 1 << 26, 4, 1.0)
    try:
        cgroups.sweep()
        assert _groups_of(os.getpid())
    finally:
        assert group.remove()
    assert not _groups_of(os.getpid())


@pytest.mark.root
def test_groups_of_the_living_are_not_swept_from_another_pid_namespace() -> None:
    require_wall("pidscg")
    group = cgroups.Group(cgroups.title("far"), frozenset({"pidscg"}), 1 << 26, 4, 1.0)
    try:
        sweep = [sys.executable, "-c", "from sandbox import cgroups; cgroups.sweep()"]
        subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", *sweep], cwd=_ROOT, check=True)
        assert _groups_of(os.getpid())
    finally:
        assert group.remove()


@pytest.mark.root
def test_removing_a_group_kills_what_is_left_in_it() -> None:
    require_wall("pidscg", "memcg")
    group = cgroups.Group(cgroups.title("left"), frozenset({"pidscg", "memcg"}), 1 << 26, 4, 1.0)
    with subprocess.Popen(["sleep", "60"]) as child:
        for file in group.joined_by:
            Path(file).write_text(str(child.pid))
        assert group.members() == (child.pid,)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        group.kill()
        assert child.wait() == -signal.SIGKILL
        assert group.remove()
