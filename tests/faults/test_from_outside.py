"""Faults that come from outside the device: what they do to the world's objects and to the run's processes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from faults.attacks import f04_sensor_fault as f04
from faults.outside import Stage
from world.sensor import Sensor

TISSUE_MG_DL = 120.0


def _world() -> Any:
    return SimpleNamespace(sensor=Sensor(1, 0))


def _readings(world: Any, count: int) -> list[float]:
    return [world.sensor.read(TISSUE_MG_DL, 5 * index).glucose_mg_dl for index in range(count)]


def test_f04_fails_for_its_readings_and_is_whole_again() -> None:
    world, honest = _world(), _readings(_world(), 6)
    whole = world.sensor
    assert f04.strike(Stage(1, world, 0), {"kind": "huge", "readings": 4}) == {"kind": "huge", "readings": 4}
    assert _readings(world, 6) == [f04.HUGE_MG_DL] * 4 + honest[4:]  # its errors went on as they would have
    assert world.sensor is whole


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("nan", lambda _: [math.nan] * 3),
        ("inf", lambda _: [math.inf] * 3),
        ("error", lambda _: [38.0] * 3),
        ("stuck", lambda honest: [honest[0]] * 3),
        ("drift", lambda honest: [honest[0] + 5.0, honest[1] + 10.0, honest[2] + 15.0]),
        ("bias", lambda honest: [value + 60.0 for value in honest]),
        ("spike", lambda honest: [honest[0] + 150.0, *honest[1:]]),
    ],
)
def test_f04_shows_what_its_kind_says(kind: str, shown: Any) -> None:
    world, honest = _world(), _readings(_world(), 3)
    f04.strike(Stage(1, world, 0), {"kind": kind})
    assert str(_readings(world, 3)) == str(shown(honest))


def test_f04_misses_a_world_without_a_sensor() -> None:
    assert "missed" in f04.strike(Stage(1, SimpleNamespace(), 0), {})
