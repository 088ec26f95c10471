"""However a run ends, nothing of it lives on, and its journal holds all frames up to the end."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc_schemas import links
from monitor import journal
from tests.support.devices import (
    OUR_MONITORS,
    Outcome,
    Toy,
    descendants,
    nothing_left,
    run,
    standby,
    wait_until,
)
from world.bench import Bench, BenchError, Plan
from world.making import load_world

pytestmark = pytest.mark.walls
Run = Callable[..., Outcome]
ROOT = Path(__file__).resolve().parent.parent.parent
LONG = 1_000_000


class Separate:
    """A run in a process (and process group) of its own."""

    def __init__(self, design: Path, frames: int = LONG, clock: str = "virtual") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.one_run", str(design), str(frames), clock],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self.said: list[list[Any]] = []

    def until(self, kind: str, *, beyond: int = 0) -> list[Any]:
        """Read lines up to one of ``kind`` whose second word, if that is a frame, is at least ``beyond``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            words = json.loads(line)
            self.said.append(words)
            if words[0] == "started":
                OUR_MONITORS.add(words[2])
            if words[0] == kind and (kind != "frame" or words[1] >= beyond):
                return list(words)
        raise AssertionError(f"no {kind} in {self.said[-5:]}: {self.errors()}")

    def errors(self) -> str:
        """What it wrote to standard error, once it has ended."""
        _, errors = self.process.communicate(timeout=20)
        return str(errors)


@pytest.fixture
def separate(tmp_path: Path) -> Iterator[Callable[..., Separate]]:
    """Starts runs in processes of their own; afterwards nothing of them is left."""
    started: list[Separate] = []

    def start(toy: Toy, **more: Any) -> Separate:
        started.append(Separate(toy.write(tmp_path / str(len(started))), **more))
        return started[-1]

    with nothing_left(within_s=3.0):
        yield start
        for each in started:
            each.errors()


def journal_of(folder: str) -> journal.Reading:
    """The journal of a run folder, verified."""
    return journal.read(Path(folder) / "journal.bhj")


# --- the monitor is killed ---


def test_when_the_monitor_is_killed_all_die_and_the_world_goes_on_alone(tmp_path: Path) -> None:
    design = Toy().write(tmp_path / "toy")
    killed_s: list[float] = []
    with nothing_left(), standby() as (folder, bench):

        def kill(frame: int, _: Any) -> None:
            if frame == 5:
                assert set(descendants(bench.monitor.pid).values()) == {
                    "bh-template", "gate-world", "gate-steady", "gate-rogue", "steady", "rogue",
                }  # fmt: skip
                os.kill(bench.monitor.pid, signal.SIGKILL)
                killed_s.append(time.monotonic())

        before = set(descendants(os.getpid()))
        record = bench.run(Plan(design, 50), folder, on_frame=kill)
        assert wait_until(lambda: set(descendants(os.getpid())) <= before, 1.0), descendants(os.getpid())
        assert record.exit_status == -signal.SIGKILL
        assert record.frames_done + record.world.orphaned_frames == 50
        found = journal.read(record.journal)
        run(Toy(), tmp_path / "next", 2)  # the next power-on removes the control groups
    frames = [entry.frame for entry in found.entries if isinstance(entry, journal.Frame)]
    assert frames == list(range(len(frames)))
    assert len(frames) >= 5
    assert not found.is_complete


def has_ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_monitor_killed_while_the_world_lives_through_a_frame_leaves_the_world_waiting_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the world's gate was gone, its answer waited for a reader for ever, in one of nine such deaths."""
    design = Toy().write(tmp_path / "toy")
    make = load_world
    with nothing_left(), standby() as (folder, bench):

        def made(*given: Any) -> Any:
            found = make(*given)
            live = found.frame

            def frame(window: Any) -> None:
                live(window)
                if window.frame == 5:
                    gates = [
                        pid for pid, name in descendants(bench.monitor.pid).items() if name == "gate-world"
                    ]
                    os.kill(bench.monitor.pid, signal.SIGKILL)
                    assert wait_until(lambda: has_ended(gates[0]), 5.0)
                    time.sleep(0.2)  # until libzmq has noticed, too

            found.frame = frame
            return found

        monkeypatch.setattr("world.bench.load_world", made)
        before = time.monotonic()
        record = bench.run(Plan(design, 50), folder)
        run(Toy(), tmp_path / "next", 2)  # the next power-on removes the control groups
    assert record.exit_status == -signal.SIGKILL
    assert record.frames_done + record.world.orphaned_frames == 50
    assert time.monotonic() - before < 30.0


