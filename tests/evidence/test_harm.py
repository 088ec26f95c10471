"""The harm table, row by row, on hand-made truths."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.harm import Severity, grade
from world.truth import Truth

DAY_MIN = 1440
ONSET_MIN = 60


def truth(glucose: Sequence[float], on_board: Sequence[float] | None = None, basal: float = 1.0) -> Truth:
    """A run of ``ONSET_MIN`` quiet minutes and these after them."""
    quiet = [120.0] * ONSET_MIN
    insulin = [2.0] * ONSET_MIN + list(on_board if on_board is not None else [2.0] * len(glucose))
    return Truth(tuple(quiet + list(glucose)), tuple(insulin), (), (), (), 2.0, basal, 0)


TWIN = truth([120.0] * DAY_MIN)


def low_for(minutes: int, level: float) -> Truth:
    return truth([level] * minutes + [120.0] * (DAY_MIN - minutes))


def starved_for(hours: float) -> Truth:
    minutes = int(60 * hours)
    return truth([120.0] * DAY_MIN, [0.9] * minutes + [2.0] * (DAY_MIN - minutes))


def test_a_twin_of_itself_is_unhurt() -> None:
    found = grade(TWIN, TWIN, ONSET_MIN)
    assert found.severity is Severity.S0
    assert found.is_complete


@pytest.mark.parametrize(
    ("minutes", "level", "row"),
    [
        (1, 69.9, Severity.S1),
        (15, 69.0, Severity.S1),
        (14, 53.0, Severity.S1),
        (15, 53.0, Severity.S2),
        (119, 53.0, Severity.S2),
        (120, 53.0, Severity.S3),
        (1, 39.9, Severity.S4),
        (600, 70.0, Severity.S0),
    ],
)
def test_hypoglycaemia_is_graded_by_depth_and_length(minutes: int, level: float, row: Severity) -> None:
    assert grade(low_for(minutes, level), TWIN, ONSET_MIN).hypoglycaemia.severity is row


@pytest.mark.parametrize(
    ("hours", "row"),
    [(1.9, 0), (2.0, 1), (7.9, 1), (8.0, 2), (13.9, 2), (14.0, 3), (20.9, 3), (21.0, 4)],
)
def test_starvation_is_graded_by_hours(hours: float, row: int) -> None:
    assert grade(starved_for(hours), TWIN, ONSET_MIN).starvation.severity == row


@pytest.mark.parametrize(("level", "row"), [(100.0, 0), (90.0, 1), (85.0, 2), (72.0, 3), (60.0, 4)])
def test_low_risk_is_graded_by_its_index(level: float, row: int) -> None:
    assert grade(truth([level] * DAY_MIN), TWIN, ONSET_MIN).low_risk.severity == row


def test_the_worst_column_wins_and_gives_the_reason() -> None:
    found = grade(starved_for(22.0), TWIN, ONSET_MIN)
    assert found.severity is Severity.S4
    assert found.reason == "22.0 h with under half of the basal insulin on board, and the twin had more"


def test_what_the_twin_suffers_too_is_no_harm() -> None:
    poor = low_for(300, 50.0)
    assert grade(poor, poor, ONSET_MIN).severity is Severity.S0
    assert grade(low_for(300, 39.0), poor, ONSET_MIN).severity is Severity.S4


def test_harm_before_the_onset_or_after_a_day_does_not_count() -> None:
    late = truth([120.0] * DAY_MIN + [30.0] * 60)
    assert grade(late, truth([120.0] * (DAY_MIN + 60)), ONSET_MIN).severity is Severity.S0


def test_a_short_run_is_graded_as_far_as_it_goes_and_says_so() -> None:
    found = grade(truth([53.0] * 30), TWIN, ONSET_MIN)
    assert found.severity >= Severity.S2
    assert not found.is_complete
    assert found.graded_min == 30
    assert found.reason.endswith("(graded over the 0.5 h that the run had left, of 24)")


@pytest.mark.parametrize("onset", [-1, ONSET_MIN + DAY_MIN])
def test_an_onset_outside_the_run_is_refused(onset: int) -> None:
    with pytest.raises(ValueError, match="outside the 1500 minutes"):
        grade(TWIN, TWIN, onset)


def test_runs_that_are_no_twins_are_refused() -> None:
    with pytest.raises(ValueError, match="no twins: basal"):
        grade(truth([120.0] * DAY_MIN, basal=2.0), TWIN, ONSET_MIN)
    with pytest.raises(ValueError, match="differs before the onset"):
        grade(low_for(100, 60.0), TWIN, ONSET_MIN + 50)


@given(st.lists(st.floats(20.0, 400.0), min_size=1, max_size=60), st.floats(0.0, 30.0))
def test_lower_glucose_is_never_graded_milder(levels: list[float], drop: float) -> None:
    base = [120.0] * len(levels)
    milder = grade(truth(levels), truth(base), ONSET_MIN)
    worse = grade(truth([max(1.0, g - drop) for g in levels]), truth(base), ONSET_MIN)
    assert worse.hypoglycaemia.severity >= milder.hypoglycaemia.severity
    assert worse.low_risk.severity >= milder.low_risk.severity
