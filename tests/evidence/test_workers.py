"""A worker answers, loses only the experiment that kills it, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import msgspec
import pytest

from evidence import experiment, workers
from evidence.workers import Abandoned, Summary, Worker, Workers
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


def test_who_asks_workers_that_were_given_up_is_refused_and_starts_no_process() -> None:
    with Workers() as pool:
        assert pool.ask(LINE).outcome == "HELD"
        pool.abandon()
        with pytest.raises(Abandoned):
            pool.ask(LINE)
        asked: list[str] = []

        def ask_anew() -> None:
            try:
                pool.ask(LINE)
            except Abandoned:
                asked.append("refused")

        other = threading.Thread(target=ask_anew)  # a thread that has had no worker yet
        other.start()
        other.join()
        assert asked == ["refused"]
        assert all(worker._process is None or worker._process.wait(3.0) for worker in pool._all)


def test_a_worker_given_up_while_it_starts_answers_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with Worker() as worker:
        start = worker._start

        def too_late() -> subprocess.Popen[bytes]:
            worker.abandon()
            return start()

        monkeypatch.setattr(worker, "_start", too_late)
        with pytest.raises(Abandoned):
            worker.ask(LINE)
        assert worker._process is None


def _door(worker: Worker) -> int:
    """The number of the descriptor on which a worker that has come up gives its answers."""
    process = worker._start()
    assert process.stdout is not None
    ours = os.readlink(f"/proc/self/fd/{process.stdout.fileno()}")
    folder = f"/proc/{process.pid}/fd"

    def found() -> list[int]:
        numbers = []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                if int(name) > 2 and os.readlink(f"{folder}/{name}") == ours:
                    numbers.append(int(name))
        return numbers

    assert wait_until(lambda: bool(found()), 10.0)
    return found()[0]


def test_an_attack_that_gets_at_the_worker_itself_costs_its_own_experiment_only() -> None:
    """With no wall up, and on the worker's own process: it is named here, where the harness names a stand-in."""
    forged = "somebody else answered in the worker's place"
    with Worker() as worker:
        for attack, reason in (
            ("R06@6(worker_pid={pid},how=group)", "the worker died over it"),
            ("R06@6(worker_pid={pid},how=stop)", "there was no answer within 6 s"),
            ("R08@6(worker_pid={pid},door={door})", forged),
            ("R08@6(worker_pid={pid},door={door},what=half)", forged),
        ):
            door = _door(worker)
            assert worker._process is not None
            parameters = attack.format(pid=worker._process.pid, door=door)
            line = LINE.replace("C06@6", parameters).replace("without=none", "without=all")
            lost = worker.ask(line, timeout_s=6.0 if "stop" in attack else 60.0)
            assert (lost.outcome, lost.reasons, lost.got_through) == ("NO-REPLY", (reason,), None), attack
        assert worker.restarts == 4
        assert worker.ask(LINE).outcome == "HELD"


def test_what_a_walled_partition_does_to_the_worker_itself_changes_no_answer() -> None:
    with Worker() as worker:
        door = _door(worker)
        assert worker._process is not None
        pid = worker._process.pid
        for attack in (f"R06@6(worker_pid={pid})", f"R08@6(worker_pid={pid},door={door})"):
            told = worker.ask(LINE.replace("C06@6", attack))
            assert (told.outcome, told.got_through) == ("HELD", False)
        assert (worker._process.pid, worker.restarts) == (pid, 0)


def test_words_that_nobody_asked_for_cost_no_experiment() -> None:
    with Worker() as worker:
        number = _door(worker)
        assert worker._process is not None
        forged = msgspec.json.encode(Summary(LINE, "BREACH"))
        with open(f"/proc/{worker._process.pid}/fd/{number}", "wb", buffering=0) as door:
            door.write(b"0" * 16 + b" " + forged + b"\n")
        assert worker.ask(LINE).outcome == "HELD"
        assert worker.restarts == 1


def test_an_answer_in_the_right_shape_without_its_questions_number_is_nobodys() -> None:
    with Worker() as worker:
        number = _door(worker)
        assert worker._process is not None
        forged = b"0" * 16 + b" " + msgspec.json.encode(Summary(LINE, "HELD")) + b"\n"
        door = Path(f"/proc/{worker._process.pid}/fd/{number}")
        timer = threading.Timer(0.05, door.write_bytes, (forged,))
        timer.start()
        told = worker.ask(LINE)
        timer.join()
    assert (told.outcome, told.reasons) == ("NO-REPLY", ("somebody else answered in the worker's place",))


def test_what_a_worker_says_on_its_way_out_is_told_and_nothing_else_comes_through(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Written into the standard error that the worker really has; there, it would land in the middle of a page."""
    with Worker() as worker:
        worker.ask(LINE)
        assert worker._process is not None
        with open(f"/proc/{worker._process.pid}/fd/2", "ab") as theirs:
            theirs.write(b"Traceback\nMemoryError: no \x1b[31mmore\n")
        timer = threading.Timer(0.05, os.kill, (worker._process.pid, signal.SIGKILL))
        assert worker._last_words() == "; its last words: MemoryError: no ?[31mmore"
        timer.start()
        assert worker.ask(LINE).reasons == (
            "the worker died over it",
        )  # what it said before is another trial's
        timer.join()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("{number} {told}\\n", "HELD"),
        ("{number} {told}\\n\\n", "NO-REPLY"),
        ("{number} {told}\\n \\n", "NO-REPLY"),
    ],
)
def test_an_answer_of_two_lines_is_nobodys_even_where_the_second_is_blank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, outcome: str
) -> None:
    """JSON may end in blanks, so a reader of JSON alone would not see that somebody else has written, too."""
    (tmp_path / "evidence").mkdir()
    told = msgspec.json.encode(Summary(LINE, "HELD")).decode()
    (tmp_path / "evidence" / "worker.py").write_text(
        "import sys\n"
        "for question in sys.stdin:\n"
        "    number = question.split()[0]\n"
        f"    sys.stdout.write({said!r}.encode().decode('unicode_escape').format(number=number, told={told!r}))\n"
        "    sys.stdout.flush()\n"
    )
    monkeypatch.setattr(workers, "_ROOT", tmp_path)
    with Worker() as worker:
        assert worker.ask(LINE).outcome == outcome
