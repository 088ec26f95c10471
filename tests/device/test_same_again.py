"""Two runs of one seed are the same run: same journal, whatever misbehaves, and same bytes on any clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor import journal as books
from tests.support.devices import Outcome, Toy, nothing_left
from world.bench import Bench, Plan, run_folder
from world.nursery import Nursery

pytestmark = pytest.mark.walls
Run = Callable[..., Outcome]
ROOT = Path(__file__).resolve().parent.parent.parent

CASES = {
    "nothing": Toy(),
    "schema": Toy("if window.frame == 5: window._emit(port, b'zz')"),
    "range": Toy("if window.frame % 4 == 1: window.send('note', Note(101, 'x'))", restarts=1),
    "replay": Toy("if window.frame == 5: link.sequence -= 1"),
    "spoof": Toy("if window.frame == 5: link.partition = 99"),
    "flood": Toy("for n in range(window.frame): window.send('note', Note(1, 'x'))", restarts=9),
    "rejections dropped": Toy(
        "for n in range(window.frame): window._emit(port, b'zz')", health={"bad_message": "drop"}
    ),
    "exit": Toy("if window.frame == 5: os._exit(1)"),
    "system call": Toy("if window.frame == 5: ctypes.CDLL(None).ptrace(0, 0, 0, 0)"),
    "spin": Toy("while window.frame == 5: pass", budget_ms=100),
    "quarantine": Toy("os._exit(1)"),
}


@pytest.mark.parametrize("toy", CASES.values(), ids=list(CASES))
def test_one_seed_gives_one_journal(device: Run, toy: Toy) -> None:
    chains = {device(toy, seed=7).journal.chain for _ in range(2)}
    assert len(chains) == 1


def test_another_seed_gives_another_journal(device: Run) -> None:
    assert device(Toy(), seed=7).journal.chain != device(Toy(), seed=8).journal.chain


def sent_by(outcome: Outcome, partition: str) -> list[tuple[int, int, bytes]]:
    """Everything a partition emitted: frame, port, canonical bytes."""
    return [
        (frame.frame, admitted.port, admitted.messages)
        for frame in outcome.frames
        for admitted in frame.admitted
        if admitted.sender == partition
    ]


#: Both are critical, or the real clocks would not wait for both before the first window.
_SHORT: dict[str, Any] = {
    "budget_ms": 70,
    "steady_budget_ms": 70,
    "world_budget_ms": 100,
    "is_critical": True,
}


@pytest.mark.parametrize(
    ("clock", "toy"),
    [
        ("real", Toy(frame_ms=150, **_SHORT)),
        ("1000x", Toy(frame_ms=660_000, **_SHORT)),
    ],
)
def test_the_clock_does_not_change_what_is_sent(device: Run, clock: str, toy: Toy) -> None:
    virtual, timed = device(toy), device(toy, clock=clock)
    assert timed.record.wall_s > 12 * 0.15
    assert sent_by(virtual, "steady") == sent_by(timed, "steady")
    assert len(sent_by(virtual, "steady")) == 12
    assert virtual.journal.chain == timed.journal.chain


def frames_before_a_loss(outcome: Outcome) -> int:
    """How many frames passed before the host made anyone lose a window."""
    lost = [
        note.frame for note in outcome.record.of_kind("ruling") if "window_overrun" in note.facts.values()
    ]
    return min(lost, default=outcome.record.plan.frames)


def test_the_worked_example_sends_the_same_on_the_real_clock(device: Run) -> None:
    # Its windows are 8 ms long: on a busy host one may be lost, and is then in the journal.
    virtual = device(ROOT / "examples/thermostat", 80)
    reached = 0
    for _ in range(3):
        real = device(ROOT / "examples/thermostat", 80, clock="real")
        frames = frames_before_a_loss(real)
        before = [row for row in sent_by(real, "heater") if row[0] < frames]
        assert before == [row for row in sent_by(virtual, "heater") if row[0] < frames]
        reached = max(reached, len(before))
        if frames == 80:
            break
    assert reached >= 40


def test_therapy_sends_the_same_whatever_the_other_partition_tries_where_nothing_of_it_is_admitted(
    device: Run,
) -> None:
    quiet = device(Toy("return"))
    loud = device(Toy("for _ in range(5): window._emit(port, b'zz')\nreturn", restarts=50, within_frames=60))
    assert loud.rulings()
    assert sent_by(quiet, "steady") == sent_by(loud, "steady")


def test_a_leak_from_the_other_partition_would_be_seen(device: Run) -> None:
    quiet, heard = device(Toy("return")), device(Toy())
    assert sent_by(quiet, "steady") != sent_by(heard, "steady")


@pytest.mark.slow
def test_sixty_restarts_leave_no_descriptor_open(tmp_path: Path) -> None:
    """By a monitor of the nursery: those with a secret let nobody count."""
    design = Toy("os._exit(0)", restarts=900, within_frames=1000).write(tmp_path / "toy")
    counts: dict[int, int] = {}
    with nothing_left(), Nursery() as nursery, run_folder() as folder, Bench(nursery) as bench:

        def count(frame: int, _: Any) -> None:
            counts[frame] = len(os.listdir(f"/proc/{bench.monitor.pid}/fd"))

        record = bench.run(Plan(design, 64), folder, on_frame=count)
        outcome = Outcome(record, books.read(record.journal), bench.monitor.pid)
    assert len(outcome.lives()) == 2 * 64
    # A life that is on its way holds a few more than one that runs, so peaks are compared, not single frames.
    frames = sorted(counts)
    assert max(counts[frame] for frame in frames[-16:]) <= max(counts[frame] for frame in frames[:16])
