"""A trial counts as held only if its own control had its effect; whatever cannot be told is no pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import pytest

from evidence import experiment
from evidence.campaign import results
from evidence.campaign.results import Result
from evidence.campaign.strata import Trial
from evidence.campaign.tally import tally, told, walls_told
from evidence.workers import Summary, Told
from sandbox import walls
from tests.campaign.test_strata import sampler

SOME = sampler(("C06", "K09"), 40)


def answers(walled: str, control: str, effect: bool | None = None) -> list[str]:
    """Performs trial 1 (K09) with these answers; returns outcome, reason, and how often it was asked."""
    asked: list[str] = []

    def ask(line: str) -> Summary:
        asked.append(line)
        is_control = "without=all" in line
        outcome = control if is_control else walled
        effects = (Told("K09", effect if is_control else False, "said so"),)
        return Summary(line, outcome, effects, ("because",))

    found = results.performed(SOME.trial(1), ask)
    return [found.outcome, found.reason, str(len(asked))]


def test_held_needs_a_control_that_had_its_effect() -> None:
    assert answers("HELD", "BREACH", effect=True) == ["HELD", "because", "2"]


def test_a_control_is_the_very_same_experiment_in_all_but_its_walls() -> None:
    trial = SOME.trial(1)
    assert experiment.read(results.control_line(trial)) == replace(trial.experiment, without=walls.ALL)
    assert trial.experiment.seed != 1  # the usual one: a control that lost its seed would be seen


@pytest.mark.parametrize("outcome", ["NO-REPLY", "UNKNOWN", "NOT-ACTIVATED"])
def test_a_control_without_an_answer_makes_it_unknown(outcome: str) -> None:
    found = answers("HELD", outcome, effect=None)
    assert found[0] == "UNKNOWN"
    assert outcome in found[1]


def test_a_control_without_an_effect_makes_it_vacuous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "masked_by", lambda *_: "")
    assert answers("HELD", "HELD", effect=False)[0] == "VACUOUS"


def test_a_control_that_the_host_stops_is_masked_and_names_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results, "masked_by", lambda *_: "kernel.io_uring_disabled is 2")
    assert answers("HELD", "HELD", effect=False)[:2] == ["MASKED-BY-HOST", "kernel.io_uring_disabled is 2"]


def test_a_control_whose_effect_was_missed_twice_is_run_a_third_time_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results, "masked_by", lambda *_: "")
    for seen_at, outcome in ((6, "HELD"), (7, "VACUOUS")):
        asked: list[str] = []

        def seldom(line: str, asked: list[str] = asked, seen_at: int = seen_at) -> Summary:
            asked.append(line)
            is_seen = len(asked) == seen_at
            return Summary(line, "BREACH" if is_seen else "HELD", (Told("K09", is_seen, "."),), ("because",))

        found = results.performed(SOME.trial(1), seldom)
        assert found.outcome == outcome
        assert ("in run 3 only" in found.reason) == (outcome == "HELD")
        assert ["without=all" in line for line in asked] == [False, True] * 3
    lines: list[str] = []

    def fickle(line: str) -> Summary:
        """Held once, and then not."""
        lines.append(line)
        got_through = len(lines) == 3
        return Summary(
            line, "BREACH" if got_through else "HELD", (Told("K09", got_through, "."),), ("because",)
        )

    assert results.performed(SOME.trial(1), fickle).outcome == "BREACH"


@pytest.mark.parametrize("outcome", ["BREACH", "NO-REPLY", "UNKNOWN", "NOT-ACTIVATED"])
def test_what_did_not_hold_keeps_its_name_and_needs_no_control(outcome: str) -> None:
    assert answers(outcome, "BREACH", effect=True) == [outcome, "because", "1"]


def made(number: int, outcome: str, kill_ms: tuple[float, ...] = ()) -> Result:
    one = SOME.trial(number)
    summary = Summary(one.experiment.line, outcome, (), ("so",), kill_ms=kill_ms)
    return Result(number, one.stratum.attack_id, one.stratum.walls, one.stratum.phase, outcome, "so", summary)


def counted(outcomes: Iterable[str]) -> list[str]:
    return tally(SOME, [made(number, outcome) for number, outcome in enumerate(outcomes)]).problems


def test_a_campaign_holds_only_when_whole_without_breach_and_with_all_its_answers() -> None:
    assert counted(["HELD"] * 40) == []
    assert counted(["HELD"] * 39) == ["1 of 40 trials are still to come"]
    assert counted(["HELD"] * 39 + ["BREACH"]) == ["1 of 40 trials behind all walls are breaches (K09)"]
    assert counted(["UNKNOWN"] + ["HELD"] * 39) == ["1 of 40 trials behind all walls have no answer"]
    assert counted(["HELD", "VACUOUS"] * 20) == ["of K09 no trial counts"]
    assert counted(["HELD", "MASKED-BY-HOST"] * 20) == []


def test_bounds_go_both_ways_and_only_trials_that_count_are_counted() -> None:
    found = tally(
        SOME, [made(n, o) for n, o in enumerate(["HELD"] * 30 + ["NO-REPLY"] * 4 + ["VACUOUS"] * 6)]
    )
    assert (found.walled.breaches.count, found.walled.breaches.of) == (0, 30)
    assert (found.walled.breaches_at_worst.count, found.walled.breaches_at_worst.of) == (4, 34)
    assert found.walled.breaches_at_worst.upper > 4 / 34 > found.walled.breaches.upper
    assert told(found.walled.breaches) == "0 breaches in 30: below 9.5 % at 95 %"
    assert [one.number for one in found.without_answer] == [30, 31, 32, 33]
    assert len(found.without_count) == 6


def test_a_kill_without_an_answer_counts_as_longer_than_any() -> None:
    killed = [made(n, "HELD", (float(n + 1),)) for n in range(30)]
    found = tally(SOME, [*killed, *(made(n, "NO-REPLY") for n in range(30, 40))])
    assert (found.kills.count, found.kills.censored) == (30, 10)
    assert found.kills.quantile_ms(0.5) == 20.0
    assert found.kills.quantile_ms(0.9) is None


def test_walls_that_did_not_stand_in_some_trial_that_counts_are_named() -> None:
    whole = [msgspec.structs.replace(made(n, "HELD"), summary=standing(n, walls.ALL)) for n in range(39)]
    assert walls_told(tally(SOME, whole).standing) == f"all {len(walls.ALL)} walls stood"
    some = msgspec.structs.replace(made(39, "HELD"), summary=standing(39, walls.ALL - {"uid"}))
    assert walls_told(tally(SOME, [*whole, some]).standing).endswith("not everywhere: uid")
    lost = msgspec.structs.replace(made(39, "NO-REPLY"), summary=standing(39, frozenset()))
    assert tally(SOME, [*whole, lost]).standing == walls.ALL


def standing(number: int, up: frozenset[str]) -> Summary:
    return msgspec.structs.replace(made(number, "HELD").summary, standing=tuple(sorted(up)))


def test_trials_are_counted_under_their_own_phase_attack_and_walls() -> None:
    found = tally(SOME, [made(number, "HELD") for number in range(40)])
    trials = [SOME.trial(number) for number in range(40)]
    for phase, cell in found.by_phase.items():
        assert cell.trials == sum(one.stratum.phase == phase for one in trials) > 0
    for family in found.families:
        mine = [one for one in trials if one.stratum.attack_id == family.attack_id]
        assert family.cell.trials == len(mine)
        tried = {str(sorted(one.experiment.injections[0].parameters.items())) for one in mine}
        assert family.tried == len(tried)
    both = sampler(("K09",), 12, wall_sets=("all", "none"))
    some = [_breached(both.trial(number)) for number in range(12)]
    walled = sum(one.walls == "all" for one in some)
    found = tally(both, some)
    assert 0 < walled < 12
    assert (found.walled.trials, found.by_walls["none"].trials) == (walled, 12 - walled)
    assert len(found.breaches) == walled


def test_a_campaign_in_which_nothing_behind_all_walls_counts_says_so() -> None:
    bare = sampler(("K09",), 6, wall_sets=("none",))
    some = [_breached(bare.trial(number)) for number in range(6)]
    assert tally(bare, some).problems == ["no trial behind all walls counts, so nothing can be said"]


def _breached(one: Trial) -> Result:
    summary = Summary(one.experiment.line, "BREACH")
    return Result(one.number, "K09", one.stratum.walls, one.stratum.phase, "BREACH", "so", summary)
