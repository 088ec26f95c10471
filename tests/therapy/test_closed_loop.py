"""World and therapy joined over the design's ports: patients are treated well, also when things fail."""

from __future__ import annotations

import itertools

import pytest

from evidence.glycaemia import glycaemia
from ipc_schemas.insulin_pump import AlarmCode, Mode
from tests.therapy.coupling import FRAMES_PER_DAY, Coupled, collect
from world.cohort import COHORT_PATIENTS


@pytest.mark.parametrize("seed", [1, 7])
@pytest.mark.parametrize("patient", range(COHORT_PATIENTS))
def test_every_patient_is_in_range_most_of_the_day_and_never_very_low(seed: int, patient: int) -> None:
    device = Coupled(seed, patient)
    device.run(FRAMES_PER_DAY)
    found = glycaemia(device.world.truth().glucose_mg_dl)
    assert found.in_range_percent > 75.0
    assert found.below_54_percent == 0.0


def test_a_week_goes_as_well_as_a_day() -> None:
    device = Coupled(11, 5)
    device.run(7 * FRAMES_PER_DAY)
    found = glycaemia(device.world.truth().glucose_mg_dl)
    assert found.in_range_percent > 75.0
    assert found.below_54_percent == 0.0


def test_two_runs_of_one_seed_are_the_same_to_the_last_bit() -> None:
    one, two = Coupled(3), Coupled(3)
    one.run(150)
    two.run(150)
    assert one.world.truth() == two.world.truth()


def test_therapy_does_not_need_transfer() -> None:
    device = Coupled(7, with_transfer=False)
    device.run(FRAMES_PER_DAY)
    assert glycaemia(device.world.truth().glucose_mg_dl).in_range_percent > 75.0


def test_the_clinicians_target_and_the_walk_reach_therapy_and_go_again() -> None:
    device = Coupled(7)
    statuses = collect(device, "therapy.status")
    device.run(FRAMES_PER_DAY)
    target = {status.at_min: status.target_mg_dl for status in statuses}
    assert target[840 + 5] == 150.0
    assert target[300] == 110.0
    assert target[1430] == 110.0
    assert min(target.values()) >= 110.0
    assert max(t for at, t in target.items() if 990 <= at <= 1110) > 130.0


def test_a_failed_sensor_means_profile_basal_and_an_alarm() -> None:
    device = Coupled(7)
    device.run(100)
    device.world.sensor.fails = True
    commands = collect(device, "therapy.pump_command")
    device.run(24)
    basal = device.world.settings.basal_u_per_h
    assert {(c.basal_u_per_h, c.bolus_u) for c in commands[1:]} == {(basal, 0.0)}
    assert AlarmCode.SENSOR_LOST in {alarm.code for alarm in device.world.truth().alarms}
    statuses = collect(device, "therapy.status")
    device.run(1)
    assert statuses[0].mode is Mode.FALLBACK_BASAL


def test_a_noisy_sensor_means_profile_basal_and_its_own_alarm() -> None:
    device = Coupled(7)
    device.run(100)
    device.world.sensor.is_noisy_forced = True
    device.run(3)
    commands = collect(device, "therapy.pump_command")
    device.run(5)
    assert {c.bolus_u for c in commands} == {0.0}
    assert AlarmCode.SENSOR_NOISY in {alarm.code for alarm in device.world.truth().alarms}


def test_an_occlusion_is_alarmed_and_stops_boluses() -> None:
    device = Coupled(7)
    device.run(100)
    device.world.pump.is_occluded = True
    device.run(2)
    commands = collect(device, "therapy.pump_command")
    device.run(12)
    assert {c.bolus_u for c in commands} == {0.0}
    assert AlarmCode.OCCLUSION in {alarm.code for alarm in device.world.truth().alarms}


def test_an_alarm_is_not_repeated_within_half_an_hour() -> None:
    device = Coupled(7)
    device.run(50)
    device.world.sensor.fails = True
    device.run(36)
    times = [a.at_min for a in device.world.truth().alarms if a.code == AlarmCode.SENSOR_LOST]
    assert len(times) >= 3
    assert all(b - a >= 30 for a, b in itertools.pairwise(times))


def test_settings_go_out_at_power_on_and_every_hour() -> None:
    device = Coupled(7)
    found = collect(device, "therapy.settings")
    device.run(25)
    assert [settings.at_min for settings in found] == [0, 60, 120]
    assert found[0].basal_profile_u_per_h == device.world.settings.basal_u_per_h
