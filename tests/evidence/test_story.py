"""A day counts as held only if nothing at all speaks against it: each reason, one at a time, turns the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evidence import harm, story
from evidence.noninterference import Comparison, Difference
from evidence.outcome import Outcome
from evidence.stopping import Stopping
from evidence.story import Story, Trial
from faults import catalogue
from faults.attack import Effect, Injection
from faults.experiment import Run
from faults.seen import LogLine, Observations
from ipc_schemas import links
from monitor import journal
from monitor.loader import load_design
from sandbox import walls
from world.bench import Plan, Record

FRAMES = 2
PLAN = Plan(Path("designs/insulin_pump"), FRAMES)
HEADER = journal.Header(1, "d", "0" * 64, FRAMES, (), {}, ())
ENTRIES: tuple[journal.Entry, ...] = (
    HEADER,
    *(journal.Frame(n, (), (), (), ()) for n in range(FRAMES)),
    journal.End(FRAMES, ""),
)
END = links.Note(1, "end", "", "all frames done", {"notes_lost": 0})


def _run(**changes: Any) -> Run:
    record = Record(changes.pop("plan", PLAN), Path(), None, [changes.pop("end", END)], FRAMES)
    for name, value in changes.items():
        setattr(record, name, value)
    return Run(SimpleNamespace(partitions=()), record, journal.Reading(ENTRIES, "00", 0))  # type: ignore[arg-type]


def _grade(severity: harm.Severity) -> harm.HarmGrade:
    column = harm.Column(severity, "for the test")
    return harm.HarmGrade(severity, column, column, column, 1440, True)


def _trial(outcome: Outcome) -> Trial:
    row = catalogue.row("K01")
    return Trial(
        Injection(1, "K01"), row, outcome, Effect(False, "."), Stopping(("seccomp",)), Effect(True, ".")
    )


def _held() -> Story:
    return Story(
        attacked=_run(),
        replayed=_run(),
        calm=_run(),
        open=_run(),
        comparison=Comparison(601, None),
        open_comparison=Comparison(601, None),
        trials=(_trial(Outcome.HELD),),
        harm_attacked=_grade(harm.Severity.S0),
        harm_open=_grade(harm.Severity.S4),
        canary_leaks=(),
    )


def test_a_day_with_nothing_against_it_is_held() -> None:
    assert _held().problems == []
    assert _held().held
    assert not _held().gave_way


LOST = links.Note(1, "end", "", "all frames done", {"notes_lost": 3})
BROKEN: list[tuple[str, dict[str, Any], str, bool]] = [
    ("no trial", {"trials": ()}, "no attack was tried", False),
    ("nothing emitted", {"comparison": Comparison(0, None)}, "nothing to compare", False),
    ("a difference", {"comparison": Comparison(9, Difference(1, "a.b", "c", 1, 2))}, "output changed", True),
    ("harm behind walls", {"harm_attacked": _grade(harm.Severity.S1)}, "harmed behind the walls", True),
    ("no harm without walls", {"harm_open": _grade(harm.Severity.S2)}, "no grave harm", False),
    ("a leak", {"canary_leaks": ("in a message",)}, "a secret of therapy got out", True),
    ("attacked run ended early", {"attacked": _run(frames_done=1)}, "ended after 1 of 2 frames", False),
    ("replayed run failed", {"replayed": _run(exit_status=1)}, "the replayed run ended", False),
    ("calm run failed", {"calm": _run(exit_status=1)}, "the calm run ended", False),
    ("notes lost", {"attacked": _run(end=LOST)}, "lost 3 of the monitor's notes", False),
    (
        "a wall left out",
        {"attacked": _run(plan=replace(PLAN, without=frozenset({"fds"})))},
        "without fds",
        False,
    ),
]
BROKEN += [
    (outcome.value, {"trials": (_trial(outcome),)}, outcome.value, outcome is Outcome.BREACH)
    for outcome in Outcome
    if outcome is not Outcome.HELD
]


@pytest.mark.parametrize(
    ("changes", "words", "gave_way"), [row[1:] for row in BROKEN], ids=[r[0] for r in BROKEN]
)
def test_each_reason_alone_turns_the_verdict(changes: dict[str, Any], words: str, gave_way: bool) -> None:
    told = replace(_held(), **changes)
    assert not told.held
    assert len(told.problems) == 1
    assert words in told.problems[0]
    assert told.gave_way is gave_way


def test_a_day_at_whose_end_therapy_is_off_is_not_held() -> None:
    off = _run()
    off.design = load_design(PLAN.design, walls.ALL)
    told = replace(_held(), attacked=off)
    assert told.problems == ["the attacked run ended with therapy (class C) off since frame 0"]


def test_what_shows_nothing_says_why_as_far_as_it_is_known() -> None:
    masked = replace(_trial(Outcome.MASKED_BY_HOST), masked_by="kernel.yama.ptrace_scope is 3")
    assert masked.sentence.endswith("this host itself forbids it, kernel.yama.ptrace_scope is 3.")
    early = replace(_trial(Outcome.VACUOUS), injection=Injection(0, "K01"))
    assert early.sentence.endswith("give it a later time, as K01@00:30.")
    late = _trial(Outcome.VACUOUS)
    assert late.sentence.endswith("Nor has it an effect without walls.")
    assert _trial(Outcome.HELD).sentence == "."


def test_without_effect_and_forbidden_by_the_host_is_masked() -> None:
    for effect, open_effect, expected in (
        (False, False, Outcome.MASKED_BY_HOST),
        (True, False, Outcome.BREACH),
        (False, True, Outcome.HELD),
        (False, None, Outcome.UNKNOWN),
    ):
        found = story._outcome(
            Injection(1, "K01"),
            Observations(log_lines=BEGUN),
            Effect(effect, "."),
            Effect(open_effect, "."),
            _run(),
            "kernel.yama.ptrace_scope is 3",
        )
        assert found is expected


def test_a_run_without_a_whole_journal_is_no_evidence() -> None:
    torn = _run()
    torn.reading = journal.Reading(ENTRIES[:-1], "00", 7)
    missing = _run()
    missing.reading = None
    for run in (torn, missing):
        assert any("left no whole journal" in problem for problem in replace(_held(), attacked=run).problems)


BEGUN = (LogLine(1, "transfer", "ATTACK K01 begin frame=1"),)


@pytest.mark.parametrize(
    ("lines", "frames_done", "effect", "open_effect", "outcome"),
    [
        (BEGUN, 2, False, True, Outcome.HELD),
        (BEGUN, 2, True, True, Outcome.BREACH),
        ((), 2, True, True, Outcome.BREACH),
        ((), 2, False, True, Outcome.NOT_ACTIVATED),
        (BEGUN, 1, False, True, Outcome.NO_REPLY),
        (BEGUN, 2, None, True, Outcome.UNKNOWN),
        (BEGUN, 2, False, None, Outcome.UNKNOWN),
        (BEGUN, 2, False, False, Outcome.VACUOUS),
    ],
)
def test_an_outcome_is_held_only_when_the_attack_ran_and_works_without_walls(
    lines: tuple[LogLine, ...],
    frames_done: int,
    effect: bool | None,
    open_effect: bool | None,
    outcome: Outcome,
) -> None:
    seen = Observations(log_lines=lines)
    found = story._outcome(
        Injection(1, "K01"),
        seen,
        Effect(effect, "."),
        Effect(open_effect, "."),
        _run(frames_done=frames_done),
    )
    assert found is outcome


def test_what_a_fault_of_the_world_costs_its_patient_is_told_and_is_no_attackers_harm() -> None:
    struck = _run()
    struck.design = load_design(PLAN.design, walls.ALL)
    struck.reading = journal.Reading(
        (HEADER, journal.Frame(0, (), (), (), (journal.Life("therapy", 0, "up"),)), *ENTRIES[2:]), "00", 0
    )
    struck.schedule = (Injection(1, "F04"),)
    hurt = replace(_held(), attacked=struck, harm_attacked=_grade(harm.Severity.S2))
    assert any("harmed" in problem for problem in hurt.problems)  # the fault was planned, and not carried out
    struck.struck = {("F04", 1): {"kind": "nan"}}
    assert hurt.problems == []
    assert not hurt.gave_way
