"""Real-time priority and processors of their own: who gets them, what a partition cannot make of them, and how it ends.

Where the host grants less, the note says so, and that is what is compared with the kernel's own word.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipc_schemas import links
from sandbox import scheduling
from tests.support import devices
from tests.support.devices import Toy, nothing_left
from world.bench import BenchError

#: A run of these tests takes two seconds.
ENDED_BY_S = 30.0
QUICK = Toy(frame_ms=150, budget_ms=40, steady_budget_ms=40, world_budget_ms=60)


@pytest.fixture(autouse=True)
def demoted() -> Iterator[None]:
    """Whatever goes wrong: no monitor of these tests stays at real-time priority for longer."""

    def demote() -> None:
        for pid in devices.OUR_MONITORS:
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == "bh-monitor":
                    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))

    timer = threading.Timer(ENDED_BY_S, demote)
    timer.start()
    yield
    timer.cancel()
    timer.join()


def held_by(pid: int) -> set[tuple[bool, int, frozenset[int]]]:
    """Of each thread: whether it has real-time priority, which, and its processors."""
    found = set()
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        policy = os.sched_getscheduler(thread)
        is_rt = policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
        assert not is_rt or policy & os.SCHED_RESET_ON_FORK
        found.add((is_rt, os.sched_getparam(thread).sched_priority, frozenset(os.sched_getaffinity(thread))))
    return found


class Looker:
    """Hears a run's notes, and looks at its processes in one frame."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.pids: dict[str, int] = {}
        self.held: dict[str, set[tuple[bool, int, frozenset[int]]]] = {}

    def on_note(self, note: links.Note) -> None:
        if note.kind == "scheduling":
            self.facts = dict(note.facts)
        if note.kind == "up":
            self.pids[f"gate-{note.partition}"] = int(str(note.facts["gate_pid"]))
            if "pid" in note.facts:
                self.pids[note.partition] = int(str(note.facts["pid"]))

    def on_frame(self, frame: int, _world: object) -> None:
        if frame == 3:
            self.held = {name: held_by(pid) for name, pid in self.pids.items()}
            self.held["monitor"] = held_by(
                int(Path(f"/proc/{self.pids['steady']}/stat").read_text().split()[3])
            )

    def cpus(self, key: str) -> frozenset[int]:
        return frozenset(map(int, self.facts[key]))


@pytest.mark.walls
def test_what_is_critical_has_what_the_note_says_and_the_rest_has_not(tmp_path: Path) -> None:
    seen = Looker()
    with nothing_left():
        outcome = devices.run(
            QUICK,
            tmp_path,
            6,
            clock="real",
            priority="rt",
            on_note=seen.on_note,
            on_frame=seen.on_frame,
        )
    assert outcome.end.why == ""
    has_rt = seen.facts["rt"] == "enforced"
    critical, others = seen.cpus("critical_cpus"), seen.cpus("other_cpus")
    assert (critical & others == frozenset()) is (seen.facts["cpus"] == "enforced")
    first = {
        "monitor": scheduling.MONITOR,
        "gate-steady": scheduling.GATE,
        "gate-world": scheduling.GATE,
        "steady": scheduling.PARTITION,
    }
    expected = {name: {(has_rt, has_rt * rank, critical)} for name, rank in first.items()}
    expected["gate-rogue"] = {(has_rt, has_rt * scheduling.GATE, others)}
    expected["rogue"] = {(False, 0, others)}
    assert seen.held == expected
    for key in ("cpus", "rt"):
        assert (seen.facts[key] == "enforced") is (seen.facts[f"{key}_reason"] == "")
        assert bool(seen.facts[f"{key}_reason"]) is bool(seen.facts[f"{key}_remedy"])


@pytest.mark.walls
def test_a_critical_partition_that_spins_is_ended_by_its_budget_and_the_device_goes_on(
    tmp_path: Path,
) -> None:
    spin = "if window.frame == 2:\n    while True: pass"
    toy = replace(QUICK, body=spin, is_critical=True, health={"window_overrun": "restart"})
    with nothing_left():
        outcome = devices.run(toy, tmp_path, 10, clock="real", priority="rt")
    assert outcome.end.why == ""
    assert (2, "window_overrun", "restart") in outcome.rulings()
    assert any(epoch == 1 and what == "up" for _, epoch, what in outcome.lives())
    assert [sent for _, sent, _ in outcome.beats][-3:] == [6, 7, 8]


RAISES = """
for want in (99, 11):
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(want))
        print("raised to", want, file=sys.stderr)
    except OSError as error:
        print("refused", want, error.errno, file=sys.stderr)
"""


@pytest.mark.walls
@pytest.mark.parametrize("without", [frozenset(), frozenset({"seccomp"})])
def test_a_critical_partition_cannot_raise_itself(tmp_path: Path, without: frozenset[str]) -> None:
    said: list[str] = []

    def on_note(note: links.Note) -> None:
        if note.kind == "log" and note.partition == "rogue":
            said.append(note.text)

    toy = replace(QUICK, body=RAISES, is_critical=True)
    devices.run(toy, tmp_path, 4, clock="real", priority="rt", without=without, on_note=on_note)
    assert {"refused 99 1", "refused 11 1"} == set(said)


def test_priority_means_nothing_on_the_virtual_clock(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="use --clock real"):
        devices.run(Toy(), tmp_path, 2, priority="rt")


def test_without_the_kernels_own_guard_nobody_is_given_real_time_priority(tmp_path: Path) -> None:
    guard = tmp_path / "sched_rt_runtime_us"
    guard.write_text("-1\n")
    found = scheduling.probe(in_group=False, share_us=1, guard=guard)
    assert not found.has_rt
    assert "sched_rt_runtime_us is -1" in found.rt_reason
    assert found.rt_remedy


def test_the_probe_leaves_the_caller_as_it_was() -> None:
    before = os.sched_getaffinity(0), os.sched_getscheduler(0)
    started_s = time.monotonic()
    found = scheduling.probe(in_group=False, share_us=1)
    assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == before
    assert found.critical | found.others == before[0]
    assert time.monotonic() - started_s < ENDED_BY_S


def test_one_processor_cannot_be_divided() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        found = scheduling.probe(in_group=False, share_us=1)
    finally:
        os.sched_setaffinity(0, before)
    assert not found.has_cpus
    assert found.critical == found.others == {min(before)}
    assert "at least two processors" in found.cpus_remedy
