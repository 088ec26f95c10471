"""A new life of therapy: insulin on board is rebuilt from the pump, and nothing is dosed twice."""

from __future__ import annotations

from typing import Any

import pytest

from ipc_schemas.codec import encode
from ipc_schemas.insulin_pump import AlarmCode, MealAnnouncement, Mode, PumpCommand
from tests.therapy.coupling import Coupled, collect, image_module
from world.meals import meals_of_day

iob = image_module("therapy", "insulin_on_board")
SEED, PATIENT = 7, 2


def breakfast_frame() -> int:
    """The frame in which therapy sees breakfast announced."""
    device = Coupled(SEED, PATIENT)
    seen: list[int] = []
    device.spy = lambda frame, port, _message: seen.append(frame) if port == "world.meals" else None
    device.run(110)
    return seen[0] + 1


def run(until: int, restart_at: tuple[int, ...] = ()) -> tuple[Coupled, list[Any], list[PumpCommand]]:
    device = Coupled(SEED, PATIENT)
    statuses: list[Any] = []
    commands: list[PumpCommand] = []

    def spy(_frame: int, port: str, message: Any) -> None:
        if port == "therapy.status":
            statuses.append(message)
        elif port == "therapy.pump_command":
            commands.append(message)

    device.spy = spy
    for frame in restart_at:
        device.run(frame - device.frame)
        device.restart_therapy()
    device.run(until - device.frame)
    return device, statuses, commands


@pytest.mark.parametrize("after", [1, 2, 3, 6, 20, 60])
@pytest.mark.parametrize("is_restarted", [True, False])
def test_insulin_on_board_is_that_of_the_true_delivery(after: int, is_restarted: bool) -> None:
    """Once warm, a new life knows what an old one knows: the world's truth, within a motor step."""
    frame = breakfast_frame() + after
    device, statuses, commands = run(frame + 4, (frame,) if is_restarted else ())
    now_min = statuses[-1].at_min
    basal_u = device.world.settings.basal_u_per_h / 12.0
    shown = device.world.truth().delivered_u[: now_min // 5]
    net = sum((u - basal_u) * iob.remaining(now_min - 5 * k - 2.5) for k, u in enumerate(shown))
    underway = next(c for c in commands if c.at_min == now_min - 5)
    net += underway.basal_u_per_h / 12.0 - basal_u + underway.bolus_u
    assert statuses[-1].mode is not Mode.WARMING_UP
    assert device.therapy.insulin.units == pytest.approx(net, abs=0.05)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 6])
def test_a_restart_around_a_meal_bolus_never_doses_it_twice(after: int) -> None:
    frame = breakfast_frame()
    until = frame + 14
    usual, _, plain = run(until)
    _, _, restarted = run(until, (frame + after,))
    meal = meals_of_day(SEED, PATIENT, 0)[0]
    bolus = meal.announced_g / usual.world.settings.carb_ratio_g_per_u
    given, usually = (
        sum(c.bolus_u for c in commands if c.at_min >= 5 * frame) for commands in (restarted, plain)
    )
    assert given <= usually + 0.25 * bolus
    assert sum(c.bolus_u > 0.5 * bolus for c in restarted) <= 1


def test_a_meal_that_is_announced_again_after_a_restart_gets_no_second_bolus() -> None:
    """The worst case: the new life is shown the announcement although the old one has dosed on it."""
    frame = breakfast_frame()
    device = Coupled(SEED, PATIENT)
    device.run(frame)
    kept = dict(device.lines["therapy"].visible)
    meals = device.lines["therapy"].ports.inputs["meals"].card.number
    device.run(1)
    device.restart_therapy()
    device.lines["therapy"].visible[meals] = kept[meals]
    commands = collect(device, "therapy.pump_command")
    device.run(8)
    assert kept[meals][1]
    bolus = meals_of_day(SEED, PATIENT, 0)[0].announced_g / device.world.settings.carb_ratio_g_per_u
    assert max(c.bolus_u for c in commands) < 0.25 * bolus


def test_a_bolus_that_a_limit_cut_short_is_not_made_up_for_in_the_next_window() -> None:
    device = Coupled(SEED, PATIENT)
    device.run(60)
    number = device.lines["therapy"].ports.inputs["meals"].card.number
    device.lines["therapy"].visible[number] = (59, [encode(MealAnnouncement(at_min=300, carbs_g=300.0))])
    commands = collect(device, "therapy.pump_command")
    device.run(6)
    limits = device.therapy.prescription.limits
    assert commands[0].bolus_u == pytest.approx(limits.bolus_max_u, abs=0.05)
    assert max(c.bolus_u for c in commands[1:]) <= limits.micro_bolus_max_u


@pytest.mark.parametrize("at_min", [240, 360])
def test_a_meal_that_is_not_about_now_gets_no_bolus(at_min: int) -> None:
    device = Coupled(SEED, PATIENT)
    device.run(60)
    number = device.lines["therapy"].ports.inputs["meals"].card.number
    device.lines["therapy"].visible[number] = (59, [encode(MealAnnouncement(at_min=at_min, carbs_g=80.0))])
    commands = collect(device, "therapy.pump_command")
    device.run(6)
    assert max(c.bolus_u for c in commands) <= device.therapy.prescription.limits.micro_bolus_max_u


def test_a_new_life_warms_up_on_profile_basal_and_says_that_it_restarted() -> None:
    device, statuses, commands = run(100, (98,))
    basal = device.world.settings.basal_u_per_h
    assert [status.mode for status in statuses[98:100]] == [Mode.WARMING_UP] * 2
    assert [(c.basal_u_per_h, c.bolus_u) for c in commands[-2:]] == [(basal, 0.0)] * 2
    device.run(3)
    assert statuses[-1].mode is not Mode.WARMING_UP
    codes = [alarm.code for alarm in device.world.truth().alarms]
    assert codes.count(AlarmCode.RESTARTED) == 1


def test_command_numbers_go_on_from_the_pump_and_the_pump_never_starves() -> None:
    device, _, commands = run(150, (60, 61, 62, 90, 120))
    assert device.world.pump.last_command_id >= commands[-2].command_id
    assert device.world.truth().suspended_min == ()


def test_power_on_is_no_restart() -> None:
    device, statuses, _ = run(5)
    assert AlarmCode.RESTARTED not in {alarm.code for alarm in device.world.truth().alarms}
    assert statuses[4].mode is Mode.CLOSED_LOOP
