"""Pump hardware: it believes no one, doses nothing twice, and stops when nobody talks to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_schemas.insulin_pump import PumpCommand
from world.pump import BASAL_MAX_U_PER_H, BOLUS_MAX_U, LOG_SLOTS, RESERVOIR_U, WATCHDOG_MIN, Pump


def order(
    number: int, at_min: int = 0, basal: float = 0.0, bolus: float = 0.0, valid: int = 30
) -> PumpCommand:
    return PumpCommand(number, at_min, basal, bolus, valid)


def run(pump: Pump, minutes: int) -> float:
    return sum(pump.deliver() for _ in range(minutes))


def test_basal_rate_comes_out_in_motor_steps_with_nothing_lost() -> None:
    pump = Pump(0.0)
    pump.accept(order(1, basal=1.37), 0)
    given_u = 0.0
    for hour in range(10):
        for _ in range(12):
            pump.accept(order(pump.last_command_id + 1, at_min=0, basal=1.37), 0)
            given_u += run(pump, 5)
        assert given_u == pytest.approx(1.37 * (hour + 1), abs=0.051)  # one motor step


def test_a_repeated_command_never_doses_twice() -> None:
    pump = Pump(0.0)
    command = order(5, bolus=2.0)
    assert pump.accept(command, 0)
    assert not pump.accept(command, 0)
    assert not pump.accept(order(4, bolus=2.0), 0)
    assert run(pump, 10) == pytest.approx(2.0)


@pytest.mark.parametrize("at_min", [89, 101])
def test_a_command_from_the_past_or_the_future_is_refused(at_min: int) -> None:
    pump = Pump(0.0)
    assert not pump.accept(order(1, at_min=at_min, bolus=1.0), 100)
    assert run(pump, 10) == 0.0


def test_hardware_limits_hold_whatever_is_commanded() -> None:
    pump = Pump(0.0)
    pump.accept(order(1, basal=BASAL_MAX_U_PER_H, bolus=50.0), 0)
    pump.accept(order(2, basal=BASAL_MAX_U_PER_H, bolus=50.0), 0)
    assert pump.bolus_left_u == BOLUS_MAX_U
    per_minute = [pump.deliver() for _ in range(10)]
    assert max(per_minute) <= 1.5 + BASAL_MAX_U_PER_H / 60.0 + 0.05


def test_the_watchdog_suspends_after_fifteen_quiet_minutes_and_a_new_command_resumes() -> None:
    pump = Pump(1.2)
    assert run(pump, WATCHDOG_MIN) == pytest.approx(0.3)
    assert pump.is_suspended
    assert run(pump, 60) == 0.0
    assert pump.close_slot(75).basal_u_per_h == 0.0
    assert pump.accept(order(1, at_min=75, basal=1.2), 75)
    assert run(pump, 5) == pytest.approx(0.1)


def test_the_watchdog_is_not_fed_by_a_replayed_command() -> None:
    pump = Pump(1.2)
    command = order(1, basal=1.2)
    pump.accept(command, 0)
    for _ in range(WATCHDOG_MIN):
        pump.deliver()
        pump.accept(command, 0)
    assert pump.is_suspended


def test_the_watchdog_ends_a_bolus_too() -> None:
    pump = Pump(0.0)
    pump.accept(order(1, bolus=25.0), 0)
    assert run(pump, 60) == pytest.approx(1.5 * WATCHDOG_MIN)
    pump.accept(order(2), 0)
    assert run(pump, 10) == 0.0


def test_a_rate_lapses_with_its_validity() -> None:
    pump = Pump(0.0)
    pump.accept(order(1, basal=6.0, valid=5), 0)
    assert run(pump, 12) == pytest.approx(0.5)


def test_an_occlusion_delivers_nothing_and_says_so() -> None:
    pump = Pump(0.0)
    pump.accept(order(1, basal=1.2, bolus=3.0), 0)
    pump.is_occluded = True
    assert run(pump, 5) == 0.0
    status = pump.close_slot(5)
    assert status.is_occluded
    assert status.delivered_u == 0.0
    assert status.commanded_u == pytest.approx(3.1)


def test_the_log_holds_eight_hours_of_what_was_really_given() -> None:
    pump = Pump(1.2)
    assert sum(pump.log(0).delivered_u) == pytest.approx(8 * 1.2, abs=0.05)
    pump.accept(order(1, bolus=2.0), 0)
    given_u = run(pump, 5)
    pump.close_slot(5)
    log = pump.log(5)
    assert log.ends_at_min == 5
    assert len(log.delivered_u) == LOG_SLOTS
    assert log.delivered_u[-1] == pytest.approx(given_u)


def test_an_empty_reservoir_gives_no_more() -> None:
    pump = Pump(0.0)
    total = 0.0
    for number in range(1, 60):
        pump.accept(order(number, basal=35.0, bolus=25.0), 0)
        total += run(pump, 5)
    assert total == pytest.approx(RESERVOIR_U)
    assert pump.close_slot(5).reservoir_u == 0.0


@given(st.lists(st.tuples(st.floats(0.0, 35.0), st.floats(0.0, 50.0), st.integers(1, 10)), max_size=30))
def test_log_reservoir_and_delivery_always_agree(steps: list[tuple[float, float, int]]) -> None:
    pump = Pump(0.0)
    total, logged = 0.0, 0.0
    for number, (basal, bolus, minutes) in enumerate(steps, 1):
        pump.accept(order(number, basal=basal, bolus=bolus), 0)
        total += run(pump, minutes)
        logged += pump.close_slot(0).delivered_u
    assert logged == pytest.approx(total)
    assert pump.close_slot(0).reservoir_u == pytest.approx(RESERVOIR_U - total)
