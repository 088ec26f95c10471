"""The frame loop: opens windows, gathers reports, turns events into actions, and closes each frame in the journal.

One process, one thread, one epoll. It never parses what a partition wrote: gates do, and their reports are checked
once more. It never waits for anyone beyond a bound: a window ends at its budget whoever is to blame.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ipc_schemas import codec, links, wire
from monitor import journal, judge
from monitor.design import WORLD, Action, Design, Event
from monitor.exchange import Exchange
from monitor.health import Decision, Health, UnknownEvent
from monitor.images import ImageChanged
from monitor.judge import Recheck
from monitor.schedule import Clock, Slot, frame_length_s, plan
from monitor.warden import NO_BUDGET_MS, Ended, Launch, Life, Warden, is_out_of_memory
from sandbox import linux
from sandbox.launcher import LaunchError

#: How long past a window's budget the monitor waits for the gate's own report before it blames the gate.
GATE_GRACE_S = 0.5
#: The most rows of refusals that are taken from a gate in one frame.
REFUSALS_MAX = 4_096
#: How long the monitor sleeps at most before it looks whether it was asked to stop.
LOOK_UP_S = 0.1
_LOG_TEXT_MAX = 400
_ENDED_BY = {
    judge.WINDOW_OVERRUN: "the window did not close in time",
    judge.REJECTIONS_EXCEEDED: "more refused messages in a frame than the port allows",
}
#: What can go wrong while a life is started; the process itself reports the rest as ``Launch.failure``.
LAUNCH_ERRORS = (LaunchError, ImageChanged, OSError)
_REPORTS: codec.Codec[links.GateReport] = codec.Codec(links.GateReport)

Tell = Callable[..., None]


class StopRun(Exception):
    """The run ends; the sentence says why. ``is_fault`` tells an asked-for end from a forced one."""

    def __init__(self, why: str, *, is_fault: bool) -> None:
        super().__init__(why)
        self.is_fault = is_fault


@dataclass(slots=True)
class Seat:
    """A partition's place in the frame loop, whoever lives in it."""

    name: str
    epoch: int = 0
    life: Life | None = None
    launch: Launch | None = None
    is_quarantined: bool = False
    recheck: Recheck | None = None
    is_open: bool = False
    opened_s: float = 0.0
    deadline_s: float = 0.0
    staged: dict[int, list[links.Batch]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    refusals: int = 0
    log_bytes: int = 0
    log_tail: bytes = b""
    stale: frozenset[str] = frozenset()

    def close(self) -> None:
        """End the window without its output."""
        self.is_open = False
        self.refusals = 0
        self.staged = {}
        self.counts = {}


@dataclass(slots=True)
class _FrameBook:
    """What goes into the journal for one frame."""

    refusals: list[journal.Refusal] = field(default_factory=list)
    rulings: list[journal.Ruling] = field(default_factory=list)
    lives: list[journal.Life] = field(default_factory=list)


class Core:
    """One device, running."""

    def __init__(
        self,
        design: Design,
        types: dict[str, type],
        warden: Warden,
        clock: Clock,
        book: journal.Writer,
        tell: Tell,
        control_fd: int,
    ) -> None:
        self.design = design
        self._types = types
        self._warden = warden
        self._clock = clock
        self._slots = plan(design, clock)
        self._book = book
        self._tell = tell
        self._health = Health(design)
        self._exchange = Exchange(design)
        self._has_budgets = "window" in warden.walls
        self._seats = {name: Seat(name) for name in (WORLD, *(p.name for p in design.partitions))}
        self._epoll = select.epoll()
        self._control_fd = control_fd
        self._epoll.register(control_fd, select.EPOLLIN)
        self._watched: dict[int, tuple[Seat, str]] = {}
        self._frame = 0
        self._page = _FrameBook()
        self.lateness_ms: dict[str, list[float]] = {p.name: [] for p in design.partitions}
        self.stop_asked = ""
        self.frames_done = 0
        self._is_booted = False

    # -- boot -------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Bring every partition up, all at once. Raises ``StopRun`` when one does not come up as declared."""
        for seat in self._seats.values():
            self._start(seat)
        while any(seat.launch is not None for seat in self._seats.values()):
            self._await_launches(0.05)
            if self.stop_asked:
                raise StopRun(self.stop_asked, is_fault=False)
        self._is_booted = True

    def _start(self, seat: Seat) -> None:
        """Begin a life. One that cannot begin counts as one that ended, until the restart budget is spent."""
        while True:
            try:
                seat.launch = self._warden.launch(seat.name, seat.epoch)
                return
            except LAUNCH_ERRORS as error:
                decision = self._launch_failed(seat, str(error))
            if decision.action is not Action.RESTART:
                self._after_death(seat, decision)
                return
            seat.epoch += 1

    def _launch_failed(self, seat: Seat, why: str) -> Decision:
        """At boot, or when the world's gate fails, the device does not run; later, one partition has ended."""
        if not self._is_booted or seat.name == WORLD:
            raise StopRun(f"{seat.name} could not be started: {why}", is_fault=True)
        self._page.lives.append(journal.Life(seat.name, seat.epoch, "failed"))
        return self._rule(seat, Event.PARTITION_EXIT, f"could not be started again: {why}")

    def _await_launches(self, timeout_s: float) -> None:
        """Let launches advance; wait at most ``timeout_s`` for something to happen."""
        waiting = [seat for seat in self._seats.values() if seat.launch is not None]
        poller = select.poll()
        if not self.stop_asked:
            poller.register(self._control_fd, select.POLLIN)
        for seat in waiting:
            assert seat.launch is not None
            for descriptor in seat.launch.descriptors():
                poller.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poller.poll(timeout_s * 1000)}
        if self._control_fd in ready:
            self._read_control()
        for seat in waiting:
            self._advance(seat)

    def _advance(self, seat: Seat) -> None:
        launch = seat.launch
        assert launch is not None
        was_bound = launch.is_bound
        try:
            launch.poll()
        except LAUNCH_ERRORS as error:
            launch.failure = str(error)
        if seat.name == WORLD and launch.is_bound and not was_bound:
            endpoint = self._warden.channel_folder(WORLD) / "gate.sock"
            self._tell(self._frame, "world_gate", WORLD, str(endpoint))
        holes = launch.findings() if launch.is_ready and not launch.failure else []
        if holes:
            launch.failure = f"the live device differs from its design: {'; '.join(holes[:8])}"
        if launch.failure:
            seat.launch = None
            launch.abandon()
            self._after_death(seat, self._launch_failed(seat, launch.failure))
        elif launch.is_ready:
            self._settle(seat, launch)

    def _settle(self, seat: Seat, launch: Launch) -> None:
        life = launch.finish()
        seat.launch, seat.life = None, life
        seat.recheck = Recheck(self._warden.contract(seat.name, seat.epoch), self._types)
        life.link.setblocking(False)
        self._watch(life.link.fileno(), seat, "link")
        self._watch(life.gate.pidfd, seat, "gate")
        self._watch(life.gate.log, seat, "gate_log")
        took_ms = (time.monotonic() - launch.started_s) * 1000
        facts: dict[str, object] = {"launch_ms": round(took_ms, 2), "gate_pid": life.gate.pid, "epoch": seat.epoch}
        if life.process is not None:
            self._watch(life.process.pidfd, seat, "process")
            self._watch(life.process.log, seat, "log")
            facts["pid"] = life.process.pid
        self._page.lives.append(journal.Life(seat.name, seat.epoch, "up"))
        self._tell(self._frame, "up", seat.name, f"{seat.name} is up (life {seat.epoch})", facts)

    def _watch(self, descriptor: int, seat: Seat, kind: str) -> None:
        self._epoll.register(descriptor, select.EPOLLIN)
        self._watched[descriptor] = (seat, kind)

    def _unwatch(self, life: Life) -> None:
        descriptors = [life.link.fileno(), life.gate.pidfd, life.gate.log]
        if life.process is not None:
            descriptors += [life.process.pidfd, life.process.log]
        for descriptor in descriptors:
            self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    # -- frames -----------------------------------------------------------------------------------------------

    def run(self, frames: int) -> None:
        """Run ``frames`` frames. Raises ``StopRun`` and ``journal.JournalLost``."""
        length_s = frame_length_s(self.design, self._clock)
        start_s = time.monotonic()
        for frame in range(frames):
            self._frame = frame
            self._run_frame(frame, start_s + frame * length_s)
            if not self._clock.is_virtual:
                self._wait_until(start_s + (frame + 1) * length_s)
            if self.stop_asked:
                raise StopRun(self.stop_asked, is_fault=False)

    def _run_frame(self, frame: int, start_s: float) -> None:
        self._finish_launches()
        self._open(self._seats[WORLD], frame, self.design.world.budget_ms / 1000)
        for slot in self._slots:
            if not self._clock.is_virtual:
                self._wait_until(start_s + slot.offset_s)
            self._open_slot(slot, frame, start_s)
        while any(seat.is_open for seat in self._seats.values()):
            self._step(self._next_deadline_s())
        self._close_frame(frame)

    def _finish_launches(self) -> None:
        """On the virtual clock a restart takes no logical time; on the others it takes the time it takes."""
        while any(seat.launch is not None for seat in self._seats.values()):
            self._await_launches(0.05 if self._clock.is_virtual else 0.0)
            if not self._clock.is_virtual:
                return

    def _open_slot(self, slot: Slot, frame: int, start_s: float) -> None:
        seat = self._seats[slot.partition]
        if seat.life is None:
            return
        self._note_stale(seat, frame)
        if self._exchange.holds(seat.name, frame):
            return
        self._open(seat, frame, slot.budget_s)
        if not self._clock.is_virtual:
            self.lateness_ms[seat.name].append((seat.opened_s - start_s - slot.offset_s) * 1000)

    def _open(self, seat: Seat, frame: int, budget_s: float) -> None:
        life = seat.life
        if life is None:
            return
        opened = codec.encode(wire.WindowOpen(frame, self._exchange.take(seat.name, frame)))
        seat.opened_s = time.monotonic()
        seat.deadline_s = seat.opened_s + (budget_s if self._has_budgets else NO_BUDGET_MS / 1000) + GATE_GRACE_S
        seat.is_open = True
        seat.log_bytes = 0
        try:
            life.link.send(codec.encode(links.Open(frame, opened)))
        except (BlockingIOError, OSError):
            self._raise_event(seat, Event.GATE_DIED, "the gate does not take its window")

    def _next_deadline_s(self) -> float:
        return min(seat.deadline_s for seat in self._seats.values() if seat.is_open)

    def _wait_until(self, at_s: float) -> None:
        while time.monotonic() < at_s:
            if self.stop_asked:
                raise StopRun(self.stop_asked, is_fault=False)
            self._step(at_s)
            if any(seat.launch is not None for seat in self._seats.values()):
                self._await_launches(0.0)

    def _step(self, until_s: float) -> None:
        """Handle what happens until ``until_s`` at the latest; returns after the first thing that did."""
        timeout_s = min(max(until_s - time.monotonic(), 0.0), LOOK_UP_S)
        if any(seat.launch is not None for seat in self._seats.values()):
            timeout_s = min(timeout_s, 0.002)
        if not self._clock.is_virtual:
            # epoll counts whole milliseconds; select counts microseconds, and windows shall open on time.
            select.select([self._epoll], [], [], timeout_s)
            timeout_s = 0.0
        for descriptor, _ in self._epoll.poll(timeout_s):
            if descriptor == self._control_fd:
                self._read_control()
                continue
            watched = self._watched.get(descriptor)
            if watched is not None:
                self._handle(*watched, descriptor)
        now_s = time.monotonic()
        for seat in self._seats.values():
            if seat.is_open and now_s > seat.deadline_s:
                self._raise_event(seat, Event.GATE_DIED, "the gate did not report by the end of its window")
                seat.close()

    def _handle(self, seat: Seat, kind: str, descriptor: int) -> None:
        if kind == "link":
            self._read_link(seat)
        elif kind in ("log", "gate_log"):
            self._read_log(seat, descriptor, is_gate=kind == "gate_log")
        elif kind == "process":
            self._process_gone(seat)
        elif kind == "gate":
            self._read_link(seat)  # a report sent just before the end still counts
            if seat.life is not None and seat.life.gate.pidfd == descriptor:
                self._raise_event(seat, Event.GATE_DIED, "the gate process ended")

    # -- what gates report ------------------------------------------------------------------------------------

    def _read_link(self, seat: Seat) -> None:
        while seat.life is not None:
            try:
                message = seat.life.link.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._raise_event(seat, Event.GATE_DIED, "the gate closed its link")
                return
            try:
                report = _REPORTS.decode(message)
            except codec.Refused as refusal:
                self._raise_event(seat, Event.GATE_LIED, f"an unreadable report: {refusal}")
                return
            self._take_report(seat, report)

    def _take_report(self, seat: Seat, report: links.GateReport) -> None:
        if not seat.is_open or report.frame != self._frame:
            self._raise_event(seat, Event.GATE_LIED, f"a report for frame {report.frame}, this is {self._frame}")
            return
        assert seat.recheck is not None
        for batch in report.batches:
            problem = seat.recheck.problem(batch, seat.counts.get(batch.port, 0))
            if problem:
                self._raise_event(seat, Event.GATE_LIED, problem)
                return
            seat.counts[batch.port] = seat.counts.get(batch.port, 0) + batch.count
            seat.staged.setdefault(batch.port, []).append(batch)
        seat.refusals += len(report.refusals)
        if seat.refusals > REFUSALS_MAX:
            self._raise_event(seat, Event.GATE_LIED, f"more than {REFUSALS_MAX} rows of refusals in a frame")
            return
        for refusal in report.refusals:
            self._page.refusals.append(
                journal.Refusal(seat.name, refusal.port, refusal.event, refusal.reason, refusal.detail, refusal.count)
            )
        if report.is_last:
            self._window_done(seat, report)

    def _window_done(self, seat: Seat, report: links.GateReport) -> None:
        ended_by = report.ended_by
        unknown = {ended_by, *(r.event for r in report.refusals)} - {"", *judge.EVENTS}
        if unknown:
            self._raise_event(seat, Event.GATE_LIED, f"a report of {min(unknown)!r}, which is no gate's to report")
            return
        details = {r.event: f"{r.reason}: {r.detail}" for r in report.refusals if r.event}
        if ended_by:
            staged = seat.staged
            self._raise_event(seat, Event(ended_by), details.get(ended_by, _ENDED_BY.get(ended_by, ended_by)))
            if seat.is_open:  # the health table lets the partition live: it has lost this window
                del staged
                seat.close()
            return
        for event, detail in details.items():
            self._raise_event(seat, Event(event), detail)
        if seat.is_open:
            seat.is_open = False
            self._check_cpu(seat)

    def _check_cpu(self, seat: Seat) -> None:
        if not self._has_budgets or seat.life is None or seat.life.process is None:
            return
        used_s = 0.0
        for process in (seat.life.process, seat.life.gate):
            try:
                now_s = time.clock_gettime(linux.cpu_clock_id(process.pid))
            except OSError:
                return  # it has just ended; its pidfd will say so
            used_s += now_s - process.cpu_used_s if process.cpu_used_s else 0.0  # the start of a life does not count
            process.cpu_used_s = now_s
        limit_ms = self.design.partition(seat.name).limits.cpu_ms_per_frame_max
        if used_s * 1000 > limit_ms:
            detail = f"{used_s * 1000:.0f} ms of processor time since the last window, at most {limit_ms}"
            self._raise_event(seat, Event.CPU_EXCEEDED, detail)

    # -- logs and exits ---------------------------------------------------------------------------------------

    def _read_log(self, seat: Seat, descriptor: int, *, is_gate: bool) -> None:
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._forget(descriptor)
            return
        if seat.name == WORLD or is_gate:
            self._tell(self._frame, "log", f"gate of {seat.name}", sanitised(data[:_LOG_TEXT_MAX]))
            return
        if self._keep_log(seat, data) and seat.life is not None:
            self._raise_event(seat, Event.LOG_FLOOD, "more than its bound of log in a frame")

    def _keep_log(self, seat: Seat, data: bytes) -> bool:
        """Pass on as much of a partition's log as its bound allows; true when this piece crossed the bound."""
        limit = self.design.partition(seat.name).limits.log_bytes_per_frame_max
        room = max(limit - seat.log_bytes, 0)
        seat.log_bytes += len(data)
        lines = (seat.log_tail + data[:room]).split(b"\n")
        seat.log_tail = lines.pop()[-_LOG_TEXT_MAX:]
        for line in lines:
            self._tell(self._frame, "log", seat.name, sanitised(line[:_LOG_TEXT_MAX]))
        return seat.log_bytes > limit and seat.log_bytes - len(data) <= limit

    def _process_gone(self, seat: Seat) -> None:
        """The partition's process ended by itself: read its status, and report the one event that fits."""
        life = seat.life
        if life is None or life.process is None:
            return
        self._drain_log(seat, life)
        self._unwatch(life)
        seat.life = None
        self._warden.kill(life)
        ended = self._warden.bury(life)
        assert ended is not None
        event, detail = what_ended(ended)
        self._page.lives.append(journal.Life(seat.name, seat.epoch, "ended"))
        self._tell(self._frame, "ended", seat.name, f"{seat.name}: {detail}", {"epoch": seat.epoch})
        decision = self._rule(seat, event, detail)
        seat.close()
        self._after_death(seat, decision)

    def _drain_log(self, seat: Seat, life: Life) -> None:
        """Pass on what a life that is ending has still written."""
        if life.process is None:
            return
        try:
            data = os.read(life.process.log, 1 << 16)
        except BlockingIOError:
            return
        if data:
            self._keep_log(seat, data)

    # -- events and actions -----------------------------------------------------------------------------------

    def _rule(self, seat: Seat, event: Event, detail: str) -> Decision:
        try:
            decision = self._health.on(seat.name, event, self._frame)
        except UnknownEvent as unknown:  # unknown means refuse: the partition goes, the device stays
            decision = Decision(Action.QUARANTINE, str(unknown), 0)
        self._page.rulings.append(journal.Ruling(seat.name, event.value, decision.action.value, decision.reason))
        facts = {"event": event.value, "action": decision.action.value, "detail": detail}
        self._tell(self._frame, "ruling", seat.name, decision.reason, facts)
        return decision

    def _raise_event(self, seat: Seat, event: Event, detail: str) -> None:
        """One event of one living partition: decide, act, and only then write it down."""
        received_s = time.perf_counter()
        if seat.name == WORLD:
            if event in (Event.GATE_DIED, Event.GATE_LIED):
                raise StopRun(f"the world is gone: {detail}", is_fault=True)
            self._tell(self._frame, "ruling", WORLD, f"{event.value}: {detail}", {"event": event.value, "action": "drop"})
            return
        if seat.life is None:
            return
        decision = self._rule(seat, event, detail)
        if decision.action in (Action.NOTE, Action.DROP):
            return
        # Kill before journalling: a slow disk must not prolong a breach.
        self._kill(seat, received_s)
        self._after_death(seat, decision)

    def _kill(self, seat: Seat, received_s: float) -> None:
        life = seat.life
        assert life is not None
        self._drain_log(seat, life)
        self._unwatch(life)
        try:
            self._warden.kill(life)
        except TimeoutError as error:
            raise StopRun(f"safe state: {error}", is_fault=True) from None
        took_ms = (time.perf_counter() - received_s) * 1000
        self._warden.bury(life)
        seat.life = None
        seat.close()
        self._page.lives.append(journal.Life(seat.name, seat.epoch, "killed"))
        facts = {"kill_ms": round(took_ms, 3), "epoch": seat.epoch}
        self._tell(self._frame, "killed", seat.name, f"{seat.name} killed, none of it left", facts)

    def _after_death(self, seat: Seat, decision: Decision) -> None:
        seat.log_tail = b""
        if decision.action is Action.RESTART:
            seat.epoch += 1
            self._start(seat)
        elif decision.action is Action.QUARANTINE:
            seat.is_quarantined = True
            self._tell(self._frame, "quarantine", seat.name, f"{seat.name} stays off")
        elif decision.action is Action.SAFE_STATE:
            raise StopRun(f"safe state: {decision.reason}", is_fault=True)

    def _note_stale(self, seat: Seat, frame: int) -> None:
        stale = frozenset(port.name for port in self._exchange.stale(seat.name, frame)) if frame else frozenset()
        for name in sorted(stale - seat.stale):
            self._raise_event(seat, Event.STALE_INPUT, f"{name} is older than its freshness limit")
        seat.stale = stale

    # -- the end of a frame -----------------------------------------------------------------------------------

    def _close_frame(self, frame: int) -> None:
        admitted: list[journal.Admitted] = []
        for seat in self._seats.values():
            for port, batches in sorted(seat.staged.items()):
                for batch in batches:
                    admitted.append(journal.Admitted(seat.name, port, batch.count, batch.messages))
                    for overflow in self._exchange.publish(frame, port, batch.count, batch.messages):
                        self._tell(frame, "overflow", seat.name, f"{overflow.port} lost {overflow.lost} messages")
            seat.close()
        self._append_page(frame, admitted)
        self.frames_done = frame + 1

    def _append_page(self, frame: int, admitted: list[journal.Admitted]) -> None:
        """One record, in the design's order whatever the order in which processes reported. Raises ``JournalLost``."""
        page, self._page = self._page, _FrameBook()
        order = {name: place for place, name in enumerate(self._seats)}
        for rows in (page.refusals, page.rulings, page.lives):
            rows.sort(key=lambda row: order[row.partition])
        self._book.append(
            journal.Frame(
                frame, tuple(admitted), tuple(page.refusals), tuple(page.rulings), tuple(page.lives)
            )
        )

    def close_book(self, why: str) -> None:
        """Write down what an unfinished frame has brought, and the end. Raises ``journal.JournalLost``."""
        page = self._page
        if page.refusals or page.rulings or page.lives:
            self._append_page(self._frame, [])
        self._book.append(journal.End(self.frames_done, why))

    def _read_control(self) -> None:
        """The console says nothing once the device runs: its end of the socket was closed."""
        if not self.stop_asked:
            self.stop_asked = "asked to stop"
            self._epoll.unregister(self._control_fd)

    def shut_down(self) -> None:
        """Kill everything that lives or is on its way, whatever fails on the way: signals first, then burials."""
        for seat in self._seats.values():
            if seat.life is not None:
                self._warden.signal(seat.life)
        for seat in self._seats.values():
            try:
                self._end(seat)
            except (OSError, TimeoutError) as error:  # the others must still go
                self._tell(self._frame, "shut_down", seat.name, f"{seat.name}: {error}")

    def _end(self, seat: Seat) -> None:
        launch, life = seat.launch, seat.life
        seat.launch, seat.life = None, None
        if launch is not None:
            launch.abandon()
        if life is not None:
            self._unwatch(life)
            self._warden.kill(life)
            self._warden.bury(life)


def what_ended(ended: Ended) -> tuple[Event, str]:
    """The event that a process's own end stands for, and a sentence."""
    if is_out_of_memory(ended):
        return Event.MEMORY_EXCEEDED, "ran out of the memory it was given"
    if ended.how == "killed" and ended.code == signal.SIGSYS:
        return Event.FORBIDDEN_SYSCALL, "made a system call that no honest program makes; the kernel killed it"
    if ended.how == "killed":
        return Event.PARTITION_EXIT, f"was ended by signal {signal.Signals(ended.code).name}"
    return Event.PARTITION_EXIT, f"ended by itself with status {ended.code}"


def sanitised(data: bytes) -> str:
    """Log text that cannot act on a terminal or reorder what a reader sees: printable ASCII, the rest escaped."""
    text = data.decode("utf-8", "replace")
    return "".join(c if " " <= c <= "~" else f"\\u{ord(c):04x}" for c in text)
