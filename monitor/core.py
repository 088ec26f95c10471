"""The frame loop: opens windows, gathers reports, and closes each frame in the journal.

One process, one thread, one epoll. It never parses what a partition wrote: gates do, and their reports are checked
once more. It never waits for anyone beyond a bound: a window ends at its budget whoever is to blame.
"""

from __future__ import annotations

import select
import socket
import time

from ipc_schemas import codec, links, wire
from monitor import journal, judge
from monitor.design import WORLD, Design, Event
from monitor.exchange import Exchange
from monitor.lives import Lives, Tell
from monitor.schedule import GATE_GRACE_S, Clock, Slot, frame_length_s, plan
from monitor.seat import Page, Seat, StopRun, printable
from monitor.warden import NO_BUDGET_MS, Warden
from sandbox import linux

#: The most rows of refusals that are taken from a gate in one frame.
REFUSALS_MAX = 4_096
#: The most reports that are taken from one gate before others have their turn; an honest window has fewer pieces.
REPORTS_PER_TURN = 64
#: How long the monitor sleeps at most before it looks whether it was asked to stop.
LOOK_UP_S = 0.1
#: The same while a life is being started, whose sockets are polled beside all others.
LAUNCH_LOOK_UP_S = 0.002
#: How long a gate may keep the monitor waiting for room in a link.
PIECE_TIMEOUT_S = 0.05
_ENDED_BY = {
    judge.WINDOW_OVERRUN: "the window did not close in time",
    judge.REJECTIONS_EXCEEDED: "more refused messages in a frame than the port allows",
}
_REPORTS: codec.Codec[links.GateReport] = codec.Codec(links.GateReport)


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
        self.lives = Lives(design, types, warden, tell, control_fd)
        self.lateness_ms: dict[str, list[float]] = {p.name: [] for p in design.partitions}
        self.unopened: dict[str, list[int]] = {p.name: [] for p in design.partitions}
        self.frames_done = 0
        self._clock = clock
        self._slots = plan(design, clock)
        self._book = book
        self._exchange = Exchange(design)
        self._with_budget = frozenset(name for name in self.lives.seats if "window" in warden.walls_of[name])

    # -- frames -----------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start all partitions at once. Raises ``StopRun`` when one is not as declared.

        On the virtual clock all come to their first window, so that runs are the same. On the others only critical
        ones are waited for: the code of the rest, which may take its time, misses windows until it is ready.
        """
        self.lives.start_all()
        if self._clock.is_virtual:
            self._finish_starting()
        while self.lives.keeps_boot_waiting:
            self._await_starts()
        self.lives.is_booted = True

    def run(self, frames: int) -> None:
        """Run ``frames`` frames. Raises ``StopRun`` and ``journal.JournalLost``."""
        length_s = frame_length_s(self.design, self._clock)
        start_s = time.monotonic()
        for frame in range(frames):
            self.lives.frame = frame
            self._run_frame(frame, start_s + frame * length_s)
            if not self._clock.is_virtual:
                self._wait_until(start_s + (frame + 1) * length_s)
            if self.lives.stop_asked:
                raise StopRun(self.lives.stop_asked, is_fault=False)

    def _run_frame(self, frame: int, start_s: float) -> None:
        if self._clock.is_virtual:
            self._finish_starting()
        self._open(self.lives.seats[WORLD], frame, self.design.world.budget_ms / 1000)
        for slot in self._slots:
            if not self._clock.is_virtual:
                self._wait_until(start_s + slot.offset_s)
            self._open_slot(slot, frame, start_s)
        world = self.lives.seats[WORLD]
        while any(seat.is_open for seat in self.lives.seats.values()):
            if self.lives.is_deserted and world.is_open:
                world.close()  # nobody is left to answer: do not wait for its budget
                continue
            self._step(self._next_deadline_s())
        self._close_frame(frame)

    def _finish_starting(self) -> None:
        """Wait until every life on its way is ready for its first window, or ended.

        On the virtual clock a restart takes no logical time. On the others it takes the time it takes, and the
        partition misses its windows meanwhile.
        """
        while self.lives.are_starting:
            self._await_starts()

    def _await_starts(self) -> None:
        self._step(time.monotonic() + LOOK_UP_S)
        if self.lives.stop_asked:
            raise StopRun(self.lives.stop_asked, is_fault=False)

    def _open_slot(self, slot: Slot, frame: int, start_s: float) -> None:
        seat = self.lives.seats[slot.partition]
        if not self._may_open(seat, frame):
            if not self._clock.is_virtual:
                self.unopened[seat.name].append(frame)
            return
        self._open(seat, frame, slot.budget_s)
        if not self._clock.is_virtual:
            self.lateness_ms[seat.name].append((seat.opened_s - start_s - slot.offset_s) * 1000)

    def _may_open(self, seat: Seat, frame: int) -> bool:
        if seat.life is None or seat.is_starting:
            return False
        self._note_stale(seat, frame)
        return seat.life is not None and not self._exchange.holds(seat.name, frame)

    def _open(self, seat: Seat, frame: int, budget_s: float) -> None:
        life = seat.life
        if life is None:
            return
        opened = codec.encode(wire.WindowOpen(frame, self._exchange.take(seat.name, frame)))
        seat.opened_s = time.monotonic()
        seat.deadline_s = (
            seat.opened_s
            + (budget_s if seat.name in self._with_budget else NO_BUDGET_MS / 1000)
            + GATE_GRACE_S
        )
        seat.is_open = True
        seat.log_bytes = 0
        seat.log_lines = 0
        try:
            self._send_opened(life.link, frame, opened)
        except OSError:
            self.lives.raise_event(seat, Event.GATE_DIED, "the gate does not take its window")

    def _send_opened(self, link: socket.socket, frame: int, opened: bytes) -> None:
        """In pieces that fit the link. A gate that does not take them in time raises ``OSError``."""
        size = links.PIECE_BYTES_MAX
        pieces = [opened[start : start + size] for start in range(0, len(opened), size)]
        for index, piece in enumerate(pieces):
            order = codec.encode(links.Open(frame, piece, index == len(pieces) - 1))
            try:
                link.send(order)
            except BlockingIOError:  # only windows of many pieces fill the link
                select.select([], [link], [], PIECE_TIMEOUT_S)
                link.send(order)

    def _next_deadline_s(self) -> float:
        return min(seat.deadline_s for seat in self.lives.seats.values() if seat.is_open)

    def _wait_until(self, at_s: float) -> None:
        while time.monotonic() < at_s:
            if self.lives.stop_asked:
                raise StopRun(self.lives.stop_asked, is_fault=False)
            self._step(at_s)

    def _step(self, until_s: float) -> None:
        """Handle what happens until ``until_s`` at the latest; returns after the first thing that did."""
        timeout_s = min(max(until_s - time.monotonic(), 0.0), LOOK_UP_S)
        if self.lives.are_launching:
            self.lives.await_launches(min(timeout_s, LAUNCH_LOOK_UP_S))
            timeout_s = 0.0
        if not self._clock.is_virtual:
            # epoll counts whole milliseconds; select counts microseconds, and windows shall open on time.
            select.select([self.lives.epoll], [], [], timeout_s)
            timeout_s = 0.0
        for descriptor, _ in self.lives.epoll.poll(timeout_s):
            if descriptor == self.lives.control_fd:
                self.lives.read_control()
                continue
            watched = self.lives.watched.get(descriptor)
            if watched is not None:
                self._handle(*watched, descriptor)
        now_s = time.monotonic()
        for seat in self.lives.seats.values():
            if (seat.is_open or seat.is_starting) and now_s > seat.deadline_s:
                self.lives.raise_event(
                    seat, Event.GATE_DIED, "the gate did not report by the end of its window"
                )
                seat.close()
                seat.is_starting = False  # where the table spares it, this was said once
                self._check_cpu(seat)

    def _handle(self, seat: Seat, kind: str, descriptor: int) -> None:
        if kind == "link":
            self._read_link(seat)
        elif kind in ("log", "gate_log"):
            self.lives.read_log(seat, descriptor, is_gate=kind == "gate_log")
        elif kind == "process":
            self.lives.process_gone(seat)
        elif kind == "gate":
            self._read_link(seat)  # a report sent just before the end still counts
            if seat.life is not None and seat.life.gate.pidfd == descriptor:
                self.lives.raise_event(seat, Event.GATE_DIED, "the gate process ended")

    # -- what gates report ------------------------------------------------------------------------------------

    def _read_link(self, seat: Seat) -> None:
        """Take what has come, up to a bound: one gate that never stops reporting must not stop everything else."""
        for _ in range(REPORTS_PER_TURN):
            if seat.life is None:
                return
            try:
                message = seat.life.link.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self.lives.raise_event(seat, Event.GATE_DIED, "the gate closed its link")
                return
            try:
                report = _REPORTS.decode(message)
            except codec.Refused as refusal:
                self.lives.raise_event(seat, Event.GATE_LIED, f"an unreadable report: {refusal}")
                return
            self._take_report(seat, report)

    def _take_report(self, seat: Seat, report: links.GateReport) -> None:
        if seat.is_starting:
            self._take_ready(seat, report)
            return
        if not seat.is_open or report.frame != self.lives.frame:
            self.lives.raise_event(
                seat, Event.GATE_LIED, f"a report for frame {report.frame}, this is {self.lives.frame}"
            )
            return
        assert seat.recheck is not None
        for batch in report.batches:
            problem = seat.recheck.problem(batch, seat.counts.get(batch.port, 0))
            if problem:
                self.lives.raise_event(seat, Event.GATE_LIED, problem)
                return
            seat.counts[batch.port] = seat.counts.get(batch.port, 0) + batch.count
            seat.staged.setdefault(batch.port, []).append(batch)
        if not self._note_refusals(seat, report):
            return
        if report.is_last:
            self._window_done(seat, report)

    def _note_refusals(self, seat: Seat, report: links.GateReport) -> bool:
        """Put a report's refusals on the page, if there are no more of them than a gate may keep. Whether they are."""
        seat.refusals += len(report.refusals)
        seat.exhibit_bytes += sum(
            links.exhibit_bytes(each.message) for row in report.refusals for each in row.exhibits
        )
        problem = ""
        if seat.refusals > REFUSALS_MAX:
            problem = f"more than {REFUSALS_MAX} rows of refusals in a frame"
        elif seat.exhibit_bytes > links.EXHIBIT_BYTES_PER_WINDOW_MAX:
            problem = f"more than {links.EXHIBIT_BYTES_PER_WINDOW_MAX} bytes of refused messages in a frame"
        elif any(len(row.exhibits) > row.count for row in report.refusals):
            problem = "more refused messages than it counts"
        if problem:
            self.lives.raise_event(seat, Event.GATE_LIED, problem)
            return False
        for row in report.refusals:
            reason, detail = printable(row.reason), printable(row.detail)
            kept = tuple(journal.Exhibit(each.place, each.message) for each in row.exhibits)
            self.lives.page.refusals.append(
                journal.Refusal(seat.name, row.port, row.event, reason, detail, row.count, kept)
            )
        return True

    def _take_ready(self, seat: Seat, report: links.GateReport) -> None:
        """The gate's first report: the partition is ready for its first window, or something ended it before."""
        if report.frame != links.READY_FRAME or report.batches or not report.is_last:
            self.lives.raise_event(
                seat, Event.GATE_LIED, f"a report for frame {report.frame} before the first window"
            )
            return
        if not self._note_refusals(seat, report):
            return
        seat.refusals = seat.exhibit_bytes = 0  # the window that follows has bounds of its own
        if self._names_what_is_no_gates(seat, report):
            return
        seat.is_starting = False
        for event, detail in _events(report).items():
            self.lives.raise_event(seat, event, f"before its first window: {detail}")
        if seat.life is not None and not report.ended_by:
            self.lives.note_ready(seat)

    def _names_what_is_no_gates(self, seat: Seat, report: links.GateReport) -> bool:
        """Whether a report names an event that a gate cannot see; then it has lied."""
        unknown = {report.ended_by, *(row.event for row in report.refusals)} - {"", *judge.EVENTS}
        if unknown:
            self.lives.raise_event(
                seat, Event.GATE_LIED, f"a report of {min(unknown)!a}, which is no gate's to report"
            )
        return bool(unknown)

    def _window_done(self, seat: Seat, report: links.GateReport) -> None:
        if self._names_what_is_no_gates(seat, report):
            return
        for event, detail in _events(report).items():
            self.lives.raise_event(seat, event, detail)
        if not seat.is_open:
            return
        if report.ended_by:  # the health table lets the partition live: it has lost this window
            seat.close()
        seat.is_open = False
        self._check_cpu(seat)

    def _check_cpu(self, seat: Seat) -> None:
        if seat.name not in self._with_budget or seat.life is None or seat.life.process is None:
            return
        used_s = 0.0
        for process in (seat.life.process, seat.life.gate):
            try:
                now_s = time.clock_gettime(linux.cpu_clock_id(process.pid))
            except OSError:
                return  # it has just ended; its pidfd will say so
            used_s += (
                now_s - process.cpu_used_s if process.cpu_used_s else 0.0
            )  # the start of a life does not count
            process.cpu_used_s = now_s
        limit_ms = self.design.partition(seat.name).limits.cpu_ms_per_frame_max
        if used_s * 1000 > limit_ms:
            detail = f"{used_s * 1000:.0f} ms of processor time since the last window, at most {limit_ms}"
            self.lives.raise_event(seat, Event.CPU_EXCEEDED, detail)

    def _note_stale(self, seat: Seat, frame: int) -> None:
        stale = (
            frozenset(port.name for port in self._exchange.stale(seat.name, frame)) if frame else frozenset()
        )
        for name in sorted(stale - seat.stale):
            self.lives.raise_event(seat, Event.STALE_INPUT, f"{name} is older than its freshness limit")
        seat.stale = stale

    # -- the end of a frame -----------------------------------------------------------------------------------

    def _close_frame(self, frame: int) -> None:
        admitted: list[journal.Admitted] = []
        for seat in self.lives.seats.values():
            for port, batches in sorted(seat.staged.items()):
                for batch in batches:
                    admitted.append(journal.Admitted(seat.name, port, batch.count, batch.messages))
                    for overflow in self._exchange.publish(frame, port, batch.count, batch.messages):
                        self.lives.tell(
                            frame, "overflow", seat.name, f"{overflow.port} lost {overflow.lost} messages"
                        )
            seat.close()
        self._append_page(frame, admitted)
        self.frames_done = frame + 1

    def _append_page(self, frame: int, admitted: list[journal.Admitted]) -> None:
        """One record, in the design's order whatever the order in which processes reported. Raises ``JournalLost``."""
        page, self.lives.page = self.lives.page, Page()
        order = {name: place for place, name in enumerate(self.lives.seats)}
        for rows in (page.refusals, page.rulings, page.lives):
            rows.sort(key=lambda row: order[row.partition])
        self._book.append(
            journal.Frame(
                frame, tuple(admitted), tuple(page.refusals), tuple(page.rulings), tuple(page.lives)
            )
        )

    def close_book(self, why: str) -> None:
        """Write down what an unfinished frame has brought, and the end. Raises ``journal.JournalLost``."""
        page = self.lives.page
        if page.refusals or page.rulings or page.lives:
            self._append_page(self.lives.frame, [])
        self._book.append(journal.End(self.frames_done, why))


def _events(report: links.GateReport) -> dict[Event, str]:
    """The events that a report stands for, each with a sentence: the one that ended the window, or all refused."""
    details = {row.event: printable(f"{row.reason}: {row.detail}") for row in report.refusals if row.event}
    ended_by = report.ended_by
    if ended_by:
        details = {ended_by: details.get(ended_by, _ENDED_BY.get(ended_by, ended_by))}
    return {Event(event): detail for event, detail in details.items()}
