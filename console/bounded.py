"""A bounded child process: runs schemas and world of a design's author, or reads the code of an image.

Either may loop, exit or ask for all memory; the code of an image is never run.

The child leads a process group of its own and is bounded in address space, processor time (limits that
``console/probe_child.py`` sets on itself before all else) and wall time. When it has ended, or its time is over, its
whole group is killed. What it prints is discarded; all that is heard of it is one report in a pipe.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

ROOT = Path(__file__).resolve().parent.parent
#: Wall time; an honest child needs a fifth of a second. The child's own limit of processor time is a second longer: it
#: is for when nobody is left to look at the clock.
TIME_S = 10
#: What a pipe holds without anybody reading, so that nobody needs to while the child lives.
REPORT_BYTES_MAX = 65_536


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a child says of the code it ran or read. ``kind`` is ``ok``, or names what is wrong.

    ``file`` is relative to the image; ``line`` counts from 1 and is 0 where there is none. ``untold`` has clauses on
    what cannot be told by reading.
    """

    kind: str
    said: str = ""
    file: str = ""
    line: int = 0
    untold: tuple[str, ...] = ()


class Ended(NamedTuple):
    """How a child ended: its report, or a clause that says why there is none."""

    report: Report | None
    why_not: str = ""


class Child:
    """One bounded child, running from the start on. Use as a context manager: nothing of it is left after."""

    def __init__(self, flags: Sequence[str], *arguments: str) -> None:
        self._until_s = time.monotonic() + TIME_S
        reader, writer = os.pipe()
        self._report = open(reader, "rb")  # noqa: SIM115  closed by close
        try:
            self._process = subprocess.Popen(
                [sys.executable, *flags, *arguments, str(writer), str(TIME_S + 1)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(writer,),
                start_new_session=True,
            )
        except BaseException:
            self._report.close()
            raise
        finally:
            os.close(writer)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the whole group and reap its leader."""
        if self._process.returncode is None:
            # Not reaped yet, so the number still means this group, also when the leader has ended by itself.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._report.close()

    def wait(self) -> Ended:
        """Wait until it has ended or its time is over."""
        descriptor = os.pidfd_open(self._process.pid)
        try:
            left_s = max(self._until_s - time.monotonic(), 0.0)
            has_ended = bool(select.select([descriptor], [], [], left_s)[0])
        finally:
            os.close(descriptor)
        # Whoever else holds the pipe must be gone before it is read.
        os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        if not has_ended:
            return Ended(None, f"it did not finish within {TIME_S} s")
        os.set_blocking(self._report.fileno(), False)
        heard = self._report.read(REPORT_BYTES_MAX) or b""
        try:
            return Ended(msgspec.json.decode(heard, type=Report))
        except msgspec.DecodeError:
            return Ended(None, _why(status))


def _why(status: int) -> str:
    if status == -signal.SIGXCPU:
        return f"it used more than {TIME_S + 1} s of processor time"
    if status < 0:
        return f"it was ended by signal {signal.Signals(-status).name}"
    return f"it ended the process that ran it (exit status {status})"
