"""The test bench: switches a device on, plays the world on its hardware ports, and keeps what happened.

It has a device made, switches it on through its chain of trust, and talks to its monitor over two things only: a socket
that carries the power-on order and the monitor's notes, and the world's gate. If the monitor dies, the world goes on
alone.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import zmq

from boot.refusal import Refused
from ipc_schemas import codec, element, links, wire
from ipc_schemas.window import Ports, Window
from monitor.design import Design
from monitor.loader import load_design, load_schemas
from sandbox import walls
from world import devices, leftovers, power
from world.devices import Overlay
from world.factory.packing import ImageError
from world.making import configs_of, load_world
from world.nursery import Nursery

_NOTES: codec.Codec[links.Note] = codec.Codec(links.Note)
_POLL_MS = 100
#: The largest is an attestation.
_NOTE_BYTES_MAX = 1 << 17
#: From the order until the monitor has the world's gate: it loads the design, tries the walls, packs the images.
BOOT_S_MAX = 60.0
#: A device that asks for another start spends an attempt of a slot with each; with none left, ROM ends in safe state.
STARTS_MAX = 2 * element.ATTEMPTS_MAX + 1
#: From the last frame until the monitor is gone.
END_S_MAX = 10.0
#: How long the monitor may say nothing beyond what a frame may take, counted in polls, so that a bench that was itself
#: stopped blames nobody.
SILENCE_S_MAX = 60.0


_SCHEMAS_RUN_THERE = "a design's schemas run in the monitor too: see that they neither wait nor exit"


class World(Protocol):
    """What a design's world class offers."""

    def configs(self) -> dict[str, bytes]:
        """The configurations that partitions name with ``config``."""

    def frame(self, window: Window) -> None:
        """Live through one frame."""

    def orphaned(self, frames: int) -> None:
        """Go on for so many frames without the device."""


class Verifier(Protocol):
    """Somebody who wants to be shown which release a device runs."""

    def challenge(self, serial: str, design: Design, overlays: dict[str, Overlay]) -> bytes:
        """A nonce for this device, which is about to be switched on with this design's release.

        ``serial`` is empty for the device of a nursery, which is many at a time.
        """

    def hear(self, token: bytes, identity: tuple[bytes, ...]) -> str:
        """The answer, and the manufacturer's certificates of the device (DER), its own first. In a line: what of it."""


class BenchError(Exception):
    """A run that could not be done; the sentence says why."""


class BootRefused(BenchError):
    """No stage goes on, however often the device is started. ``notes`` are the refusals, none of them twice.

    The facts of each are those of a ``release.Refusal``.
    """

    def __init__(self, notes: Sequence[links.Note], starts: int) -> None:
        said = [
            f"{note.facts['stage']} refuses {note.facts['image'] or 'to go on'}: {note.text}"
            for note in notes
        ]
        often = f" (after {starts} starts)" if starts > 1 else ""
        super().__init__("; ".join(said) + often)
        self.notes = tuple(notes)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: a pure description."""

    design: Path
    frames: int
    seed: int = 1
    patient: int = 0
    clock: str = "virtual"
    without: frozenset[str] = frozenset()
    overlays: dict[str, Overlay] = field(default_factory=dict)
    accept_degraded: bool = False
    #: Walls that a partition lacks by its design, put up all the same: each as ``partition.wall``.
    restored: frozenset[str] = frozenset()
    priority: str = ""
    #: What is done to the device, which has been in use, before it is switched on. Then it is a result of the run, not
    #: an error, when it does not start.
    tamper: Callable[[devices.Opened], None] | None = None
    #: A device that was made before, to be switched on as it is; otherwise there is a new one.
    device: devices.Device | None = None
    verifier: Verifier | None = None
    #: Whether the world gives the critical partitions their settings. Otherwise they are those in the device's flash.
    gives_settings: bool = True
    #: The register of a release that may open the settings that this run's device seals.
    successor: bytes = b""


@dataclass(slots=True)
class Record:
    """What a run left behind. ``exit_status`` is the monitor's; negative numbers are signals.

    ``starts`` are those of the device: more than one if a stage has refused and asked for another. What was refused in
    the same words at each of them is among the ``notes`` once.
    """

    plan: Plan
    folder: Path
    world: Any
    notes: list[links.Note] = field(default_factory=list)
    frames_done: int = 0
    exit_status: int = 0
    wall_s: float = 0.0
    starts: int = 1

    @property
    def journal(self) -> Path:
        """The journal file."""
        return self.folder / "journal.bhj"

    def of_kind(self, kind: str) -> list[links.Note]:
        """The notes of one kind, in order."""
        return [note for note in self.notes if note.kind == kind]


class MonitorProcess(Protocol):
    """As much of a process as the bench needs; ``subprocess.Popen`` has it."""

    pid: int
    returncode: int | Any

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises ``subprocess.TimeoutExpired``."""

    def kill(self) -> None:
        """SIGKILL, if it lives."""


