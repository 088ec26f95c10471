"""Workers from the side of whoever asks: one process, one experiment at a time, restarted when it dies or is late.

A worker is no more believed than a partition: an attack may have got at it. Its answer is one line of bounded length in
bounded time, and counts only if it bears the number of its question, which is drawn by chance, and if nothing else has
come through its door.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from evidence.experiment import Finding
from evidence.outcome import Outcome

_ROOT = Path(__file__).resolve().parent.parent
#: An experiment that takes longer has no answer. The longest attack holds a device for a few seconds.
ANSWER_S_MAX = 60.0
#: A finding in JSON takes a few thousand.
ANSWER_BYTES_MAX = 4 << 20
_NUMBER_BYTES = 8
_WORDS_BYTES_MAX = 400
_CLOSING_S_MAX = 5.0


class Told(msgspec.Struct, frozen=True):
    """What a detector said of one injection; ``succeeded`` is ``None`` when it could not tell.

    ``culprit`` is the field or the open file that let it through, where the detector saw one.
    """

    attack_id: str
    succeeded: bool | None
    sentence: str
    culprit: str = ""


class Summary(msgspec.Struct, frozen=True):
    """A finding in plain values, as it travels between processes and into files.

    ``line`` is the experiment; ``chain`` the journal's last value, hex; ``severity`` S0..S4 or empty; ``kill_ms`` from
    a violation in the monitor's hands to the last process gone; ``messages`` how many emissions of the critical
    partitions were compared, ``difference`` the first that differed; ``treated`` how each attacker was treated
    (``evidence.treatment``), in the order of ``effects``; ``leaks`` where secrets turned up.
    """

    line: str
    outcome: str
    effects: tuple[Told, ...] = ()
    reasons: tuple[str, ...] = ()
    chain: str = ""
    messages: int = 0
    difference: str = ""
    severity: str = ""
    kill_ms: tuple[float, ...] = ()
    wall_s: float = 0.0
    standing: tuple[str, ...] = ()
    lost_a_window: bool = False
    treated: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()

    @property
    def got_through(self) -> bool | None:
        """Whether something got through: an effect, a secret, a difference; ``None`` when that cannot be told."""
        if self.outcome == Outcome.BREACH.value or any(told.succeeded for told in self.effects):
            return True
        blind = not self.effects or any(told.succeeded is None for told in self.effects)
        return None if blind or self.outcome in _NO_ANSWER else False


_NO_ANSWER = frozenset((Outcome.NO_REPLY.value, Outcome.NOT_ACTIVATED.value, Outcome.UNKNOWN.value))


def summary_of(finding: Finding) -> Summary:
    """A finding in plain values."""
    comparison = finding.comparison
    return Summary(
        finding.experiment.line,
        finding.outcome.value,
        tuple(
            Told(one.attack_id, effect.succeeded, effect.sentence, effect.culprit)
            for one, effect in zip(finding.experiment.schedule, finding.effects, strict=True)
        ),
        finding.reasons,
        finding.chain,
        comparison.messages if comparison else 0,
        str(comparison.difference or "") if comparison else "",
        finding.severity.name if finding.severity is not None else "",
        finding.kill_ms,
        round(finding.wall_s, 4),
        tuple(sorted(finding.standing)),
        finding.lost_a_window,
        finding.treated,
        finding.leaks,
    )


def _answer(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """All that has come out of the worker's door when a line is whole. What does not end so: it died, or said too much.

    Raises ``TimeoutError``.
    """
    assert process.stdout is not None
    door, said, until_s = process.stdout.fileno(), b"", time.monotonic() + timeout_s
    while not said.endswith(b"\n") and len(said) <= ANSWER_BYTES_MAX:
        left_s = until_s - time.monotonic()
        if left_s <= 0 or not select.select([door], [], [], left_s)[0]:
            raise TimeoutError
        piece = os.read(door, 1 << 16)
        if not piece:
            break
        said += piece
    return said


class Abandoned(Exception):
    """Nobody is to be asked any more: the whole was given up."""


class Worker:
    """One worker process. A context manager; ``ask`` starts a new one when the last has died or was late.

    ``abandon`` is final: who asks afterwards has ``Abandoned``.
    """

    def __init__(self) -> None:
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        #: What it writes to standard error: the last of it is told when it dies.
        self._words: IO[bytes] | None = None
        self._is_abandoned = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, line: str, timeout_s: float = ANSWER_S_MAX) -> Summary:
        """Have one experiment performed. No answer in time, or none at all, is NO-REPLY. Raises ``Abandoned``."""
        process = self._unheard() or self._start()
        if self._is_abandoned:  # seen here, or ``abandon`` sees the process
            self._end(process)
            raise Abandoned
        assert process.stdin is not None
        number = secrets.token_hex(_NUMBER_BYTES)
        if self._words is not None:
            self._words.truncate(0)
        try:
            process.stdin.write(f"{number} {line}\n".encode())
            process.stdin.flush()
        except BrokenPipeError:
            return self._lost(line, "the worker had ended")
        try:
            said = _answer(process, timeout_s)
        except TimeoutError:
            return self._lost(line, f"there was no answer within {timeout_s:g} s")
        if not said.endswith(b"\n"):
            return self._lost(line, f"the worker died over it{self._last_words()}")
        theirs, _, told = said.partition(b" ")
        try:
            if theirs != number.encode() or b"\n" in told[:-1]:
                raise ValueError(theirs)
            return msgspec.json.decode(told, type=Summary)
        except ValueError:  # msgspec's own are such, too
            return self._lost(line, "somebody else answered in the worker's place")

    def close(self) -> None:
        """End the process and everything that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()  # it ends when it has nothing left to read
        try:
            process.wait(_CLOSING_S_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its nursery, and the monitors, end with their parents
            process.wait()
        process.stdout.close()
        self._forget_words()

    def give_up(self) -> None:
        """Ask it from another thread to end, for good: whoever waits for its answer gets none.

        It ends what the experiment has started, also that which no wall ties to it; ``abandon`` sees that it does.
        """
        self._is_abandoned = True
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()

    def abandon(self) -> None:
        """``give_up``, and kill it when that takes too long."""
        self.give_up()
        process = self._process
        if process is None:
            return
        try:
            process.wait(_CLOSING_S_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)

    def _unheard(self) -> subprocess.Popen[bytes] | None:
        """The present worker, if it lives and nothing comes out of its door that nobody has asked for."""
        process = self._process
        if process is None:
            return None
        assert process.stdout is not None
        if select.select([process.stdout], [], [], 0)[0]:
            self._end(process)
            return None
        return process

    def _start(self) -> subprocess.Popen[bytes]:
        self._words = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "evidence.worker"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            start_new_session=True,
        )
        return self._process

    def _last_words(self) -> str:
        """The last line on standard error, printable and bounded: why it died, as a rule."""
        if self._words is None:
            return ""
        self._words.seek(max(self._words.seek(0, os.SEEK_END) - _WORDS_BYTES_MAX, 0))
        lines = self._words.read(_WORDS_BYTES_MAX).decode("ascii", "backslashreplace").splitlines()
        last = "".join(one if one.isprintable() else "?" for one in lines[-1]) if lines else ""
        return f"; its last words: {last}" if last else ""

    def _forget_words(self) -> None:
        words, self._words = self._words, None
        if words is not None:
            words.close()

    def _lost(self, line: str, why: str) -> Summary:
        if self._process is not None:
            self._end(self._process)
        return Summary(line, Outcome.NO_REPLY.value, (), (why,))

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a worker that is not to be believed any more; the next question starts another."""
        self._process = None
        self.restarts += 1
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for end in (process.stdin, process.stdout):
            assert end is not None
            with contextlib.suppress(BrokenPipeError):
                end.close()
        self._forget_words()


class Workers:
    """One worker for each thread that asks. A context manager: an error in its block ends them, whoever waits."""

    def __init__(self) -> None:
        self._all: list[Worker] = []
        self._is_abandoned = False
        self._mine = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abandon()
        for worker in self._all:
            worker.close()

    def ask(self, line: str, timeout_s: float = ANSWER_S_MAX) -> Summary:
        """Have one experiment performed by the worker of the thread that calls: see ``Worker.ask``."""
        if not hasattr(self._mine, "worker"):
            self._mine.worker = Worker()
            self._all.append(self._mine.worker)
        if self._is_abandoned:  # seen here, or ``abandon`` sees the worker
            raise Abandoned
        worker: Worker = self._mine.worker
        return worker.ask(line, timeout_s)

    def abandon(self) -> None:
        """End them all from another thread, for good: whoever waits for an answer gets none, nor who asks later."""
        self._is_abandoned = True
        for worker in self._all:
            worker.give_up()
        for worker in self._all:
            worker.abandon()
