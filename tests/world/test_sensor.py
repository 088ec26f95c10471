"""The sensor errs as a real one does, and the same way for the same seed."""

from __future__ import annotations

import itertools

from world.sensor import HIGHEST_MG_DL, LOWEST_MG_DL, Sensor


def errors(seed: int, count: int = 576) -> list[float]:
    sensor = Sensor(seed, 0)
    return [sensor.read(120.0, 5 * k).glucose_mg_dl - 120.0 for k in range(count)]


def test_mean_absolute_relative_difference_is_that_of_a_good_sensor() -> None:
    shares = [abs(e) / 120.0 for seed in range(20) for e in errors(seed)]
    assert 0.02 < sum(shares) / len(shares) < 0.09


def test_noise_of_neighbouring_readings_goes_together() -> None:
    """Differences take the slow drift out. Theirs correlate by -0.5 for white noise, by -0.15 at 0.7."""
    found = [b - a for seed in range(10) for a, b in itertools.pairwise(errors(seed))]
    together = sum(a * b for a, b in itertools.pairwise(found))
    assert together / sum(d * d for d in found) > -0.3


def test_the_seed_decides_every_reading() -> None:
    assert errors(3) == errors(3)
    assert errors(3) != errors(4)


def test_readings_stay_within_the_display_and_noise_is_owned_up_to() -> None:
    low, high = Sensor(1, 0), Sensor(1, 0)
    assert low.read(5.0, 0).glucose_mg_dl == LOWEST_MG_DL
    assert high.read(900.0, 0).glucose_mg_dl == HIGHEST_MG_DL
    noises = {Sensor(seed, 0).read(120.0, 0).noise for seed in range(1000)}
    assert noises == {1, 3}


def test_a_failed_sensor_shows_its_error_code() -> None:
    sensor = Sensor(1, 0)
    sensor.fails = True
    assert sensor.read(120.0, 5).glucose_mg_dl == 38.0
