"""The health table: restart budgets, escalation, and refusing what it does not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.design import (
    Action,
    Design,
    Event,
    Limits,
    Partition,
    RestartBudget,
    SafetyClass,
    Window,
    WorldSide,
)
from monitor.health import NO_BUDGET, Decision, FrameWentBack, Health, UnknownEvent

ALL_EVENTS = list(Event)


def partition(
    name: str, number: int, restarts_max: int, within_frames: int, rows: dict[Event, Action]
) -> Partition:
    """A partition of which only budget and health table matter here."""
    return Partition(
        number=number,
        name=name,
        safety_class=SafetyClass.C,
        is_critical=True,
        is_networked=False,
        image=Path("image"),
        entry="main:Heart",
        packages=(),
        config=None,
        limits=Limits(1, 1, 1, 1, 1, 1),
        walls=frozenset(),
        cleared_for=frozenset(),
        restart=RestartBudget(restarts_max, within_frames),
        health=rows,
    )


def device(*partitions: Partition) -> Design:
    """A design that holds nothing but partitions."""
    return Design(
        name="device",
        folder=Path(),
        frame_ms=100,
        schemas="schemas.py",
        world=WorldSide("world.py:World", Path(), 10),
        partitions=partitions,
        ports=(),
        channels=(),
        windows=tuple(Window(p.name, 0, 1) for p in partitions),
        digest="",
    )


def health(
    restarts_max: int = 3,
    within_frames: int = 12,
    rows: dict[str, str] | None = None,
    walls: frozenset[str] = frozenset({"budget"}),
) -> Health:
    """Two partitions, ``heart`` with the given rows (others restart) and ``radio`` that always restarts."""
    table = {event: Action((rows or {}).get(event.value, "restart")) for event in Event}
    restart_all = dict.fromkeys(Event, Action.RESTART)
    return Health(
        device(
            partition("heart", 1, restarts_max, within_frames, table),
            partition("radio", 2, restarts_max, within_frames, restart_all),
        ),
        walls,
    )


def test_restarts_are_counted_down_and_the_next_one_quarantines() -> None:
    judge = health(restarts_max=2, within_frames=10)
    first, second, third = (judge.on("heart", Event.BAD_MESSAGE, frame) for frame in (5, 6, 7))
    assert (first.action, first.restarts_left) == (Action.RESTART, 1)
    assert (second.action, second.restarts_left) == (Action.RESTART, 0)
    assert (third.action, third.restarts_left) == (Action.QUARANTINE, 0)
    assert first.reason == "bad_message in heart: restart, 1 left"
    assert third.reason == "bad_message in heart: its budget of 2 restarts within 10 frames is spent"
    assert judge.is_quarantined("heart")
    assert not judge.is_quarantined("radio")


def test_a_restart_leaves_the_window_after_exactly_its_frames() -> None:
    judge = health(restarts_max=1, within_frames=10)
    assert judge.on("heart", Event.BAD_MESSAGE, 0).action is Action.RESTART
    assert judge.restarts_left("heart", 9) == 0
    assert judge.restarts_left("heart", 10) == 1
    assert judge.on("heart", Event.BAD_MESSAGE, 10).action is Action.RESTART
    assert judge.on("heart", Event.BAD_MESSAGE, 19).action is Action.QUARANTINE


def test_a_budget_of_none_quarantines_at_once() -> None:
    assert health(restarts_max=0).on("heart", Event.GATE_DIED, 0).action is Action.QUARANTINE


def test_without_the_wall_it_restarts_in_every_frame_but_not_for_ever_in_one() -> None:
    judge = health(restarts_max=2, within_frames=10, walls=frozenset())
    assert all(judge.on("heart", Event.PARTITION_EXIT, frame).action is Action.RESTART for frame in range(50))
    actions = [judge.on("heart", Event.PARTITION_EXIT, 50).action for _ in range(NO_BUDGET.restarts_max + 1)]
    assert set(actions[:-1]) == {Action.RESTART}
    assert actions[-1] is Action.QUARANTINE


def test_one_partition_does_not_spend_the_budget_of_another() -> None:
    judge = health(restarts_max=1)
    judge.on("radio", Event.BAD_MESSAGE, 0)
    assert judge.on("radio", Event.BAD_MESSAGE, 1).action is Action.QUARANTINE
    assert judge.on("heart", Event.BAD_MESSAGE, 1).action is Action.RESTART


def test_drop_and_note_spend_nothing() -> None:
    judge = health(restarts_max=1, rows={"bad_message": "drop", "stale_input": "note"})
    for frame in range(20):
        assert judge.on("heart", Event.BAD_MESSAGE, frame) == Decision(
            Action.DROP, "bad_message in heart: discarded", 1
        )
        assert judge.on("heart", Event.STALE_INPUT, frame).action is Action.NOTE


def test_a_row_of_quarantine_holds_for_the_rest_of_the_run() -> None:
    judge = health(rows={"gate_lied": "quarantine"})
    assert judge.on("heart", Event.GATE_LIED, 3).action is Action.QUARANTINE
    assert judge.is_quarantined("heart")
    again = judge.on("heart", Event.BAD_MESSAGE, 4)
    assert (again.action, again.restarts_left) == (Action.QUARANTINE, 0)
    assert judge.on("radio", Event.BAD_MESSAGE, 4).action is Action.RESTART


def test_safe_state_holds_for_the_whole_device() -> None:
    judge = health(rows={"gate_lied": "safe_state", "stale_input": "note"})
    assert judge.on("heart", Event.GATE_LIED, 3).action is Action.SAFE_STATE
    assert judge.on("radio", Event.BAD_MESSAGE, 4).action is Action.SAFE_STATE
    assert judge.on("heart", Event.BAD_MESSAGE, 4).action is Action.SAFE_STATE
    assert judge.on("heart", Event.STALE_INPUT, 4).action is Action.NOTE
    assert judge.restarts_left("radio", 4) == 0


@pytest.mark.parametrize("event", ALL_EVENTS)
def test_every_event_of_a_full_table_gets_its_row(event: Event) -> None:
    for action in Action:
        judge = health(rows={event.value: action.value})
        assert judge.on("heart", event, 0).action is action


def test_an_event_without_a_row_raises_and_changes_nothing() -> None:
    rows = {Event.BAD_MESSAGE: Action.RESTART}
    judge = Health(device(partition("heart", 1, 1, 10, rows)), frozenset({"budget"}))
    with pytest.raises(UnknownEvent, match="no row for event log_flood of partition heart; add one"):
        judge.on("heart", Event.LOG_FLOOD, 9)
    assert judge.on("heart", Event.BAD_MESSAGE, 0).action is Action.RESTART


def test_an_unknown_partition_raises() -> None:
    with pytest.raises(UnknownEvent):
        health().on("lung", Event.BAD_MESSAGE, 0)


def test_frames_do_not_go_back() -> None:
    judge = health()
    judge.on("heart", Event.BAD_MESSAGE, 7)
    with pytest.raises(FrameWentBack, match="frame 6 after one in frame 7"):
        judge.on("radio", Event.BAD_MESSAGE, 6)


Reports = st.lists(
    st.tuples(st.sampled_from(["heart", "radio"]), st.sampled_from(ALL_EVENTS), st.integers(0, 5)),
    max_size=80,
)
Tables = st.dictionaries(
    st.sampled_from([event.value for event in Event]), st.sampled_from([action.value for action in Action])
)


def run(judge: Health, reports: list[tuple[str, Event, int]]) -> list[tuple[int, str, Event, Decision]]:
    """Feed reports, of which the number is the frames since the report before."""
    frame, history = 0, []
    for name, event, later_frames in reports:
        frame += later_frames
        history.append((frame, name, event, judge.on(name, event, frame)))
    return history


@given(Reports, Tables, st.integers(0, 4), st.integers(1, 20))
def test_no_window_holds_more_restarts_than_the_budget(
    reports: list[tuple[str, Event, int]], rows: dict[str, str], restarts_max: int, within_frames: int
) -> None:
    history = run(health(restarts_max, within_frames, rows), reports)
    for name in ("heart", "radio"):
        frames = [f for f, who, _, decision in history if who == name and decision.action is Action.RESTART]
        for start in frames:
            assert sum(start <= frame < start + within_frames for frame in frames) <= restarts_max


@given(Reports, Tables, st.integers(0, 4))
def test_after_quarantine_only_quarantine_or_note(
    reports: list[tuple[str, Event, int]], rows: dict[str, str], restarts_max: int
) -> None:
    gone: set[str] = set()
    for _, name, _, decision in run(health(restarts_max, 12, rows), reports):
        if name in gone:
            assert decision.action in (Action.QUARANTINE, Action.NOTE)
            assert decision.restarts_left == 0
        if decision.action is Action.QUARANTINE:
            gone.add(name)


@given(Reports, Tables, st.integers(0, 4), st.integers(1, 20))
def test_a_decision_is_never_milder_than_its_row(
    reports: list[tuple[str, Event, int]], rows: dict[str, str], restarts_max: int, within_frames: int
) -> None:
    mildest_first = list(Action)
    for _, name, event, decision in run(health(restarts_max, within_frames, rows), reports):
        row = Action(rows.get(event.value, "restart")) if name == "heart" else Action.RESTART
        is_gone_already = decision.reason.endswith("quarantined already")
        assert is_gone_already or mildest_first.index(decision.action) >= mildest_first.index(row)
        assert "\n" not in decision.reason
        assert decision.restarts_left >= 0


@given(Reports, Tables, st.integers(0, 4), st.integers(1, 20))
def test_the_same_reports_get_the_same_decisions(
    reports: list[tuple[str, Event, int]], rows: dict[str, str], restarts_max: int, within_frames: int
) -> None:
    once, twice = health(restarts_max, within_frames, rows), health(restarts_max, within_frames, rows)
    assert run(once, reports) == run(twice, reports)


def test_only_the_partition_that_lacks_the_budget_wall_restarts_without_end() -> None:
    rows = dict.fromkeys(ALL_EVENTS, Action.RESTART)
    loose = replace(partition("loose", 1, 0, 10, rows), lacks=frozenset({"budget"}))
    judge = Health(device(loose, partition("tight", 2, 0, 10, rows)), frozenset({"budget"}))
    assert judge.on("loose", Event.BAD_MESSAGE, 1).action is Action.RESTART
    assert judge.on("tight", Event.BAD_MESSAGE, 1).action is Action.QUARANTINE
