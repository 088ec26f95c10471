"""The lives of all partitions: started, watched, listened to, judged by the health table, ended.

Everything that begins or ends a process goes through here, and every event becomes an action here. The frame loop
says which frame it is; nothing in here knows windows or messages.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from ipc_schemas import links
from monitor import journal
from monitor.design import WORLD, Action, Design, Event
from monitor.endings import what_ended
from monitor.health import Decision, Health, UnknownEvent
from monitor.images import ImageChanged
from monitor.judge import Recheck
from monitor.schedule import GATE_GRACE_S
from monitor.seat import Page, Seat, StopRun, raw, sanitised
from monitor.warden import Launch, Life, Warden
from sandbox.launcher import LaunchError

_LOG_TEXT_MAX = 400
#: How many lines of a partition's log go to the console in one frame; the rest is counted only, so that nobody can
#: fill the console's socket and have notes that matter lost.
LOG_LINES_MAX = 64
#: What can go wrong while a life is started; the process itself reports the rest as ``Launch.failure``.
LAUNCH_ERRORS = (LaunchError, ImageChanged, OSError)

Tell = Callable[..., None]


class Lives:
    """All seats of one device. ``frame`` is set by the frame loop; ``page`` gathers what goes into its record."""

    def __init__(
        self, design: Design, types: dict[str, type], warden: Warden, tell: Tell, control_fd: int
    ) -> None:
        self.seats = {name: Seat(name) for name in (WORLD, *(p.name for p in design.partitions))}
        self.warden = warden
        self.tell = tell
        self.frame = 0
        self.page = Page()
        self.stop_asked = ""
        self.is_deserted = False  # the console is gone, and the world's process with it
        self.epoll = select.epoll()
        self.watched: dict[int, tuple[Seat, str]] = {}
        self.control_fd = control_fd
        self._design = design
        self._types = types
        self._health = Health(design, warden.walls)
        self._readable = {
            name: sanitised if "escape" in warden.walls_of[name] else raw for name in self.seats
        }
        self.is_booted = False
        self.epoll.register(control_fd, select.EPOLLIN)

    @property
    def are_starting(self) -> bool:
        """Whether any life is on its way to its first window."""
        return any(seat.launch is not None or seat.is_starting for seat in self.seats.values())

    @property
    def keeps_boot_waiting(self) -> bool:
        """Whether a real clock may not start yet: a first life is not sealed and seen to be as declared, or a
        critical partition is not ready. No other partition's own code is waited for.
        """
        critical = {partition.name for partition in self._design.partitions if partition.is_critical}
        return any(
            (seat.launch is not None and (seat.epoch == 0 or seat.name in critical))
            or (seat.is_starting and seat.name in critical)
            for seat in self.seats.values()
        )

    @property
    def are_launching(self) -> bool:
        """Whether any process is not sealed yet."""
        return any(seat.launch is not None for seat in self.seats.values())

    # -- starting ---------------------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Begin every partition's first life, and the gate of the world. Raises ``StopRun``."""
        for seat in self.seats.values():
            self._start(seat)

    def _start(self, seat: Seat) -> None:
        """Begin a life. One that cannot begin counts as one that ended, until the restart budget is spent."""
        while True:
            try:
                seat.launch = self.warden.launch(seat.name, seat.epoch)
                return
            except LAUNCH_ERRORS as error:
                decision = self._launch_failed(seat, str(error))
            if decision.action is not Action.RESTART:
                self._after_death(seat, decision)
                return
            seat.epoch += 1

    def _launch_failed(self, seat: Seat, why: str) -> Decision:
        """At boot, or when the world's gate fails, the device does not run; later, one partition has ended."""
        if not self.is_booted or seat.name == WORLD:
            raise StopRun(f"{seat.name} could not be started: {why}", is_fault=True)
        self.page.lives.append(journal.Life(seat.name, seat.epoch, "failed"))
        return self._rule(seat, Event.PARTITION_EXIT, f"could not be started again: {why}")

    def await_launches(self, timeout_s: float) -> None:
        """Let launches advance; wait at most ``timeout_s`` for something to happen."""
        waiting = [seat for seat in self.seats.values() if seat.launch is not None]
        poller = select.poll()
        if not self.stop_asked:
            poller.register(self.control_fd, select.POLLIN)
        for seat in waiting:
            assert seat.launch is not None
            for descriptor in seat.launch.descriptors():
                poller.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poller.poll(timeout_s * 1000)}
        if self.control_fd in ready:
            self.read_control()
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
            endpoint = self.warden.channel_folder(WORLD) / "gate.sock"
            self.tell(self.frame, "world_gate", WORLD, str(endpoint))
        holes = launch.findings() if launch.is_ready and not launch.failure else []
        if holes:
            launch.failure = f"the live device differs from its design: {'; '.join(holes[:8])}"
        if launch.failure:
            seat.launch = None
            with self.warden.priority.while_ending(seat.name):
                launch.abandon()
            self._after_death(seat, self._launch_failed(seat, launch.failure))
        elif launch.is_ready:
            self._settle(seat, launch)

    def _settle(self, seat: Seat, launch: Launch) -> None:
        life = launch.finish()
        seat.launch, seat.life = None, life
        seat.recheck = Recheck(self.warden.contract(seat.name, seat.epoch), self._types)
        life.link.setblocking(False)
        self._watch(life.link.fileno(), seat, "link")
        self._watch(life.gate.pidfd, seat, "gate")
        self._watch(life.gate.log, seat, "gate_log")
        facts: dict[str, object] = {"gate_pid": life.gate.pid, "epoch": seat.epoch}
        if life.process is not None:
            self._watch(life.process.pidfd, seat, "process")
            self._watch(life.process.log, seat, "log")
            facts["pid"] = life.process.pid
            seat.is_starting = True
            seat.started_s = launch.started_s
            seat.log_bytes = 0  # an earlier life's last words are not this one's
            seat.deadline_s = time.monotonic() + links.START_BUDGET_MS / 1000 + GATE_GRACE_S
        self.page.lives.append(journal.Life(seat.name, seat.epoch, "up"))
        self.tell(self.frame, "up", seat.name, f"{seat.name} is up (life {seat.epoch})", facts)

    def note_ready(self, seat: Seat) -> None:
        """Tell that a partition's code has been imported and made, and how long that took since the order."""
        took_ms = (time.monotonic() - seat.started_s) * 1000
        facts = {"ready_ms": round(took_ms, 2), "epoch": seat.epoch}
        self.tell(self.frame, "ready", seat.name, f"{seat.name} is ready (life {seat.epoch})", facts)

    def _watch(self, descriptor: int, seat: Seat, kind: str) -> None:
        self.epoll.register(descriptor, select.EPOLLIN)
        self.watched[descriptor] = (seat, kind)

    def _unwatch(self, life: Life) -> None:
        descriptors = [life.link.fileno(), life.gate.pidfd, life.gate.log]
        if life.process is not None:
            descriptors += [life.process.pidfd, life.process.log]
        for descriptor in descriptors:
            self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        if self.watched.pop(descriptor, None) is not None:
            self.epoll.unregister(descriptor)

    # -- logs and exits ---------------------------------------------------------------------------------------

    def read_log(self, seat: Seat, descriptor: int, *, is_gate: bool) -> None:
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._forget(descriptor)
            return
        if seat.name == WORLD or is_gate:
            self.tell(self.frame, "log", f"gate of {seat.name}", sanitised(data[:_LOG_TEXT_MAX]))
            return
        is_flood = self._keep_log(seat, data) and "window" in self.warden.walls
        if is_flood and seat.life is not None:
            self.raise_event(seat, Event.LOG_FLOOD, "more than its bound of log in a frame")

    def _keep_log(self, seat: Seat, data: bytes) -> bool:
        """Pass on as much of a partition's log as its bound allows; true when this piece crossed the bound."""
        limit = self._design.partition(seat.name).limits.log_bytes_per_frame_max
        room = max(limit - seat.log_bytes, 0)
        seat.log_bytes += len(data)
        lines = (seat.log_tail + data[:room]).split(b"\n")
        seat.log_tail = lines.pop()[-_LOG_TEXT_MAX:]
        spoken = lines[: max(LOG_LINES_MAX - seat.log_lines, 0)]
        seat.log_lines += len(lines)
        for line in spoken:
            self.tell(self.frame, "log", seat.name, self._readable[seat.name](line[:_LOG_TEXT_MAX]))
        return seat.log_bytes > limit and seat.log_bytes - len(data) <= limit

    def process_gone(self, seat: Seat) -> None:
        """The partition's process ended by itself: read its status, and report the one event that fits."""
        life = seat.life
        if life is None or life.process is None:
            return
        self._drain_log(seat, life)
        self._unwatch(life)
        seat.life, seat.is_starting = None, False
        with self.warden.priority.while_ending(seat.name, *_pids(life)):
            self.warden.kill(life)
            ended = self.warden.bury(life)
        assert ended is not None
        event, detail = what_ended(ended)
        self.page.lives.append(journal.Life(seat.name, seat.epoch, "ended"))
        self.tell(self.frame, "ended", seat.name, f"{seat.name}: {detail}", {"epoch": seat.epoch})
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
            decision = self._health.on(seat.name, event, self.frame)
        except UnknownEvent as unknown:  # unknown means refuse: the partition goes, the device stays
            decision = Decision(Action.QUARANTINE, str(unknown), 0)
        self.page.rulings.append(
            journal.Ruling(seat.name, event.value, decision.action.value, decision.reason)
        )
        facts = {"event": event.value, "action": decision.action.value, "detail": detail}
        self.tell(self.frame, "ruling", seat.name, decision.reason, facts)
        return decision

    def raise_event(self, seat: Seat, event: Event, detail: str) -> None:
        """One event of one living partition: decide, act, and only then write it down."""
        received_s = time.perf_counter()
        if seat.name == WORLD:
            if event in (Event.GATE_DIED, Event.GATE_LIED):
                if not self.is_deserted and select.select([self.control_fd], [], [], 0.0)[0]:
                    self.read_control()
                if self.is_deserted:  # the world went with whoever started the run
                    raise StopRun(self.stop_asked, is_fault=False)
                raise StopRun(f"the world is gone: {detail}", is_fault=True)
            self.tell(
                self.frame,
                "ruling",
                WORLD,
                f"{event.value}: {detail}",
                {"event": event.value, "action": "drop"},
            )
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
        with self.warden.priority.while_ending(seat.name, *_pids(life)):
            try:
                self.warden.kill(life)
            except TimeoutError as error:
                raise StopRun(f"safe state: {error}", is_fault=True) from None
            took_ms = (time.perf_counter() - received_s) * 1000
            self.warden.bury(life)
        seat.life, seat.is_starting = None, False
        seat.close()
        self.page.lives.append(journal.Life(seat.name, seat.epoch, "killed"))
        facts = {"kill_ms": round(took_ms, 3), "epoch": seat.epoch}
        self.tell(self.frame, "killed", seat.name, f"{seat.name} killed, none of it left", facts)

    def _after_death(self, seat: Seat, decision: Decision) -> None:
        seat.log_tail = b""
        if decision.action is Action.RESTART:
            seat.epoch += 1
            self._start(seat)
        elif decision.action is Action.QUARANTINE:
            self.tell(self.frame, "quarantine", seat.name, f"{seat.name} stays off")
        elif decision.action is Action.SAFE_STATE:
            raise StopRun(f"safe state: {decision.reason}", is_fault=True)

    # -- the end -------------------------------------------------------------------------------------------------

    def read_control(self) -> None:
        """The console says nothing once the device runs: its end of the socket was closed."""
        if not self.is_deserted:
            self.is_deserted = True
            self.epoll.unregister(self.control_fd)
        self.stop_asked = self.stop_asked or "asked to stop"

    def shut_down(self) -> None:
        """Kill everything that lives or is on its way, whatever fails on the way: signals first, then burials."""
        lives = [seat.life for seat in self.seats.values() if seat.life is not None]
        with self.warden.priority.while_ending(WORLD, *(pid for life in lives for pid in _pids(life))):
            for life in lives:
                self.warden.signal(life)
            for seat in self.seats.values():
                try:
                    self._end(seat)
                except (OSError, TimeoutError) as error:  # the others must still go
                    self.tell(self.frame, "shut_down", seat.name, f"{seat.name}: {error}")

    def _end(self, seat: Seat) -> None:
        launch, life = seat.launch, seat.life
        seat.launch, seat.life = None, None
        if launch is not None:
            launch.abandon()
        if life is not None:
            self._unwatch(life)
            self.warden.kill(life)
            self.warden.bury(life)


def _pids(life: Life) -> tuple[int, ...]:
    return tuple(process.pid for process in (life.gate, life.process) if process is not None)
