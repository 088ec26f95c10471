"""The frame loop with gates that lie: real processes to kill, and each gate's end of its link held here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ipc_schemas import codec, links
from monitor import journal
from monitor.core import REFUSALS_MAX, REPORTS_PER_TURN, Core
from monitor.design import WORLD, Action, Design, Event
from monitor.endings import Ended, what_ended
from monitor.loader import load_design, load_schemas
from monitor.priority import Priority
from monitor.schedule import parse_clock
from monitor.seat import StopRun
from monitor.warden import Launch, Life, Process, Warden
from sandbox.launcher import LaunchError
from sandbox.walls import ALL
from tests.support.devices import Toy, wait_until

Answer = Callable[[str, links.Open, socket.socket], None]


def report(frame: int, *batches: links.Batch, **more: Any) -> bytes:
    """A gate's report that closes its window."""
    fields: dict[str, Any] = {"refusals": (), "is_last": True, "ended_by": ""}
    return codec.encode(links.GateReport(frame=frame, batches=batches, **(fields | more)))


class FakeLaunch:
    """A life that is there at once: two sleeping processes, and a link whose other end the test holds."""

    def __init__(self, warden: FakeWarden, name: str, epoch: int) -> None:
        if (name, epoch) in warden.broken:
            raise LaunchError(f"{name}: no more")
        self._warden, self._name, self._epoch = warden, name, epoch
        self.failure = "" if (name, epoch) not in warden.failing else f"{name}: it died before it was ready"
        self.started_s = 0.0
        self.is_bound = self.is_ready = True

    def descriptors(self) -> tuple[int, ...]:
        return ()

    def poll(self) -> None:
        return

    def findings(self) -> list[str]:
        return self._warden.holes.get(self._name, [])

    def abandon(self) -> None:
        self._warden.abandoned.append((self._name, self._epoch))

    def finish(self) -> Life:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._warden.gates[self._name] = theirs
        self._warden.ends += [ours, theirs]
        if self._name != WORLD:
            key = (self._name, self._epoch)
            first = self._warden.first.get(key, report(links.READY_FRAME))
            if first:
                theirs.send(first)
        process = None if self._name == WORLD else self._process(self._name)
        return Life(self._name, self._epoch, self._process(f"gate of {self._name}"), ours, process)

    def _process(self, name: str) -> Process:
        code = "import time; time.sleep(60)"
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stderr=subprocess.DEVNULL)
        self._warden.children.append(child)
        log, write = os.pipe2(os.O_NONBLOCK)
        self._warden.pipes.append(write)
        return Process(name, child.pid, os.pidfd_open(child.pid), log, None)


class FakeWarden(Warden):
    """Kills, buries and makes contracts as the real one does; starts fakes."""

    def __init__(self, design: Design) -> None:
        self.design, self.walls, self._schemas = design, ALL, design.schemas
        self.walls_of = dict.fromkeys((WORLD, *(p.name for p in design.partitions)), ALL)
        self.priority = Priority(design, None, lambda *_: None)
        self.gates: dict[str, socket.socket] = {}
        self.ends: list[socket.socket] = []
        self.children: list[subprocess.Popen[bytes]] = []
        self.pipes: list[int] = []
        self.abandoned: list[tuple[str, int]] = []
        self.broken: set[tuple[str, int]] = set()
        self.failing: set[tuple[str, int]] = set()
        self.holes: dict[str, list[str]] = {}
        self.first: dict[tuple[str, int], bytes] = {}
        self.immortal = False

    def launch(self, name: str, epoch: int) -> Launch:
        return FakeLaunch(self, name, epoch)  # type: ignore[return-value]

    def channel_folder(self, name: str) -> Path:
        return Path(name)

    def kill(self, life: Life) -> float:
        if self.immortal and life.partition == "rogue":
            raise TimeoutError("rogue (process 1) does not die")
        return super().kill(life)


