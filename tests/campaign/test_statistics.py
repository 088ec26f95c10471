"""Bounds and quantiles have the values that the textbooks give."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.campaign.statistics import at_most, latency
from evidence.campaign.tally import told


def test_no_breach_in_2995_is_below_a_tenth_of_a_per_cent_and_one_fewer_is_not() -> None:
    assert told(at_most(0, 2_995)) == "0 breaches in 2,995: below 0.1 % at 95 %"
    assert at_most(0, 2_995).upper < 0.001 < at_most(0, 2_994).upper


@given(st.integers(1, 5_000))
def test_without_a_breach_the_bound_is_the_closed_form(count: int) -> None:
    assert math.isclose(at_most(0, count).upper, 1.0 - 0.05 ** (1.0 / count), rel_tol=1e-9)


def test_known_values_of_clopper_and_pearson() -> None:
    assert at_most(1, 10).upper == pytest.approx(0.3941633, abs=1e-6)
    assert at_most(5, 100).upper == pytest.approx(0.1022533, abs=1e-6)
    assert at_most(10, 10).upper == 1.0


def test_nothing_seen_bounds_nothing_and_nonsense_is_refused() -> None:
    assert at_most(0, 0).upper == 1.0
    assert "nothing can be said" in told(at_most(0, 0))
    with pytest.raises(ValueError, match="3 of 2"):
        at_most(3, 2)


def test_quantiles_are_read_off_the_steps_and_unknown_where_too_few_lie_beyond() -> None:
    found = latency([float(ms) for ms in range(1, 101)])
    assert (found.quantile_ms(0.5), found.quantile_ms(0.99)) == (50.0, 99.0)
    assert found.quantile_ms(0.999) is None
    assert latency([]).quantile_ms(0.5) is None


def test_times_that_are_only_known_to_be_longer_push_the_distribution_out() -> None:
    assert latency([1.0, 2.0, 3.0, 4.0], [10.0] * 4).quantile_ms(0.5) == 4.0
    assert latency([1.0, 2.0, 3.0, 4.0], [10.0] * 5).quantile_ms(0.5) is None
    # Kaplan and Meier's estimate, by hand: 1 - 3/4 * 1/2.
    assert latency([1.0, 3.0], [2.0, 4.0]).share == (0.25, 0.25, 0.625, 0.625)