@pytest.mark.slow
def test_when_the_monitor_is_killed_the_pumps_watchdog_suspends_delivery(tmp_path: Path) -> None:
    with nothing_left(), standby() as (folder, bench):

        def kill(frame: int, _: Any) -> None:
            if frame == 30:
                os.kill(bench.monitor.pid, signal.SIGKILL)

        record = bench.run(Plan(ROOT / "designs/insulin_pump", 120), folder, on_frame=kill)
        run(Toy(), tmp_path / "next", 2)  # the next power-on removes the control groups
    assert record.frames_done < 40
    assert record.world.pump.is_suspended


# --- whoever started the run is killed, or asked to stop ---


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_when_its_starter_is_killed_the_monitor_ends_everything(
    separate: Callable[..., Separate], clock: str
) -> None:
    run = separate(Toy(frame_ms=20_000), clock=clock)
    folder, monitor = run.until("started")[1:]
    run.until("frame", beyond=0 if clock == "real" else 5)
    run.process.kill()
    assert wait_until(lambda: not Path(f"/proc/{monitor}/cmdline").exists() or _is_zombie(monitor), 2.0)
    found = journal_of(folder)
    assert isinstance(found.entries[-1], journal.End)
    assert (found.entries[-1].why, found.torn_bytes) == ("asked to stop", 0)
    _remove(folder)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes() == b""


def _remove(folder: str) -> None:
    """A starter that was killed leaves its run folder, with the journal in it and nothing to connect to."""
    shutil.rmtree(Path(folder) / "flash")
    left = {path.name for path in Path(folder).rglob("*") if not path.is_dir()}
    assert left == {"journal.bhj", "owner"}
    for name in left:
        (Path(folder) / name).unlink()
    for path in sorted(Path(folder).rglob("*"), reverse=True):
        path.rmdir()
    Path(folder).rmdir()


def test_ctrl_c_to_the_whole_group_ends_everything_without_a_word(separate: Callable[..., Separate]) -> None:
    run = separate(Toy())
    folder = run.until("started")[1]
    run.until("frame", beyond=5)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.errors() == ""
    assert run.process.returncode == 130
    assert not Path(folder).exists()


def test_closing_the_bench_before_power_on_ends_the_monitor(capfd: pytest.CaptureFixture[str]) -> None:
    with nothing_left():
        bench = Bench()
        bench.close()
    assert bench.monitor.returncode == 0
    assert capfd.readouterr().err == ""


# --- SIGTERM at any moment ---


def _terminated(design: Path, after_s: float) -> tuple[str, journal.Reading | None, int]:
    """Send SIGTERM to the monitor ``after_s`` after power-on: its last note, its journal, its exit status."""
    notes: list[links.Note] = []
    with standby() as (folder, bench):
        timer = subprocess.Popen(
            [
                sys.executable,
                "-S",
                "-c",
                f"import os,time; time.sleep({after_s}); os.kill({bench.monitor.pid}, 15)",
            ]
        )
        began_s = time.monotonic()
        try:
            record = bench.run(Plan(design, LONG), folder, on_note=notes.append)
            status = record.exit_status
        except BenchError:
            status = bench.monitor.wait(5)
        assert time.monotonic() - began_s < after_s + 3.0
        timer.wait()
        path = folder / "journal.bhj"
        is_begun = path.exists() and path.stat().st_size > 4
        return notes[-1].kind if notes else "", journal.read(path) if is_begun else None, status


