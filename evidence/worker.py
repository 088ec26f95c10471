"""A worker: performs experiments one after another, each told in one line. ``python -m evidence.worker``.

It reads lines on its standard input, each the number of a question and an experiment (``evidence.experiment``), and
answers each with one line on its standard output: that number, and JSON (``evidence.workers.Summary``). It keeps a
nursery of monitors and the runs of comparison. What an experiment does to it costs that experiment only: whoever asked
starts another worker.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import msgspec

from evidence import experiment
from evidence.experiment import LineWrong, References
from evidence.outcome import Outcome
from evidence.workers import Summary, Told, summary_of
from faults.attack_files import AttackFileWrong
from monitor.design import DesignError
from world.bench import BenchError
from world.nursery import Nursery


def answer(line: str, references: References) -> Summary:
    """What became of one experiment. A run that could not be judged is NO-REPLY, and says why."""
    try:
        return summary_of(experiment.perform(experiment.read(line), references))
    except (BenchError, DesignError, LineWrong, AttackFileWrong) as error:
        return Summary(line, Outcome.NO_REPLY.value, (), (str(error),))
    except KeyError as error:
        told = Told(str(error.args[0]), None, "there is no such attack")
        return Summary(line, Outcome.NO_REPLY.value, (told,), (f"{told.attack_id}: {told.sentence}",))


def _leave(number: int, _frame: FrameType | None) -> None:
    """Given up: what goes on is put away, once, and whatever else is asked meanwhile."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main() -> None:
    """Serve until the standard input ends, or until SIGTERM."""
    signal.signal(signal.SIGTERM, _leave)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints must not come between the answers
    with Nursery() as nursery:
        references = References(nursery)
        for question in sys.stdin:
            number, _, line = question.strip().partition(" ")
            told = number.encode() + b" " + msgspec.json.encode(answer(line, references)) + b"\n"
            try:
                out.write(told)
            except BrokenPipeError:  # whoever asked is gone
                return


if __name__ == "__main__":
    main()
