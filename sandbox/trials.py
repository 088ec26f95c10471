"""The trials behind the passport: forked children that raise each wall around themselves and try what it
forbids.

The children run side by side and report one line per wall over a pipe; what they try is in ``trials_alone``
and ``trials_spaces``. Each act is first seen to succeed where that costs nothing, so that a trial cannot pass
on a host where the act would fail anyway. A child that dies leaves its remaining walls without a finding.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from sandbox import linux, namespaces

TIMEOUT_S = 20.0
_STAGING = ("/tmp", "/var/tmp", "/dev/shm", "/mnt")
_WORDS_MAX = 300


class NotHeld(Exception):
    """What the wall forbids went through, or could not be tried."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One wall: ``text`` names the mechanism when it held, and what was seen when it did not."""

    wall: str
    has_held: bool
    text: str


@dataclass(slots=True)
class Outcome:
    """All findings, and the milliseconds they took. A wall that failed in one child has failed."""

    findings: dict[str, Finding] = field(default_factory=dict)
    took_ms: float = 0.0

    def note(self, finding: Finding) -> None:
        """Keep a finding; a failure is never overwritten."""
        earlier = self.findings.get(finding.wall)
        if earlier is None or earlier.has_held:
            self.findings[finding.wall] = finding


class Outside:
    """What lies outside the walls: listeners of the probing process, its pid and its host name."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.host_name = os.uname().nodename
        self.spaces = {
            wall: namespaces.inode_of("self", kind) for wall, (_, kind) in namespaces.FLAGS.items()
        }
        self.staging = next(path for path in _STAGING if os.path.isdir(path))
        self.device = os.stat(self.staging).st_dev
        self._listeners: list[socket.socket] = []
        self.addresses: list[tuple[socket.AddressFamily, str | tuple[str, int]]] = []
        self._listen(socket.AF_UNIX, f"\0bulkhead-trial-{self.pid}")
        self._listen(socket.AF_INET, ("127.0.0.1", 0))

    def _listen(self, family: socket.AddressFamily, address: str | tuple[str, int]) -> None:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.bind(address)
            listener.listen(16)
        except OSError:  # a host without a loopback interface: what cannot be reached proves nothing
            listener.close()
            return
        self._listeners.append(listener)
        self.addresses.append((family, listener.getsockname() if family == socket.AF_INET else address))

    def __enter__(self) -> Outside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for listener in self._listeners:
            listener.close()

    def reachable(self) -> list[str]:
        """The names of the families over which the caller reaches a listener."""
        reached = []
        for family, address in self.addresses:
            with socket.socket(family, socket.SOCK_STREAM) as caller:
                caller.settimeout(1.0)
                try:
                    caller.connect(address)
                except OSError:
                    continue
                reached.append(family.name)
        return reached


Body = Callable[["Report", Outside], None]


class Report:
    """The writing end of the pipe, in a child."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def attempt(self, wall: str, trial: Callable[[], str]) -> bool:
        """Run one trial and report it. Any exception is a finding against the wall."""
        try:
            return self.say(wall, True, trial())
        except Exception as error:  # unknown is never a pass
            return self.say(wall, False, words_of(error))

    def say(self, wall: str, has_held: bool, text: str) -> bool:
        """Report a finding. Returns ``has_held``."""
        line = f"{wall}\t{'held' if has_held else 'failed'}\t{' '.join(text.split())[:_WORDS_MAX]}\n"
        os.write(self.descriptor, line.encode(errors="replace"))
        return has_held


def words_of(error: Exception) -> str:
    """An exception as words, without Python's error numbers."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class Begun:
    """Trials under way, in children of this process, which goes on. Begin them in a process with one thread."""

    def __init__(self, bodies: tuple[Body, ...], timeout_s: float = TIMEOUT_S) -> None:
        self._started_s = time.perf_counter()
        self._until_s = self._started_s + timeout_s
        self._read_end, write_end = os.pipe2(os.O_CLOEXEC)
        self._outside = Outside()
        self._children = [_spawn(body, write_end, self._outside) for body in bodies]
        os.close(write_end)

    def outcome(self) -> Outcome:
        """Wait for them, and for no longer than they have. Once."""
        found = Outcome()
        with self._outside as outside:
            text = _collect(self._read_end, self._until_s)
            os.close(self._read_end)
            for child in self._children:
                if os.waitpid(child, os.WNOHANG)[0] == 0:
                    # It closed the pipe or is late: nothing it does counts any more.
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
            for line in text.splitlines():
                wall, verdict, said = line.split("\t", 2)
                found.note(Finding(wall, verdict == "held", said))
            if os.uname().nodename != outside.host_name:
                found.note(Finding("utsns", False, "the host's own name was changed"))
            if os.stat(outside.staging).st_dev != outside.device:
                found.note(Finding("mntns", False, "a mount showed up outside"))
        found.took_ms = (time.perf_counter() - self._started_s) * 1000
        return found


def run(bodies: tuple[Body, ...], timeout_s: float = TIMEOUT_S) -> Outcome:
    """Run the trials, and wait for them."""
    return Begun(bodies, timeout_s).outcome()


def _spawn(body: Body, write_end: int, outside: Outside) -> int:
    child = os.fork()
    if child == 0:
        try:
            linux.die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            body(Report(write_end), outside)
        finally:
            os._exit(0)
    return child


def _collect(read_end: int, deadline_s: float) -> str:
    """Everything written until all children have closed the pipe, or until the deadline."""
    poll = select.poll()
    poll.register(read_end, select.POLLIN)
    pieces = []
    while (left_s := deadline_s - time.perf_counter()) > 0 and poll.poll(left_s * 1000):
        piece = os.read(read_end, 1 << 16)
        if not piece:
            break
        pieces.append(piece)
    text = b"".join(pieces).decode(errors="replace")
    return text[: text.rfind("\n") + 1]


def must_fail(what: str, act: Callable[[], object], *allowed: int) -> None:
    """``act`` must raise one of these errors of the kernel. Raises ``NotHeld``."""
    try:
        act()
    except OSError as error:
        if error.errno in allowed:
            return
        raise NotHeld(f"{what} failed otherwise than it should: {words_of(error)}") from None
    raise NotHeld(f"{what} went through")