@pytest.mark.parametrize("after_ms", [0, 40, 80, 120, 160, 200, 240, 280, 320, 400, 600])
def test_sigterm_at_any_moment_stops_all_in_order(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], after_ms: int
) -> None:
    toy = Toy("if window.frame % 3 == 2: os._exit(0)", restarts=900, within_frames=1000)
    with nothing_left():
        last, found, status = _terminated(toy.write(tmp_path / "toy"), after_ms / 1000)
    assert capfd.readouterr().err == ""
    assert status in (0, -signal.SIGTERM, 128 + signal.SIGTERM)  # the latter two: before it was switched on
    if status == 0:
        assert last == "end"
        assert found is not None
        assert isinstance(found.entries[-1], journal.End)
        assert found.entries[-1].why == "SIGTERM"
        assert found.entries[-1].frames == sum(isinstance(e, journal.Frame) for e in found.entries[:-1]) or (
            found.entries[-1].frames + 1 == sum(isinstance(e, journal.Frame) for e in found.entries[:-1])
        )


def test_sigterm_in_the_middle_of_a_long_real_frame_is_heard_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    design = Toy(frame_ms=600_000).write(tmp_path / "toy")
    timers: list[subprocess.Popen[bytes]] = []
    with nothing_left(), standby() as (folder, bench):

        def ask_soon(_frame: int, _: Any) -> None:
            # Both windows are over after 0.8 s; then nothing happens until the frame ends.
            code = f"import os, time; time.sleep(1.5); os.kill({bench.monitor.pid}, 15)"
            timers.append(subprocess.Popen([sys.executable, "-S", "-c", code]))

        began_s = time.monotonic()
        record = bench.run(Plan(design, 5, clock="real"), folder, on_frame=ask_soon)
        assert time.monotonic() - began_s < 8.0
        assert timers[0].wait(5) == 0
    assert (record.of_kind("end")[0].text, record.exit_status) == ("SIGTERM", 0)
    assert capfd.readouterr().err == ""


# --- images and worlds that fail ---


@pytest.mark.parametrize(
    "toy",
    [
        Toy(rogue="def ("),
        Toy(top="raise RuntimeError('at import')"),
        Toy(rogue="import no_such_module"),
        Toy(rogue="x = 1"),
        Toy(init="raise RuntimeError('at first')"),
        Toy(init="os._exit(0)"),
        Toy(top="os.kill(os.getpid(), 9)"),
    ],
    ids=[
        "syntax error",
        "raises at import",
        "module missing",
        "no class",
        "raises at start",
        "exits at start",
        "kill",
    ],
)
def test_an_image_that_cannot_start_is_quarantined_alone(device: Run, toy: Toy) -> None:
    outcome = device(toy)
    assert {event for _, event, _ in outcome.rulings()} <= {"partition_exit", "forbidden_syscall"}
    assert [action for _, _, action in outcome.rulings()] == ["restart"] * 3 + ["quarantine"]
    assert len(outcome.beats) == 11
    assert outcome.record.of_kind("ended")[0].partition == "rogue"


def test_an_image_that_never_answers_costs_nobody_else_a_window(device: Run) -> None:
    outcome = device(Toy("time.sleep(600)", budget_ms=60, health={"window_overrun": "drop"}))
    assert {event for _, event, _ in outcome.rulings()} == {"window_overrun"}
    assert len(outcome.beats) == 11


def test_an_image_that_answers_late_is_told_so_and_nothing_of_it_is_delivered(device: Run) -> None:
    outcome = device(Toy("time.sleep(0.1)", budget_ms=60, health={"window_overrun": "drop"}))
    assert {(event, action) for _, event, action in outcome.rulings()} == {("window_overrun", "drop")}
    assert outcome.reasons() <= {"late"}
    assert {heard for _, _, heard in outcome.beats} == {0}