class Bench:
    """A monitor on standby, with its template loaded; ``run`` switches a device on. Use as a context manager.

    With a ``nursery`` the monitor is forked from there, otherwise a new device is started from ROM.
    """

    def __init__(self, nursery: Nursery | None = None, plan: Plan | None = None) -> None:
        """With a ``plan``, what that device is to run lies in its flash from the start, and ``run`` may take it from
        there; otherwise the flash holds no more than a device needs to stand by. Raises as ``run`` does.
        """
        self._in_flash = plan if nursery is None else None
        self._without = plan.without if plan is not None else frozenset[str]()
        #: The device, if it is not the nursery's.
        self.device: devices.Ready | None = None
        #: When the device's power came, by ``time.monotonic``; with a nursery it has long been on.
        self.switched_on_s = time.monotonic()
        ours, theirs = power.control_pair()
        self.control = ours
        self._powered = ExitStack()
        try:
            self.monitor: MonitorProcess = (
                self._start(theirs, plan) if nursery is None else nursery.monitor(theirs)
            )
        except BaseException:
            self._powered.close()
            ours.close()
            raise
        finally:
            theirs.close()

    def _start(self, control: socket.socket, plan: Plan | None) -> MonitorProcess:
        with _as_bench_error():
            made: AbstractContextManager[devices.Ready]
            if plan is None:
                made = devices.ready()
            elif plan.device is not None:
                made = devices.Ready(plan.device, without=plan.without)
            else:
                design = load_design(plan.design, walls.ALL)
                made = devices.ready(design, plan.overlays, plan.tamper, plan.without)
            self.device = self._powered.enter_context(made)
        self.switched_on_s = time.monotonic()
        return self.device.switch_on(links.MONITOR, control, self._without)

    def _start_again(self) -> None:
        """What the power supply does when a stage has asked for it, and ended: power off, and on again."""
        assert self.device is not None
        self.control.close()
        self.control, theirs = power.control_pair()
        with theirs:
            self.device.reset()
            self.monitor = self.device.switch_on(links.MONITOR, theirs, self._without)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ask the monitor to stop, and see that it is gone."""
        self.control.close()
        try:
            self.monitor.wait(5)
        except subprocess.TimeoutExpired:
            self.monitor.kill()
            self.monitor.wait()
        finally:
            self._powered.close()

    def wait_for_end(self) -> int:
        """The exit status of a monitor that has nothing left to do. Raises ``BenchError`` when it stays."""
        try:
            return self.monitor.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self.monitor.kill()
            raise BenchError(
                f"the monitor did not end within {END_S_MAX:g} s of the run's end and was killed; "
                "its journal is not to be relied on"
            ) from None

    def _send(self, order: links.PowerOn) -> None:
        """In a memory file: a recording to be played may be larger than a socket's message.

        A monitor that has ended meanwhile is noticed by who listens to it.
        """
        content = codec.encode(order)
        with open(os.memfd_create("order"), "wb") as out:
            out.write(content)
            out.flush()
            with suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self.control, [b"power on"], [out.fileno()])

    def _flash_for(self, plan: Plan, design: Design, folder: Path) -> tuple[str, str]:
        """Folder and slot of the release of this plan: in a flash written for this run, or empty for the device's own,
        where it lies already.
        """
        own = self._in_flash
        if plan.tamper is not None and (own is None or own.tamper is not plan.tamper):
            raise BenchError(
                "a flash is tampered with before its device is switched on: give its bench the plan"
            )
        if own is not None and (own.design, _images(own)) == (plan.design, _images(plan)):
            return "", ""
        with _as_bench_error():
            devices.write_flash(folder / "flash", design, plan.overlays)
        return str(folder / "flash"), devices.SLOT

    def _challenge(self, plan: Plan, design: Design) -> bytes:
        """The verifier's nonce, if there is one. Of a monitor out of a nursery an answer is asked, too: it says no."""
        if plan.verifier is None:
            return b""
        serial = self.device.device.serial if self.device is not None else ""
        return plan.verifier.challenge(serial, design, plan.overlays)

    def answered(self, note: links.Note, plan: Plan) -> links.Note:
        """An answer goes to the verifier, by way of whoever sits on the line. The verdict takes its place."""
        if plan.verifier is None or "token" not in note.facts:
            return note
        token = base64.b64decode(str(note.facts["token"]))
        opened = self.device.opened if self.device is not None else None
        if opened is not None and opened.on_line is not None:
            token = opened.on_line(token)
        told = note.facts["identity"]
        assert isinstance(told, list)
        said = plan.verifier.hear(token, tuple(base64.b64decode(each) for each in told))
        return links.Note(note.frame, note.kind, "", said, {})

    def run(
        self,
        plan: Plan,
        folder: Path,
        on_note: Callable[[links.Note], None] = lambda _: None,
        on_frame: Callable[[int, Any], None] = lambda *_: None,
    ) -> Record:
        """Run a plan to its end. ``on_note`` hears the monitor, ``on_frame`` sees the world after each frame.

        Raises ``BenchError`` when the device is refused or the monitor hangs, ``DesignError`` when the world
        cannot be made.
        """
        design = load_design(plan.design, walls.ALL)
        schemas = load_schemas(design)
        world = load_world(design, plan.seed, plan.patient)
        record = Record(plan, folder, world)
        started_s = time.monotonic()
        flash, slot = self._flash_for(plan, design, folder)
        with _as_bench_error():
            nonce = self._challenge(plan, design)
        order = links.PowerOn(
            flash=flash,
            slot=slot,
            run_folder=str(folder),
            frames=plan.frames,
            clock=plan.clock,
            without=tuple(sorted(plan.without)),
            configs=_configs(design, plan, world),
            accept_degraded=plan.accept_degraded,
            restored=tuple(sorted(plan.restored)),
            priority=plan.priority,
            nonce=nonce,
            successor=plan.successor,
        )
        budgets_ms = sum(window.budget_ms for window in design.windows)
        frame_s_max = (budgets_ms if plan.clock == "virtual" else design.frame_ms) / 1_000
        session = _Session(self, record, schemas, world, frame_s_max, on_note, on_frame)
        try:
            self._live(session, record, order)
        except BootRefused:
            if plan.tamper is None:
                raise
            world.orphaned(plan.frames)
        finally:
            session.close()
        record.exit_status = self.wait_for_end()
        session.drain_notes()
        record.wall_s = time.monotonic() - started_s
        return record

    def _live(self, session: _Session, record: Record, order: links.PowerOn) -> None:
        """Give the order, and live; where a stage asks for another start, once more. Raises as ``run`` does."""
        while True:
            self._send(order)
            try:
                session.live()
                return
            except BootRefused:
                if not self._shall_start_again(record, order):
                    raise
            self._start_again()
            record.starts += 1
            session.begin()

    def _shall_start_again(self, record: Record, order: links.PowerOn) -> bool:
        """Whether a stage has asked for it, and it is this device's own flash from which the next start would be."""
        is_asked = self.monitor.returncode == links.EXIT_RESET
        return is_asked and self.device is not None and not order.flash and record.starts < STARTS_MAX


