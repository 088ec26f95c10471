"""Monitors from a nursery are monitors like any other: same runs, same ends, and nothing of one run in the next."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import suppress

import pytest

from faults import experiment
from tests.console.commands import ROOT, descendants, started
from tests.support.devices import wait_until
from world.bench import Bench, Plan, run_folder
from world.nursery import Nursery, NurseryGone

PUMP = ROOT / "designs" / "insulin_pump"
FRAMES = 14


def _alive(seen: set[tuple[int, str]]) -> list[int]:
    return [pid for pid, born in seen if started(pid) == born]


def test_a_run_from_the_nursery_leaves_the_journal_of_a_new_process() -> None:
    plan = Plan(PUMP, FRAMES)
    cold = experiment.run(plan)
    with Nursery() as nursery:
        warm = [experiment.run(plan, nursery=nursery) for _ in range(2)]
        assert wait_until(lambda: not _alive(descendants(nursery.pid)), 3.0)
    assert [run.chain for run in warm] == [cold.chain] * 2
    assert [run.record.exit_status for run in warm] == [0, 0]


@pytest.mark.root
def test_a_run_finds_no_secret_of_the_run_before_it_in_its_template() -> None:
    """The first run's patient is searched for in the memory of all processes that the second run begins with."""
    with Nursery() as nursery:
        first = experiment.run(Plan(PUMP, FRAMES, patient=3), nursery=nursery)
        (config,) = (c for c in first.world.configs().values() if b"CANARY-" in c)
        canary = config[config.index(b"CANARY-") :][:31]
        with Bench(nursery):
            waiting = {pid for pid, _ in descendants(nursery.pid)} | {nursery.pid}
            assert wait_until(lambda: len(descendants(nursery.pid)) >= 2, 3.0)
            waiting |= {pid for pid, _ in descendants(nursery.pid)}
            assert not [pid for pid in waiting if _holds(pid, canary)]
    assert _holds(os.getpid(), canary)  # where it has to be found, it is


def _holds(pid: int, needle: bytes) -> bool:
    """Whether it stands in a process's private, writable memory. Region by region: a large process has gigabytes."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if rights.startswith("rw"):
                start, _, end = span.partition("-")
                memory.seek(int(start, 16))
                if needle in memory.read(int(end, 16) - int(start, 16)):
                    return True
    return False


def _sockets(pids: list[int]) -> set[str]:
    """The ends of sockets that these processes hold."""
    found = set()
    for pid in pids:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                found.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return {name for name in found if name.startswith("socket:")}


def test_a_nursery_lets_go_of_its_secure_element_and_no_monitor_of_it_has_one() -> None:
    """The power supply's end of the element's socket is the end that a device is given: only a device shares it."""
    with Nursery() as nursery, Bench(nursery) as bench:
        assert wait_until(lambda: len(descendants(nursery.pid)) >= 2, 3.0)
        family = [nursery.pid, *(pid for pid, _ in descendants(nursery.pid))]
        assert bench.monitor.pid in family
        assert not _sockets([os.getpid()]) & _sockets(family)
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen(["sleep", "60"], pass_fds=[ours.fileno()]) as other:
        assert len(_sockets([os.getpid()]) & _sockets([other.pid])) == 1  # what is shared, is seen
        other.kill()


def test_with_the_nursery_killed_its_monitors_and_their_partitions_end() -> None:
    seen: set[tuple[int, str]] = set()
    with Nursery() as nursery, run_folder() as folder, Bench(nursery) as bench:

        def strike(frame: int, _world: object) -> None:
            if frame == 5:
                seen.update(descendants(nursery.pid))
                os.kill(nursery.pid, signal.SIGKILL)

        record = bench.run(Plan(PUMP, 400), folder, on_frame=strike)
        assert len(seen) >= 7
        assert wait_until(lambda: not _alive(seen), 3.0), _alive(seen)
        assert record.exit_status == -signal.SIGKILL
        assert record.frames_done < 400
        with pytest.raises(NurseryGone):
            Bench(nursery)


def test_a_killed_monitor_is_told_with_its_signal_and_the_nursery_goes_on() -> None:
    with Nursery() as nursery:
        with run_folder() as folder, Bench(nursery) as bench:

            def strike(frame: int, _world: object) -> None:
                if frame == 5:
                    os.kill(bench.monitor.pid, signal.SIGKILL)

            assert bench.run(Plan(PUMP, 60), folder, on_frame=strike).exit_status == -signal.SIGKILL
        assert experiment.run(Plan(PUMP, FRAMES), nursery=nursery).record.exit_status == 0
        assert wait_until(lambda: not _alive(descendants(nursery.pid)), 3.0)


def test_a_monitor_that_was_never_switched_on_ends_with_its_bench() -> None:
    with Nursery() as nursery:
        with Bench(nursery) as bench:
            assert wait_until(lambda: len(descendants(nursery.pid)) >= 2, 3.0)
        assert bench.monitor.returncode == 0
        assert wait_until(lambda: not _alive(descendants(nursery.pid)), 3.0)
