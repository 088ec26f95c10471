"""A process that stands in for the worker of an experiment: what an attack on the harness is tried on.

It has the worker's standing: a child of the process that runs the experiment, with its user id, outside every wall, in
a session of its own, with a verdict in its memory and a door on which it answers. Attacks are given its process id and
no other, so that an attack that gets through costs a stand-in, and the experiment can still be judged.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from faults.seen import StandIn

_PROGRAM = Path(__file__).parent / "stand_in_program.py"
READY_S_MAX = 10.0
#: It answers in a millisecond; a host with much to do may take longer.
ANSWER_S_MAX = 2.0
ENDED_S_MAX = 0.5
_ANSWER_BYTES_MAX = 1 << 16
#: What it is given to hold, before the run's own token.
VERDICT = "VERDICT"
_NAME = "bh-stand-in"


class Substitute:
    """A context manager: the stand-in lives in it, and ``seen`` says afterwards what became of it.

    Raises ``TimeoutError`` when it does not come up.
    """

    def __init__(self, token: str) -> None:
        self.held = f"{VERDICT} {token} HELD"
        self.seen: StandIn | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_PROGRAM), _NAME],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id, and that of its session."""
        return self._process.pid

    def __enter__(self) -> Self:
        self._say(self.held)
        if self._hear(READY_S_MAX, 1) != "ready\n":
            self._end()
            raise TimeoutError(f"the stand-in of the worker was not ready within {READY_S_MAX:g} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.seen = self._look()
        finally:
            self._end()

    def _look(self) -> StandIn:
        self._say("tell")
        was_stopped = self._is_stopped()
        heard = "" if was_stopped else self._hear(ANSWER_S_MAX, 1)
        # A signal that was sent may still have been on its way a moment ago.
        was_stopped = was_stopped or ("told " not in heard and self._is_stopped())
        if was_stopped:
            os.kill(self.pid, signal.SIGCONT)
            heard += self._hear(ANSWER_S_MAX, 1)
        lines = heard.splitlines()
        told = [line.removeprefix("told ") for line in lines if line.startswith("told ")]
        others = [line for line in lines if not line.startswith("told ")]
        status = self._process.poll() if told else self._ended()
        return StandIn(
            max(-(status or 0), 0), was_stopped, "".join(told[-1:]), self.held, "".join(others[:1])
        )

    def _ended(self) -> int | None:
        """How it ended, if it does in a moment: a signal that was sent may still be on its way."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(ENDED_S_MAX)
        return None

    def _is_stopped(self) -> bool:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace")
            return text.rpartition(")")[2].split()[0] in "Tt"
        return False

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone, and what it answers says so
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _hear(self, seconds: float, answers: int) -> str:
        """What comes out of its door until it has answered so often, ended, or said too much."""
        assert self._process.stdout is not None
        door, heard, until_s = self._process.stdout.fileno(), b"", time.monotonic() + seconds
        while heard.count(b"\ntold ") + heard.startswith((b"told ", b"ready\n")) < answers:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not select.select([door], [], [], left_s)[0]:
                break
            data = os.read(door, _ANSWER_BYTES_MAX)
            heard += data
            if not data or len(heard) > _ANSWER_BYTES_MAX:
                break
        return heard.decode("utf-8", "replace")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            with contextlib.suppress(BrokenPipeError):
                end.close()