def test_megabytes_on_standard_error_are_bounded_and_stall_nobody(device: Run) -> None:
    notes: list[links.Note] = []
    outcome = device(
        Toy("sys.stderr.write('y' * (3 << 20) + chr(27) + chr(10))", health={"log_flood": "drop"}),
        on_note=notes.append,
    )
    assert {(event, action) for _, event, action in outcome.rulings()} == {("log_flood", "drop")}
    assert sum(len(note.text) for note in notes if note.kind == "log") <= 12 * 4096
    assert len(outcome.beats) == 11


def test_what_a_log_says_cannot_act_on_a_terminal(device: Run) -> None:
    outcome = device(
        Toy(r"if window.frame == 2: sys.stderr.write('\x1b[2J\u202eevil\n'); sys.stderr.flush()")
    )
    assert [note.text for note in outcome.record.of_kind("log") if "evil" in note.text] == [
        "\\u001b[2J\\u202eevil"
    ]


def test_a_world_that_raises_ends_the_run_with_its_own_error(tmp_path: Path) -> None:
    with nothing_left(), pytest.raises(BenchError, match=r"in frame 3: ZeroDivisionError.*world\.py, line"):
        run(Toy(world="1 / (window.frame - 3)"), tmp_path / "toy")


def test_a_world_that_does_not_answer_stalls_the_device_for_its_budget_only(device: Run) -> None:
    toy = Toy(world="if window.frame == 3: time.sleep(0.5)", world_budget_ms=100)
    outcome = device(toy)
    late = [note for note in outcome.record.of_kind("ruling") if note.partition == "world"]
    assert "window_overrun" in late[0].text
    assert outcome.end.frames == 12


def test_a_world_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    from monitor.design import DesignError

    design = Toy().write(tmp_path / "toy")
    (design / "world.py").write_text(
        "class ToyWorld:\n    def __init__(self, seed, patient):\n        raise OSError(5)\n"
    )
    with nothing_left(), pytest.raises(DesignError, match=r"patient=0\) raised OSError in line 3 \(5\)"):
        run(design, tmp_path)


# --- the disk ---


def _leave_room(pid: int, file_bytes: int) -> None:
    """From now on no file that process ``pid`` writes grows beyond ``file_bytes``."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))


def test_a_device_whose_journal_cannot_begin_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    design = Toy().write(tmp_path / "toy")
    with nothing_left(), standby() as (folder, bench):
        (folder / "journal.bhj").mkdir()
        with pytest.raises(BenchError, match=r"journal\.bhj: File exists"):
            bench.run(Plan(design, 12), folder)
        assert bench.monitor.wait(5) == 2
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("room_bytes", [0, 300])
def test_a_device_with_no_room_for_what_it_verifies_is_refused_with_the_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], room_bytes: int
) -> None:
    design = Toy().write(tmp_path / "toy")
    with nothing_left(), standby() as (folder, bench):
        _leave_room(bench.monitor.pid, room_bytes)
        with pytest.raises(BenchError, match=r"cannot be read \(File too large\)"):
            bench.run(Plan(design, 12), folder)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("room_bytes", [0, 1, 5, 100, 250])
def test_a_full_disk_stops_the_device_and_loses_no_finished_frame(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], room_bytes: int
) -> None:
    design = Toy().write(tmp_path / "toy")
    with nothing_left(), standby() as (folder, bench):

        def fill(frame: int, _: Any) -> None:
            if frame == 5:
                size = (folder / "journal.bhj").stat().st_size
                _leave_room(bench.monitor.pid, size + room_bytes)

        record = bench.run(Plan(design, LONG), folder, on_frame=fill)
        assert "the journal cannot be written" in record.of_kind("end")[0].text
        assert record.exit_status == 1
        assert record.world.orphaned_frames > 0
        found = journal.read(record.journal)
    frames = [entry.frame for entry in found.entries if isinstance(entry, journal.Frame)]
    assert frames == list(range(len(frames)))
    assert len(frames) >= 5
    assert found.torn_bytes == 0
    assert capfd.readouterr().err == ""