class Stage:
    """A core over fakes. ``play`` answers each window as told, honestly where nothing is told."""

    def __init__(self, folder: Path, **health: str) -> None:
        design = load_design(
            Toy(health=health, restarts=2, steady_budget_ms=200, budget_ms=200).write(folder), ALL
        )
        module = load_schemas(design)
        self.design = replace(design, world=replace(design.world, budget_ms=200))
        self.note = self.design.port("rogue.note").number
        self.warden = FakeWarden(self.design)
        self.notes: list[tuple[int, str, str, str]] = []
        self.control, theirs = socket.socketpair()
        self._theirs = theirs
        self.book = journal.Writer(folder / "journal.bhj")
        self.book.append(journal.Header(1, "toy", "", 9, (), {}, ()))
        self.path = folder / "journal.bhj"
        types = {port.message: getattr(module, port.message) for port in design.ports}
        self.core = Core(
            self.design, types, self.warden, parse_clock("virtual"), self.book, self._tell, theirs.fileno()
        )
        self.answers: dict[tuple[str, int], Answer] = {}
        self._real_open = self.core._open
        self.core._open = self._open  # type: ignore[method-assign]

    def _tell(self, frame: int, kind: str, partition: str, text: str, facts: Any = None) -> None:
        self.notes.append((frame, kind, partition, text + str((facts or {}).get("detail", ""))))

    def _open(self, seat: Any, frame: int, budget_s: float) -> None:
        self._real_open(seat, frame, budget_s)
        if seat.life is None:
            return
        gate = self.warden.gates[seat.name]
        order = codec.Codec(links.Open).decode_loosely(gate.recv(1 << 20))
        answer = self.answers.get((seat.name, frame))
        if answer is None:
            gate.send(report(order.frame))
        else:
            answer(seat.name, order, gate)

    def play(self, frames: int = 6) -> journal.Reading:
        """Boot, run, shut down, and read the journal."""
        why = ""
        try:
            self.core.boot()
            self.core.run(frames)
        except StopRun as stop:
            why = str(stop)
        finally:
            self.core.lives.shut_down()
        self.core.close_book(why)
        return journal.read(self.path)

    def close(self) -> None:
        for child in self.warden.children:
            child.kill()
            child.wait()
        for pipe in self.warden.pipes:
            os.close(pipe)
        for each in (*self.warden.ends, self.control, self._theirs):
            each.close()
        self.book.close()


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended; one that waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Makes stages, and clears them away."""
    made: list[Stage] = []

    def make(**health: str) -> Stage:
        made.append(Stage(tmp_path / str(len(made)), **health))
        return made[-1]

    yield make
    for each in made:
        each.close()


def rulings(found: journal.Reading, partition: str = "rogue") -> list[tuple[int, str, str]]:
    """``(frame, event, action)`` of every ruling about a partition, but that nobody here sends it ticks."""
    frames = [entry for entry in found.entries if isinstance(entry, journal.Frame)]
    rows = [(f.frame, r) for f in frames for r in f.rulings if r.event != "stale_input"]
    return [(frame, r.event, r.action) for frame, r in rows if r.partition == partition]


def admitted(found: journal.Reading) -> list[tuple[int, int, bytes]]:
    """Everything that was let through."""
    frames = [entry for entry in found.entries if isinstance(entry, journal.Frame)]
    return [(f.frame, a.port, a.messages) for f in frames for a in f.admitted]


NOTE = codec.encode({"n": 1, "text": "x"})


def saying(*messages: bytes) -> Answer:
    """A gate that sends these, whatever it was asked."""

    def answer(_name: str, _order: links.Open, gate: socket.socket) -> None:
        for message in messages:
            gate.send(message)

    return answer


def batch(port: int, count: int, *payloads: bytes) -> links.Batch:
    """A batch as a gate hands it over."""
    return links.Batch(port, count, codec.join_batch(list(payloads)))


def test_an_honest_gates_messages_are_admitted(stage: Callable[..., Stage]) -> None:
    play = stage()
    play.answers["rogue", 2] = saying(report(2, batch(play.note, 1, NOTE)))
    found = play.play()
    assert rulings(found) == rulings(found, "steady") == []
    assert admitted(found) == [(2, play.note, b"\x91" + NOTE)]


REFUSED = links.Refusal(4, "bad_message", "range", "d", 1)


def keeping(count: int, *sizes: int) -> links.Refusal:
    """A row of ``count`` refused messages that keeps some of these sizes."""
    kept = tuple(links.Exhibit(0, bytes(size)) for size in sizes)
    return links.Refusal(4, "bad_message", "range", "d", count, kept)


KEPT_MAX = links.EXHIBIT_BYTES_PER_WINDOW_MAX
LIES: dict[str, tuple[tuple[Any, ...], str]] = {
    "garbage": ((b"\xc1garbage",), "an unreadable report"),
    "empty message type": ((codec.encode([1, 2, 3]),), "an unreadable report"),
    "another frame": ((report(3),), "a report for frame 3, this is 2"),
    "two reports": ((report(2), report(2)), "a report for frame 2"),
    "another's port": ((report(2, batch(6, 1, NOTE)),), "is no output port of this partition"),
    "out of range": ((report(2, batch(4, 1, codec.encode({"n": 101, "text": "x"}))),), "range"),
    "too many": ((report(2, batch(4, 5, *[NOTE] * 5)),), "5 messages on port 4, at most 4"),
    "too many in pieces": (
        (report(2, batch(4, 3, *[NOTE] * 3), is_last=False), report(2, batch(4, 3, *[NOTE] * 3))),
        "6 messages on port 4, at most 4",
    ),
    "empty batches": ((report(2, *[batch(4, 0)] * 9),), "a batch of 0 messages"),
    "an invented event": ((report(2, ended_by="meteorite"),), "'meteorite', which is no gate's to report"),
    "another's event": ((report(2, ended_by="partition_exit"),), "no gate's to report"),
    "a lie of its own": ((report(2, ended_by="gate_lied"),), "no gate's to report"),
    "an invented refusal": ((report(2, refusals=(REFUSED, links.Refusal(4, "rain", "", "", 1))),), "'rain'"),
    "more kept than refused": (
        (report(2, refusals=(keeping(1, 9, 9),)),),
        "more refused messages than it counts",
    ),
    "more kept than a row may": ((report(2, refusals=(keeping(99, *[1] * 9),)),), "an unreadable report"),
    "too many bytes kept": (
        (report(2, refusals=(keeping(2, KEPT_MAX // 2, KEPT_MAX // 2),)),),
        "bytes of refused messages in a frame",
    ),
    "too many bytes kept in pieces": (
        (
            report(2, refusals=(keeping(1, KEPT_MAX // 2),), is_last=False),
            report(2, refusals=(keeping(1, KEPT_MAX // 2),)),
        ),
        "bytes of refused messages in a frame",
    ),
    "nothing, kept without end": (
        (report(2, refusals=(keeping(8, *[0] * 8),) * 129),),
        "bytes of refused messages in a frame",
    ),
    "refusals without end": (
        tuple(report(2, refusals=(REFUSED,) * 512, is_last=False) for _ in range(REFUSALS_MAX // 512 + 1)),
        "rows of refusals",
    ),
}


@pytest.mark.parametrize(("messages", "says"), LIES.values(), ids=list(LIES))
def test_a_gate_that_lies_is_caught_and_nothing_of_its_window_is_admitted(
    stage: Callable[..., Stage], messages: tuple[bytes, ...], says: str
) -> None:
    play = stage()
    assert play.note == 4
    play.answers["rogue", 2] = saying(*messages)
    found = play.play()
    assert [(event, action) for _, event, action in rulings(found)] == [("gate_lied", "restart")], play.notes
    assert any(says in text for _, kind, _, text in play.notes if kind == "ruling"), play.notes
    assert admitted(found) == []
    assert found.entries[-1] == journal.End(6, "")


@pytest.mark.parametrize(
    "first",
    [
        report(0),
        report(links.READY_FRAME, batch(4, 1, NOTE)),
        report(links.READY_FRAME, is_last=False),
        report(links.READY_FRAME, ended_by="meteorite"),
        report(links.READY_FRAME, refusals=(links.Refusal(4, "rain", "", "", 1),)),
        report(links.READY_FRAME, refusals=(keeping(2, KEPT_MAX // 2, KEPT_MAX // 2),)),
        b"\xc1",
    ],
)
def test_a_gate_that_lies_before_the_first_window_is_caught(
    stage: Callable[..., Stage], first: bytes
) -> None:
    play = stage()
    play.warden.first["rogue", 0] = first
    found = play.play()
    assert rulings(found) == [(0, "gate_lied", "restart")]
    assert admitted(found) == []
    assert found.entries[-1] == journal.End(6, "")


def test_what_is_refused_before_the_first_window_is_an_event_like_any_other(
    stage: Callable[..., Stage],
) -> None:
    for action, ends in (("restart", ["restart"]), ("drop", ["drop"])):
        play = stage(bad_message=action)
        play.warden.first["rogue", 0] = report(links.READY_FRAME, refusals=(REFUSED,))
        found = play.play()
        assert [what for _, event, what in rulings(found) if event == "bad_message"] == ends
        assert len(rulings(found)) == 1
        assert any("before its first window: range: d" in text for *_, text in play.notes)


def test_a_gate_that_never_says_that_its_partition_is_ready_costs_its_own_life(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "START_BUDGET_MS", 100)
    play = stage()
    play.warden.first["rogue", 0] = b""
    began_s = time.monotonic()
    assert rulings(play.play()) == [(0, "gate_died", "restart")]
    assert time.monotonic() - began_s < 5.0


def test_a_life_is_back_when_its_gate_says_so_counted_from_the_order(stage: Callable[..., Stage]) -> None:
    play = stage()
    told: list[tuple[Any, ...]] = []
    play.core.lives.tell = lambda *note: told.append(note)
    play.play(2)
    ready = {note[2]: note[4]["ready_ms"] for note in told if note[1] == "ready"}
    assert set(ready) == {"steady", "rogue"}
    # Fakes were ordered when the machine's clock began.
    assert all(0 <= time.monotonic() * 1000 - took_ms < 60_000 for took_ms in ready.values()), ready


def test_a_gate_that_never_says_so_and_is_spared_is_blamed_once(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "START_BUDGET_MS", 100)
    play = stage(gate_died="drop")
    play.warden.first["rogue", 0] = b""
    assert rulings(play.play()) == [(0, "gate_died", "drop")]


def test_a_gate_that_never_stops_reporting_has_its_turn_and_no_more(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    play = stage()
    taken: list[int] = []
    read, take = play.core._read_link, play.core._take_report

    def turn(seat: Any) -> None:
        taken.append(0)
        read(seat)

    def one(seat: Any, each: links.GateReport) -> None:
        taken[-1] += 1
        take(seat, each)

    monkeypatch.setattr(play.core, "_read_link", turn)
    monkeypatch.setattr(play.core, "_take_report", one)
    endless = [report(2, is_last=False)] * (3 * REPORTS_PER_TURN)
    play.answers["rogue", 2] = saying(*endless, report(2))
    assert rulings(play.play()) == []
    assert max(taken) == REPORTS_PER_TURN


def test_a_gates_words_cannot_act_on_a_terminal(stage: Callable[..., Stage]) -> None:
    play = stage(bad_message="drop")
    words = links.Refusal(4, "bad_message", "r\x1b[2J", "\u202e\x1b[2J", 1)
    play.answers["rogue", 2] = saying(report(2, refusals=(words,)))
    found = play.play()
    shown = [row for entry in found.entries if isinstance(entry, journal.Frame) for row in entry.refusals]
    assert [(row.reason, row.detail) for row in shown] == [("r\\u001b[2J", "\\u202e\\u001b[2J")]
    assert all(text.isprintable() for *_, text in play.notes)


def test_what_a_gate_keeps_of_what_it_refused_is_in_the_journal(stage: Callable[..., Stage]) -> None:
    play = stage(bad_message="drop")
    most = keeping(3, KEPT_MAX - links.exhibit_bytes(b""))  # the bound itself is no lie
    play.warden.first["rogue", 0] = report(links.READY_FRAME, refusals=(most,))
    play.answers["rogue", 0] = saying(report(0, refusals=(most,)))
    found = play.play()
    assert [(frame, event) for frame, event, _ in rulings(found)] == [(0, "bad_message"), (0, "bad_message")]
    rows = [row for entry in found.entries if isinstance(entry, journal.Frame) for row in entry.refusals]
    assert [(row.count, [len(each.message) for each in row.exhibits]) for row in rows] == [
        (3, [KEPT_MAX - links.exhibit_bytes(b"")])
    ] * 2


def test_a_gate_that_says_nothing_costs_its_own_life(stage: Callable[..., Stage]) -> None:
    play = stage()
    play.answers["rogue", 2] = saying()
    assert rulings(play.play()) == [(2, "gate_died", "restart")]


def test_a_gate_that_closes_its_link_is_dead(stage: Callable[..., Stage]) -> None:
    play = stage()
    play.answers["rogue", 2] = lambda _name, _order, gate: gate.close()
    assert rulings(play.play()) == [(2, "gate_died", "restart")]


@pytest.mark.parametrize("lie", [b"\xc1", report(5)])
def test_when_the_worlds_gate_lies_the_run_ends_with_a_reason(
    stage: Callable[..., Stage], lie: bytes
) -> None:
    play = stage()
    play.answers[WORLD, 2] = saying(lie)
    end = play.play().entries[-1]
    assert isinstance(end, journal.End)
    assert end.why.startswith("the world is gone: ")
    assert wait_until(lambda: not any(is_running(child.pid) for child in play.warden.children), 2.0)


def test_an_event_without_a_row_quarantines_its_partition_and_no_more(stage: Callable[..., Stage]) -> None:
    play = stage()
    rows = play.design.partition("rogue").health
    del rows[Event.BAD_MESSAGE]
    play.answers["rogue", 2] = saying(report(2, refusals=(REFUSED,)))
    found = play.play()
    assert rulings(found) == [(2, "bad_message", "quarantine")]
    assert found.entries[-1] == journal.End(6, "")


def test_a_first_start_that_fails_refuses_the_device(stage: Callable[..., Stage]) -> None:
    for kind in ("broken", "failing"):
        play = stage()
        getattr(play.warden, kind).add(("rogue", 0))
        end = play.play().entries[-1]
        assert isinstance(end, journal.End)
        assert (end.frames, end.why.split(":")[0]) == (0, "rogue could not be started")


def test_a_hole_found_at_boot_refuses_the_device(stage: Callable[..., Stage]) -> None:
    play = stage()
    play.warden.holes["rogue"] = ["rogue: can write to /"]
    end = play.play().entries[-1]
    assert isinstance(end, journal.End)
    assert "the live device differs from its design: rogue: can write to /" in end.why
    assert play.warden.abandoned == [("rogue", 0)]


@pytest.mark.parametrize("kind", ["broken", "failing"])
def test_a_later_start_that_fails_spends_the_budget_of_its_partition_only(
    stage: Callable[..., Stage], kind: str
) -> None:
    play = stage()
    getattr(play.warden, kind).update({("rogue", 1), ("rogue", 2)})
    play.answers["rogue", 2] = saying(b"\xc1")
    found = play.play()
    assert [(event, action) for _, event, action in rulings(found)] == [
        ("gate_lied", "restart"),
        ("partition_exit", "restart"),
        ("partition_exit", "quarantine"),
    ]
    assert found.entries[-1] == journal.End(6, "")


def test_a_process_that_does_not_die_stops_the_device_and_the_others_still_go(
    stage: Callable[..., Stage],
) -> None:
    play = stage()
    play.warden.immortal = True
    play.answers["rogue", 2] = saying(b"\xc1")
    end = play.play().entries[-1]
    assert isinstance(end, journal.End)
    assert end.why == "safe state: rogue (process 1) does not die"
    assert wait_until(lambda: not any(is_running(child.pid) for child in play.warden.children), 2.0)


def test_a_closed_console_ends_the_run_once_the_frame_is_done(stage: Callable[..., Stage]) -> None:
    play = stage()

    def close(_name: str, order: links.Open, gate: socket.socket) -> None:
        play.control.close()
        gate.send(report(order.frame))

    play.answers["rogue", 2] = close
    assert play.play().entries[-1] == journal.End(3, "asked to stop")


def test_a_world_that_goes_with_the_console_is_no_fault(stage: Callable[..., Stage]) -> None:
    """Seen one time in six: the starter was killed, and the journal said "the world is gone"."""
    play = stage()

    def close(_name: str, _order: links.Open, gate: socket.socket) -> None:
        play.control.close()
        gate.close()

    play.answers[WORLD, 2] = close
    end = play.play().entries[-1]
    assert isinstance(end, journal.End)
    assert end.why == "asked to stop"


def test_a_console_closed_before_the_boot_ends_it(stage: Callable[..., Stage]) -> None:
    play = stage()
    play.control.close()
    assert play.play().entries[-1] == journal.End(0, "asked to stop")


def test_the_page_of_a_frame_is_in_the_designs_order_whoever_came_first(stage: Callable[..., Stage]) -> None:
    play = stage(bad_message="drop")
    play.design.partition("steady").health[Event.BAD_MESSAGE] = Action.DROP
    held: list[socket.socket] = []
    refusal = report(2, refusals=(REFUSED,))
    play.answers["steady", 2] = lambda _name, _order, gate: held.append(gate)

    def rogue_first(_name: str, _order: links.Open, gate: socket.socket) -> None:
        gate.send(refusal)
        play.core._step(float("inf"))
        held[0].send(refusal)

    play.answers["rogue", 2] = rogue_first
    frame = next(e for e in play.play().entries if isinstance(e, journal.Frame) and e.frame == 2)
    order = [seat for seat in play.core.lives.seats if seat != WORLD]
    assert [r.partition for r in frame.rulings if r.event == "bad_message"] == order
    assert [row.partition for row in frame.refusals] == order


def test_an_unknown_fault_of_the_monitor_kills_everything_and_is_written_down(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    from monitor import power_on as power

    play = stage()

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(play.core, "_close_frame", fail)
    speaker = SimpleNamespace(tell=play._tell, lost=0)
    order = SimpleNamespace(frames=6)
    status = power._run(play.core, order, play.book, speaker, 0.0, lambda: None)  # type: ignore[arg-type]
    assert status == 1
    assert journal.read(play.path).entries[-1] == journal.End(
        0, "safe state: the monitor failed: MemoryError: "
    )
    assert wait_until(lambda: not any(is_running(child.pid) for child in play.warden.children), 2.0)


@pytest.mark.parametrize("number", [1, 9, 11, 33, 34, 64])
def test_an_end_by_any_signal_is_an_event(number: int) -> None:
    event, detail = what_ended(Ended("killed", number, 0))
    assert event is Event.PARTITION_EXIT
    assert str(number) in detail or "SIG" in detail
