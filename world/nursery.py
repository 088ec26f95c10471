"""Many runs, one warm start: asks a nursery process for a monitor where a new process would be started.

A monitor from the nursery is a fork of a process that holds the monitor's modules and what is known of the host, and
nothing of any run. Each is a session of its own, as a new process would be.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from ipc_schemas import codec, links
from world import devices, power

READY_S_MAX = 60.0
_ANSWER_BYTES = 16
_MESSAGE_BYTES = 1 << 16
_NOTES: codec.Codec[links.Note] = codec.Codec(links.Note)


class NurseryGone(Exception):
    """The nursery does not answer; the sentence says so."""


class Nursery:
    """A context manager. One caller at a time."""

    def __init__(self) -> None:
        self._control, theirs = power.control_pair()
        self._powered = ExitStack()
        try:
            device = self._powered.enter_context(devices.ready())
            self._process = device.switch_on(links.NURSERY, theirs)
        except BaseException:
            self._powered.close()
            self._control.close()
            raise
        finally:
            theirs.close()
        self._control.settimeout(READY_S_MAX)

    @property
    def pid(self) -> int:
        """The nursery's own process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, and with it every monitor that it made."""
        self._control.close()
        self._process.kill()
        self._process.wait()
        self._powered.close()

    def monitor(self, control: socket.socket) -> Nursling:
        """A new monitor on standby at the other end of ``control``. Raises ``NurseryGone``."""
        reader, writer = os.pipe()
        try:
            socket.send_fds(self._control, [b"monitor"], [control.fileno(), writer])
            answer, descriptors = self._answer()
        except (OSError, NurseryGone) as error:
            os.close(reader)
            self._process.kill()  # an answer that comes late must not be taken for the next one's
            said = str(error) if isinstance(error, NurseryGone) else f"the nursery does not answer: {error}"
            raise NurseryGone(said) from None
        finally:
            os.close(writer)
        if not answer:
            os.close(reader)
            raise NurseryGone("the nursery has ended")
        return Nursling(int(answer), descriptors[0], reader)

    def _answer(self) -> tuple[bytes, list[int]]:
        """The next answer. Before the first there are the notes of its boot. Raises ``NurseryGone`` and ``OSError``."""
        while True:
            answer, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 1)
            if not answer or answer.isdigit():
                return answer, descriptors
            note = _NOTES.decode_loosely(answer)
            if note.kind == "boot_refused":
                raise NurseryGone(f"the nursery's device does not start: {note.text}")


class Nursling:
    """A monitor that the nursery made: as much of ``subprocess.Popen`` as the bench needs."""

    def __init__(self, pid: int, pidfd: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = pidfd
        self._status = status

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises ``subprocess.TimeoutExpired``."""
        if self.returncode is not None:
            return self.returncode
        if not select.select([self._status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("monitor", timeout or 0.0)
        told = os.read(self._status, _ANSWER_BYTES)
        # An empty answer: the nursery was killed, and with it all that it had made.
        self.returncode = int(told) if told else -signal.SIGKILL
        os.close(self._status)
        os.close(self._pidfd)
        return self.returncode

    def kill(self) -> None:
        """SIGKILL, if it lives."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
