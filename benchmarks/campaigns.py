"""Experiments per second in a campaign, beside the same experiments started cold, one by one; and what a core adds.

An experiment here is an attacked run behind all walls, its run of comparison, and the judging of both, as a
campaign's worker (``evidence.worker``) performs it. Cold means a new worker for each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import device_runs
from benchmarks.figures import Effort, Figure, Row, Step, beside, spread

ROOT = Path(__file__).resolve().parent.parent
#: Four attacks that are over in their frame, so that what is measured is what a campaign adds, not how long one lasts.
LINES = tuple(f"design=designs/insulin_pump frames=24 {attack}@14" for attack in ("C06", "C08", "C18", "K23"))
WARM_UP = 1
ANSWER_S_MAX = 60.0


class Worker:
    """One worker process. A context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "evidence.worker"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(ANSWER_S_MAX)

    def hand(self, line: str) -> None:
        """Ask for one experiment."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"1 " + line.encode() + b"\n")
        self._process.stdin.flush()

    def take(self) -> None:
        """Wait for its answer. Raises ``RunFailed`` unless it held."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        told = (
            json.loads(answer.partition(b" ")[2])
            if answer
            else {"outcome": "NO-REPLY", "reasons": ["the worker ended"]}
        )
        if told["outcome"] != "HELD":
            raise device_runs.RunFailed(f"an experiment did not hold: {told['outcome']}: {told['reasons']}")


def warm_per_s(workers: int, rounds: int) -> float:
    """Experiments per second of so many warm workers, each of which goes through ``LINES`` so often."""
    with ExitStack() as stack:
        pool = [stack.enter_context(Worker()) for _ in range(workers)]
        for line in LINES * WARM_UP:
            _each(pool, [line])
        started_s = time.perf_counter()
        _each(pool, LINES * rounds)
        took_s = time.perf_counter() - started_s
    return workers * rounds * len(LINES) / took_s


def _each(pool: Sequence[Worker], lines: Sequence[str]) -> None:
    """Hand every worker all lines at once, which it takes one after the other, and wait for all answers."""
    for worker in pool:
        for line in lines:
            worker.hand(line)
    for worker in pool:
        for _ in lines:
            worker.take()


def cold_per_s(rounds: int) -> float:
    """Experiments per second when each has a worker started for it."""
    started_s = time.perf_counter()
    for line in LINES * rounds:
        with Worker() as worker:
            worker.hand(line)
            worker.take()
    return rounds * len(LINES) / (time.perf_counter() - started_s)


def measure(effort: Effort, step: Step) -> list[Figure]:
    """Two figures: warm beside cold, and two workers beside twice what one does, measured in turn."""
    cold: list[float] = []
    one: list[float] = []
    two: list[float] = []
    for _ in range(effort.pick(2, 5)):
        cold.append(cold_per_s(1))
        one.append(warm_per_s(1, 4))
        two.append(warm_per_s(2, 4))
        step()
    twice = spread([2.0 * rate for rate in one])
    unit = "experiments/s"
    return [
        beside(
            "campaign",
            "experiments, one warm worker",
            unit,
            spread(one),
            "the same, cold",
            spread(cold),
            at_least=5.0,
        ),
        beside(
            "campaign",
            "experiments, two warm workers",
            unit,
            spread(two),
            "twice one worker",
            twice,
            at_least=0.9,
        ),
    ]


ROWS = (Row("campaign", "experiments per second", lambda effort: effort.pick(2, 5), 12.0, measure),)
