"""The statistics of lateness have known answers, and what is not known is never a pass."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from evidence.lateness import Judgement, Pair, Sample, percentile, ranks, survival
from evidence.lateness_runs import KINDS, frames_struck, schedule
from faults.window_times import NoTimes, WindowTimes, read_off
from ipc_schemas import links
from world.bench import Plan, Record

NONE: frozenset[int] = frozenset()


def times(
    values: list[float], unopened: frozenset[int] = NONE, overran: frozenset[int] = NONE
) -> WindowTimes:
    return WindowTimes(len(values) + len(unopened), tuple(values), unopened, overran, NONE)


def sample(values: list[float], missed: int = 0) -> Sample:
    return Sample((times(values, overran=frozenset(range(missed))),))


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(n) for n in range(1, 2001)]
    assert [percentile(values, p).value for p in (50.0, 99.0, 99.9)] == [1000.0, 1980.0, 1998.0]


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        (100, 0.5, (40, 61)),  # the textbook's bounds of a median of 100: the 40th and the 61st value
        (10, 0.5, (2, 9)),
        (1000, 0.999, (997, 1001)),  # three of a thousand or fewer are above it; none bounds it from above
        (20, 0.01, (0, 2)),
    ],
)
def test_the_bounds_are_those_of_the_binomial_distribution(
    count: int, share: float, expected: tuple[int, int]
) -> None:
    assert ranks(count, share, 0.95) == expected


def test_bounds_hold_the_true_quantile_as_often_as_they_say() -> None:
    chance = random.Random(3)
    inside = 0
    for _ in range(400):
        found = percentile(sorted(chance.random() for _ in range(300)), 90.0)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0.9 <= found.high
    assert inside >= 0.93 * 400


def test_one_in_a_thousand_is_unknown_from_fewer_than_a_thousand() -> None:
    assert percentile([1.0] * 999, 99.9).value is None
    known = percentile([1.0] * 1000, 99.9)
    assert (known.value, known.high) == (1.0, None)
    assert percentile([], 50.0).value is None


@pytest.mark.parametrize(
    ("attacked", "missed", "struck", "problems", "expected"),
    [
        ([1.9] * 1000, 0, 5, (), Judgement.MET),
        ([2.1] * 1000, 0, 5, (), Judgement.NOT_MET),
        ([1.0] * 1000, 1, 5, (), Judgement.NOT_MET),
        ([1.0] * 999, 0, 5, (), Judgement.UNKNOWN),
        ([1.0] * 999, 1, 5, (), Judgement.NOT_MET),
        ([1.0] * 1000, 0, 0, (), Judgement.NOT_ACTIVATED),
        ([1.0] * 1000, 0, 5, ("a run told nothing",), Judgement.UNKNOWN),
    ],
)
def test_an_aim_is_met_only_by_what_was_measured(
    attacked: list[float], missed: int, struck: int, problems: tuple[str, ...], expected: Judgement
) -> None:
    pair = Pair("cpu", sample(attacked, missed), sample([1.0] * 1000), struck, len(attacked), problems)
    assert pair.judgement is expected


def test_a_ratio_takes_its_bounds_from_the_unfavourable_ends() -> None:
    pair = Pair("cpu", sample([2.0, 4.0] * 100), sample([1.0, 2.0] * 100), 1, 200)
    ratio = pair.ratio(50.0)
    assert (ratio.value, ratio.low, ratio.high) == (2.0, 1.0, 4.0)
    assert pair.ratio(99.9).value is None
    assert pair.ratio_by_round == [2.0]


def test_a_survival_curve_falls_from_all_to_the_latest() -> None:
    assert survival([1.0, 1.0, 2.0, 4.0]) == [(1.0, 1.0), (2.0, 0.5), (4.0, 0.25)]


# --- read off a run ---


def note(frame: int, kind: str, partition: str = "", text: str = "", **facts: Any) -> links.Note:
    return links.Note(frame, kind, partition, text, facts)


def record(*notes: links.Note, frames: int = 6, exit_status: int = 0) -> Record:
    return Record(
        Plan(Path("d"), frames), Path("f"), None, list(notes), frames_done=frames, exit_status=exit_status
    )


def end(lateness: list[str], unopened: list[str]) -> links.Note:
    return links.Note(5, "end", "", "", {"lateness_ms.heater": lateness, "unopened.heater": unopened})


def test_a_window_that_is_missed_in_two_ways_is_missed_once() -> None:
    found = read_off(
        record(
            note(4, "ruling", "heater", event="window_overrun"),
            note(3, "ruling", "telemetry", event="window_overrun"),
            note(3, "ruling", "heater", event="cpu_exceeded"),
            end(["0.1", "0.2", "9.0", "0.1"], ["1", "2"]),
        ),
        "heater",
        8.0,
    )
    assert [sorted(frames) for frames in (found.unopened, found.opened_late, found.overran)] == [
        [1, 2],
        [4],
        [4],
    ]
    assert found.missed == 3


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (record(), "without a word"),
        (record(end(["0.1"] * 6, []), exit_status=1), "the device stopped"),
        (record(note(5, "end")), "not one window"),
        (record(end(["0.1"] * 4, ["1"])), "4 windows and did not have 1, of 6"),
    ],
)
def test_a_run_that_does_not_add_up_tells_nothing(told: Record, sentence: str) -> None:
    with pytest.raises(NoTimes, match=sentence):
        read_off(told, "heater", 8.0)


def test_an_attack_is_at_work_from_its_begin_to_its_end_or_the_attackers() -> None:
    told = record(
        note(2, "log", "telemetry", "ATTACK K20 begin frame=2"),
        note(4, "log", "telemetry", "ATTACK K20 end frame=2 {}"),
        note(6, "log", "telemetry", "ATTACK K20 begin frame=6"),
        note(7, "killed", "telemetry"),
        note(8, "log", "heater", "ATTACK K20 begin frame=8"),
        note(9, "log", "telemetry", "ATTACK K20 begin frame=9"),
        frames=12,
    )
    assert frames_struck(told, "telemetry") == {2, 3, 4, 6, 7, 9, 10, 11}


@pytest.mark.parametrize("kind", KINDS)
def test_a_strike_is_due_in_every_frame(kind: str) -> None:
    due = [
        frame
        for one in schedule(kind, "transfer", 100)
        for frame in range(one.frame, one.frame + int(one.parameters["for_frames"]))
    ]
    assert set(range(100)) <= set(due)
    assert len(due) == len(set(due))
