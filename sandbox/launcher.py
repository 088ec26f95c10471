"""The one place that creates a confined process: the client of the template process.

``Launcher.start`` sends an order and returns a ``Nascent``, whose ``life`` socket brings the process's pidfd
and its stages. The caller polls it; nothing here blocks but the start of the template itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ipc_schemas import codec, interpreter, links
from sandbox import linux

_ROOT = Path(__file__).resolve().parent.parent
_SIGNS: codec.Codec[links.LifeSign] = codec.Codec(links.LifeSign)  # type: ignore[arg-type]
READY_TIMEOUT_S = 30.0


class LaunchError(Exception):
    """A confined process could not be started; the sentence says which step failed."""


class Nascent:
    """A process on its way: ``pid`` and ``pidfd`` once it exists, ``stage`` as far as it has come."""

    def __init__(self, name: str, life: socket.socket) -> None:
        self.name = name
        self.life = life
        self.pid = 0
        self.pidfd = -1
        self.stages: list[str] = []
        self.failure = ""
        life.setblocking(False)

    def fileno(self) -> int:
        """For poll."""
        return self.life.fileno()

    def pump(self) -> None:
        """Read what the process has said. A closed socket without a word is a failure."""
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self.life, 4096, 1)
            except BlockingIOError:
                return
            except OSError as error:
                message, descriptors = b"", []
                self.failure = self.failure or f"{self.name}: {error.strerror}"
            if not message:
                self.failure = self.failure or f"{self.name}: it died before it was ready"
                return
            self._note(message, descriptors)

    def _note(self, message: bytes, descriptors: list[int]) -> None:
        """One sign of life. Until it is sealed a process is not believed: what is not due is a failure."""
        try:
            sign = _SIGNS.decode(message)
        except codec.Refused as refusal:
            sign = links.Failed(f"{self.name}: an unreadable sign of life: {refusal}")
        is_birth = isinstance(sign, links.Born) and self.pidfd < 0 and len(descriptors) == 1
        if descriptors and not (is_birth and _is_pidfd_of(descriptors[0], sign)):
            for descriptor in descriptors:
                os.close(descriptor)
            sign = links.Failed(f"{self.name}: descriptors that nobody asked for")
        match sign:
            case links.Born() if is_birth:
                self.pid, self.pidfd = sign.pid, descriptors[0]
                self.stages.append("born")
            case links.Born():
                self.failure = f"{self.name}: born twice, or without a descriptor"
            case links.Stage():
                self.stages.append(sign.name)
            case links.Failed():
                self.failure = sign.why

    def connect(self) -> None:
        """Tell a partition that its gate listens. If it died meanwhile, its closed life socket says so."""
        with contextlib.suppress(OSError):
            self.life.send(b"bound")

    def go(self) -> None:
        """Let the process run its own code, and close the way back. If it died meanwhile, its pidfd will say so."""
        with contextlib.suppress(OSError):
            self.life.send(b"go")
        self.life.close()

    def abandon(self) -> None:
        """Kill what has been started so far."""
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.life.close()


def _is_pidfd_of(descriptor: int, sign: links.LifeSign) -> bool:
    """Whether a descriptor is a pidfd on the process that the sign names."""
    fields = Path(f"/proc/self/fdinfo/{descriptor}").read_text().split()
    return (
        isinstance(sign, links.Born)
        and "Pid:" in fields
        and fields[fields.index("Pid:") + 1] == str(sign.pid)
    )


class _Forked:
    """A child that was forked, not started: as much of ``subprocess.Popen`` as the launcher uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        os.waitpid(self.pid, 0)


@dataclass(frozen=True, slots=True)
class TemplateStart:
    """How a template is started: the command, to which its socket's number is added, the descriptors that it keeps, and
    the working directory. As it is, out of the source tree.
    """

    command: tuple[str, ...] = (sys.executable, "-s", "-m", "sandbox.template")
    keeps: tuple[int, ...] = ()
    folder: Path = _ROOT


class Launcher:
    """Owns the template process."""

    def __init__(self, *, is_warm: bool = False, start: TemplateStart | None = None) -> None:
        """Start the template; returns at once. The calling process becomes a child subreaper.

        ``is_warm`` says that this process has itself done ``template.warm_up`` and holds no secret yet: then the
        template is forked from it. Else it is a new interpreter, started as ``start`` says.
        """
        linux.adopt_orphans()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | _Forked = (
            _fork(theirs) if is_warm else _start(theirs, start or TemplateStart())
        )
        theirs.close()
        self._control = ours
        self._is_ready = False

    @property
    def template_pid(self) -> int:
        """The process id of the template."""
        return self._process.pid

    def wait_ready(self) -> None:
        """Block until the template can fork. Raises ``LaunchError``."""
        if self._is_ready:
            return
        self._control.settimeout(READY_TIMEOUT_S)
        try:
            answer = self._control.recv(16)
        except TimeoutError:
            answer = b""
        if answer != b"ready":
            raise LaunchError(
                "the template process did not start; run python -c 'import zmq, msgspec, pyseccomp'"
            )
        self._control.settimeout(10.0)
        self._is_ready = True

    def start(self, order: links.LaunchOrder, log: int, payload: int, link: int) -> Nascent:
        """Begin a launch. The descriptors stay the caller's to close. Raises ``LaunchError``."""
        self.wait_ready()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            socket.send_fds(self._control, [codec.encode(order)], [theirs.fileno(), log, payload, link])
        except OSError as error:
            ours.close()
            raise LaunchError(f"the template process is gone ({error.strerror})") from None
        finally:
            theirs.close()
        return Nascent(order.name, ours)

    def close(self) -> None:
        """End the template."""
        self._control.close()
        self._process.kill()
        self._process.wait()


def _start(control: socket.socket, how: TemplateStart) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*how.command, str(control.fileno())],
        pass_fds=(control.fileno(), *how.keeps),
        cwd=how.folder,
        env=interpreter.ENVIRONMENT,
        stdin=subprocess.DEVNULL,
    )


def _fork(control: socket.socket) -> _Forked:
    from sandbox import template  # here only: it loads what a monitor by itself does not need

    pid = os.fork()
    if pid == 0:
        template.become(control)
    return _Forked(pid)


def reap(pidfd: int) -> os.waitid_result | None:
    """Collect a dead child's status; ``None`` while it lives or when it is not ours to collect."""
    try:
        return os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
