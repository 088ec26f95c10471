"""How an attacker was treated is read from the journal of a real run, and is what the catalogue expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidence import experiment, treatment
from evidence.experiment import References
from evidence.treatment import Treatment
from faults import catalogue
from faults.attack import Injection, Value
from monitor import journal
from monitor.design import Action, Event
from world.nursery import Nursery

PUMP = Path(__file__).resolve().parent.parent.parent / "designs" / "insulin_pump"
_TREATED: list[tuple[str, dict[str, Value], str]] = [
    # libzmq cuts the connection, so that there is no message to refuse, and no word that the window is over.
    ("C01", {}, "killed, contained, restarted"),
    ("C01", {"kind": "frame"}, "killed, contained, restarted"),
    ("C07", {}, "dropped"),
    ("C14", {}, "dropped, killed, restarted"),
    ("K23", {}, "blocked"),
    ("K09", {}, "blocked, killed, restarted"),
    ("K19", {}, "contained"),
    ("F02", {}, "killed, contained, restarted"),
    ("F01", {"for_frames": 8}, "restarted, quarantined"),
    ("F04", {}, "dropped, safe state"),
    ("F07", {}, "safe state"),
]


def test_attacks_behind_walls_are_treated_as_the_catalogue_expects() -> None:
    with Nursery() as nursery:
        references = References(nursery)
        for attack_id, parameters, treated in _TREATED:
            one = experiment.single(PUMP, Injection(14, attack_id, parameters))
            found = experiment.perform(one, references)
            assert (attack_id, found.effects[0].succeeded, found.treated) == (attack_id, False, (treated,))
            wanted = treatment.expected(catalogue.rows()[attack_id].expected)
            assert wanted, attack_id
            assert {str(one) for one in wanted} <= set(treated.split(", ")), attack_id


def test_what_gets_through_is_called_so_and_what_never_ran_is_called_nothing() -> None:
    with Nursery() as nursery:
        references = References(nursery)
        open_ = experiment.single(PUMP, Injection(6, "C06"), frozenset({"schema", "recheck"}))
        late = experiment.Experiment(PUMP, (Injection(9, "C06"),), 6)
        assert experiment.perform(open_, references).treated == ("let through",)
        assert experiment.perform(late, references).treated == ("",)


@pytest.mark.parametrize("event", sorted(Event))
@pytest.mark.parametrize("action", sorted(Action))
def test_each_ruling_says_what_was_done(event: Event, action: Action) -> None:
    found = set(treatment._of_ruling(journal.Ruling("transfer", event.value, action.value, "")))
    ends = action in (Action.RESTART, Action.QUARANTINE)
    assert (Treatment.QUARANTINED in found) == (action is Action.QUARANTINE)
    assert (Treatment.RESTARTED in found) == (action is Action.RESTART)
    own_end = event in (Event.PARTITION_EXIT, Event.STALE_INPUT)
    assert (Treatment.KILLED in found) == (ends and not own_end)
    assert (Treatment.BLOCKED in found) == (event is Event.FORBIDDEN_SYSCALL)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("DROP+KILL on Nth", {Treatment.DROPPED}),
        ("DROP or ESCAPE", {Treatment.DROPPED}),
        ("THROTTLE then KILL", {Treatment.DROPPED, Treatment.KILLED}),
        ("BLOCK (connect denied); monitor stays up", {Treatment.BLOCKED}),
        ("RESTART<=budget then LATCH", {Treatment.RESTARTED, Treatment.QUARANTINED}),
        ("SAFE-STATE within T", {Treatment.SAFE_STATE}),
        ("MEASURE: bits/s reported", set()),
    ],
)
def test_the_catalogues_words_are_read(told: str, wanted: set[Treatment]) -> None:
    assert treatment.expected(told) == wanted


def test_every_attack_that_can_be_run_has_something_expected() -> None:
    assert [
        row.id for row in catalogue.rows().values() if row.built and not treatment.expected(row.expected)
    ] == []
