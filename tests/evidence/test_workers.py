"""A worker answers, loses only the experiment that kills it, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from evidence import experiment
from evidence.workers import Worker
from faults.attack import Injection
from tests.console.commands import descendants, started
from tests.support.devices import wait_until

PUMP = Path(__file__).resolve().parent.parent.parent / "designs" / "insulin_pump"
LINE = experiment.single(PUMP, Injection(6, "C06")).line


def _all_gone(seen: set[tuple[int, str]]) -> bool:
    return wait_until(lambda: not any(started(pid) == born for pid, born in seen), 3.0)


def test_a_worker_answers_and_its_line_runs_again_to_the_same_journal() -> None:
    with Worker() as worker:
        one, again = worker.ask(LINE), worker.ask(LINE)
    assert (one.outcome, one.got_through, one.chain) == ("HELD", False, again.chain)
    assert one.line == LINE
    assert one.messages > 0


def test_what_is_no_experiment_is_answered_and_does_not_end_the_worker() -> None:
    with Worker() as worker:
        wrong, missing = worker.ask("design=nowhere frames=3 C06@2"), worker.ask("hello")
        unknown = worker.ask(LINE.replace("C06", "Z99"))
        right = worker.ask(LINE)
        assert worker.restarts == 0
    assert [a.outcome for a in (wrong, missing, unknown)] == ["NO-REPLY"] * 3
    assert "nowhere" in wrong.reasons[0]
    assert "'hello'" in missing.reasons[0]
    assert right.outcome == "HELD"


def test_a_worker_that_is_late_or_killed_costs_its_experiment_only_and_nothing_lives_on() -> None:
    with Worker() as worker:
        worker.ask(LINE)
        assert worker._process is not None
        seen = set(descendants(worker._process.pid)) | {(worker._process.pid, started(worker._process.pid))}
        late = worker.ask(LINE, timeout_s=0.05)
        assert (late.outcome, late.reasons) == ("NO-REPLY", ("there was no answer within 0.05 s",))
        assert len(seen) >= 2
        assert _all_gone(seen)
        assert worker.ask(LINE).outcome == "HELD"
        pid = worker._process.pid
        timer = threading.Timer(0.05, os.kill, (pid, signal.SIGKILL))
        timer.start()
        assert worker.ask(LINE).reasons == ("the worker died over it",)
        timer.join()
        assert worker.restarts == 2