def _images(plan: Plan) -> dict[str, tuple[object, ...]]:
    """What of the overlays goes into flash; configurations are in the order."""
    return {name: (one.folder, one.entry, dict(one.files)) for name, one in plan.overlays.items()}


@contextmanager
def _as_bench_error() -> Iterator[None]:
    try:
        yield
    except (ImageError, Refused) as error:
        raise BenchError(str(error)) from None


def _configs(design: Design, plan: Plan, world: Any) -> dict[str, bytes]:
    """The configuration of each partition that has one. Raises ``DesignError``."""
    given = configs_of(design, world)
    found = {
        p.name: given[p.config]
        for p in design.partitions
        if p.config is not None and p.config in given and (plan.gives_settings or not p.is_critical)
    }
    return found | {name: other.config for name, other in plan.overlays.items() if other.config}


class _Session:
    """The world's side of one run."""

    def __init__(
        self,
        bench: Bench,
        record: Record,
        schemas: Any,
        world: Any,
        frame_s_max: float,
        on_note: Callable[[links.Note], None],
        on_frame: Callable[[int, Any], None],
    ) -> None:
        self._bench = bench
        self._frame_s_max = frame_s_max
        self._record = record
        self._schemas = schemas
        self._world = world
        self._on_note = on_note
        self._on_frame = on_frame
        self._context = zmq.Context(io_threads=1)
        self._socket: zmq.Socket[bytes] | None = None
        self.begin()

    def begin(self) -> None:
        """Listen to a device that has just been switched on, or on again."""
        self._is_over = False
        self._was_refused = False
        self._boot_until_s = time.monotonic() + BOOT_S_MAX
        self._silent_polls = 0
        self._bench.control.setblocking(False)

    def close(self) -> None:
        """Close the world's end of its channel."""
        if self._socket is not None:
            self._socket.close(0)
        self._context.term()

    def drain_notes(self) -> None:
        """Hear what the monitor has said. A closed control socket means that it has ended."""
        while True:
            try:
                message = self._bench.control.recv(_NOTE_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._is_over = True
                return
            note = _NOTES.decode_loosely(message)
            self._silent_polls = 0
            is_refusal = note.kind in ("boot_refused", "safe_state")
            self._was_refused |= is_refusal
            if is_refusal and note in self._record.notes:
                continue  # the same at each start
            if note.kind == "attestation":
                note = self._bench.answered(note, self._record.plan)
            self._record.notes.append(note)
            self._on_note(note)
            if note.kind == "world_gate" and self._socket is None:
                self._socket = self._connect(note.text)
            if note.kind == "refused":
                raise BenchError(note.text)

    def _connect(self, path: str) -> zmq.Socket[bytes]:
        channel: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
        channel.linger = 0
        channel.rcvtimeo = channel.sndtimeo = _POLL_MS
        channel.setsockopt(zmq.RECONNECT_IVL, -1)
        channel.connect(f"ipc://{path}")
        return channel

    def live(self) -> None:
        """Answer every window until the monitor ends the run or is gone."""
        ports: Ports | None = None
        sequence = 0
        opens = codec.Codec(wire.WindowOpen)
        while not self._is_over:
            self.drain_notes()
            if self._socket is None:
                self._wait_for_boot()
                continue
            if self._record.frames_done >= self._record.plan.frames:
                self._poll_control()
                self._note_silence()
                continue
            try:
                message = self._socket.recv()
            except zmq.Again:
                self._note_silence()
                continue
            self._silent_polls = 0
            if ports is None:
                ports = Ports(codec.Codec(wire.Hello).decode(message), self._schemas)
                continue
            opened = opens.decode_loosely(message)
            sequence = self._frame(ports, opened, sequence)
        self._finish()

    def _wait_for_boot(self) -> None:
        if self._is_over and self._record.of_kind("end"):
            return  # it could not be brought up, and its last note says why
        if self._is_over and self._was_refused:
            self._bench.wait_for_end()
            told = self._record.of_kind("boot_refused") or self._record.of_kind("safe_state")
            raise BootRefused(told, self._record.starts)
        if self._is_over:
            status = self._bench.wait_for_end()
            raise BenchError(
                f"the monitor ended before it switched the device on (exit status {status}) and gave no "
                f"reason; {_SCHEMAS_RUN_THERE}"
            )
        if time.monotonic() > self._boot_until_s:
            self._bench.monitor.kill()  # it may be beyond hearing that it should stop; its children end with it
            raise BenchError(
                f"the monitor did not switch the device on within {BOOT_S_MAX:g} s; {_SCHEMAS_RUN_THERE}"
            )
        self._poll_control()

    def _poll_control(self) -> None:
        poller = zmq.Poller()
        poller.register(self._bench.control.fileno(), zmq.POLLIN)
        poller.poll(_POLL_MS)

    def _frame(self, ports: Ports, opened: wire.WindowOpen, sequence: int) -> int:
        assert self._socket is not None
        outgoing: list[tuple[int, bytes]] = []
        window = Window(ports, opened, lambda port, payload: outgoing.append((port, payload)))
        try:
            self._world.frame(window)
        except Exception as error:
            raise BenchError(
                f"the world's own code failed in frame {opened.frame}: {_told(error)}"
            ) from error
        outgoing.append((wire.PORT_CLOSE, b""))
        hello = ports.hello
        for port, payload in outgoing:
            head = wire.Header(hello.partition, port, hello.epoch, opened.frame, sequence)
            self._send(wire.pack(head, payload))
            sequence += 1
        self._record.frames_done = opened.frame + 1
        self._on_frame(opened.frame, self._world)
        return sequence

    def _send(self, message: bytes) -> None:
        """To the gate. When it is gone, and the monitor with it, nobody takes the message any more."""
        assert self._socket is not None
        while not self._is_over:
            try:
                self._socket.send(message)
            except zmq.Again:
                self.drain_notes()
                self._note_silence()
            else:
                return

    def _note_silence(self) -> None:
        """Count one more poll in which nobody spoke. A monitor that stands still is no reason to wait for ever."""
        self._silent_polls += 1
        silence_s = self._silent_polls * _POLL_MS / 1_000
        if silence_s <= SILENCE_S_MAX + self._frame_s_max:
            return
        self._bench.monitor.kill()
        raise BenchError(
            f"the monitor said nothing for {silence_s:.0f} s after frame {self._record.frames_done} of "
            f"{self._record.plan.frames} and was killed; see what stopped it, and run again"
        )

    def _finish(self) -> None:
        """If the device went away before its time, the hardware goes on alone."""
        left = self._record.plan.frames - self._record.frames_done
        if left > 0:
            self._world.orphaned(left)


def _told(error: Exception) -> str:
    """An exception of a design's own code: what it says, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


@contextmanager
def run_folder(keep: Path | None = None) -> Iterator[Path]:
    """A short-named folder for one run, removed at the end; a copy of its journal goes to ``keep``.

    What earlier runs left behind that ended without a chance to remove it goes, too.
    """
    leftovers.sweep(leftovers.base())
    with leftovers.owned() as folder:
        yield folder
        if keep is not None:
            shutil.copy(folder / "journal.bhj", keep)
