"""The insulin-on-board curve, and its rebuilding from the pump's log."""

from __future__ import annotations

import itertools
import math

import pytest

from ipc_schemas.insulin_pump import DeliveryLog, PumpCommand
from tests.therapy.coupling import image_module

iob = image_module("therapy", "insulin_on_board")
ledger = image_module("therapy", "ledger")


def test_the_curve_is_whole_at_first_gone_at_last_and_never_rises() -> None:
    values = [iob.remaining(float(age)) for age in range(400)]
    assert values[0] == values[10] == 1.0
    assert values[370] == 0.0
    assert values[369] < 0.001
    assert all(a >= b for a, b in itertools.pairwise(values))


def test_the_curve_acts_most_75_minutes_after_its_delay() -> None:
    rates = [iob.remaining(float(age)) - iob.remaining(float(age + 1)) for age in range(370)]
    assert rates.index(max(rates)) == pytest.approx(85, abs=1)


def test_the_curve_is_the_integral_of_loops_activity() -> None:
    """Activity (S/tau^2) t (1 - t/td) exp(-t/tau), integrated numerically: another road to it."""
    td, tp = 360.0, 75.0
    tau = tp * (1.0 - tp / td) / (1.0 - 2.0 * tp / td)
    step = 0.05
    activity = [t * (1.0 - t / td) * math.exp(-t / tau) for t in (step * (k + 0.5) for k in range(7200))]
    whole = sum(activity)
    for age in (30, 60, 120, 240, 330):
        acted = sum(activity[: int(age / step)]) / whole
        assert iob.remaining(10.0 + age) == pytest.approx(1.0 - acted, abs=1e-5)


def test_plain_basal_is_nothing_on_board() -> None:
    board = iob.OnBoard()
    board.read(DeliveryLog(480, (0.1,) * 96), 0.0, 1.2, 480)
    assert board.is_known
    assert board.units == pytest.approx(0.0, abs=1e-9)


def test_a_bolus_in_the_log_is_on_board_and_decays() -> None:
    board = iob.OnBoard()
    board.read(DeliveryLog(480, (0.1,) * 84 + (4.1,) + (0.1,) * 11), 0.0, 1.2, 480)
    assert board.units == pytest.approx(4.0 * iob.remaining(57.5), abs=1e-6)
    assert board.left_at_horizons()[-1] == 0.0


def test_an_old_or_missing_log_leaves_insulin_on_board_unknown() -> None:
    board = iob.OnBoard()
    board.read(None, 0.0, 1.2, 480)
    assert not board.is_known
    board.read(DeliveryLog(440, (0.1,) * 96), 0.0, 1.2, 480)
    assert not board.is_known


def test_what_no_log_shows_yet_counts_in_full() -> None:
    book = ledger.Ledger()
    book.compare(DeliveryLog(100, (0.1,) * 96))
    book.record(PumpCommand(1, 100, 2.4, 3.0, 30))
    assert book.in_flight_net_u(1.2, 105) == pytest.approx(3.1)
    book.compare(DeliveryLog(105, (0.1,) * 96))
    book.record(PumpCommand(2, 105, 1.2, 0.0, 30))
    assert book.in_flight_net_u(1.2, 105) == pytest.approx(3.1)
    book.compare(DeliveryLog(110, (0.1,) * 95 + (3.2,)))
    assert book.in_flight_net_u(1.2, 110) == pytest.approx(0.0)


def test_a_bolus_that_runs_on_stays_in_flight_until_it_is_in_the_log() -> None:
    book = ledger.Ledger()
    book.compare(DeliveryLog(100, (0.1,) * 96))
    book.record(PumpCommand(1, 100, 1.2, 10.0, 30))
    book.record(PumpCommand(2, 105, 1.2, 0.0, 30))
    book.compare(DeliveryLog(110, (0.1,) * 95 + (7.6,)))
    assert book.in_flight_net_u(1.2, 110) == pytest.approx(2.5)
    book.record(PumpCommand(3, 110, 1.2, 0.0, 30))
    book.compare(DeliveryLog(115, (0.1,) * 95 + (2.6,)))
    assert book.in_flight_net_u(1.2, 115) == pytest.approx(0.0)
    assert not book.is_mismatched


def test_delivery_that_is_not_what_was_commanded_is_noticed() -> None:
    book = ledger.Ledger()
    book.compare(DeliveryLog(100, (0.1,) * 96))
    for step in range(7):
        book.record(PumpCommand(step + 1, 100 + 5 * step, 3.6, 0.0, 30))
        book.compare(DeliveryLog(110 + 5 * step, (0.1,) * 96))
    assert book.is_mismatched
