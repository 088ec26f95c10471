"""Glycaemic metrics against hand-worked values."""

from __future__ import annotations

import pytest

from evidence.glycaemia import glycaemia, glycaemia_risk_index, risk_indices


def test_shares_of_time_count_each_reading_once() -> None:
    found = glycaemia([50.0, 60.0, 70.0, 180.0, 200.0, 251.0, 100.0, 100.0, 100.0, 100.0])
    assert (found.below_54_percent, found.below_70_percent) == (10.0, 20.0)
    assert (found.above_180_percent, found.above_250_percent) == (20.0, 10.0)
    assert found.in_range_percent == 60.0
    assert found.gri == pytest.approx(3.0 * 10 + 2.4 * 10 + 1.6 * 10 + 0.8 * 10)


def test_a_flat_trace_has_its_mean_and_no_variation() -> None:
    found = glycaemia([150.0] * 10)
    assert found.mean_mg_dl == 150.0
    assert found.cv_percent == 0.0
    assert found.gmi_percent == pytest.approx(3.31 + 0.02392 * 150.0)


def test_risk_is_nought_at_112_and_grows_to_both_sides() -> None:
    assert risk_indices([112.5]) == pytest.approx((0.0, 0.0), abs=0.01)
    assert risk_indices([50.0]) == pytest.approx((22.5, 0.0), abs=0.3)
    assert risk_indices([400.0])[1] == pytest.approx(57.8, abs=1.5)
    assert risk_indices([400.0])[0] == 0.0


def test_the_risk_index_is_capped() -> None:
    assert glycaemia_risk_index(50.0, 50.0, 0.0, 0.0) == 100.0


def test_an_empty_trace_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        glycaemia([])
    with pytest.raises(ValueError, match="empty"):
        risk_indices([])
