"""The day of the patient and of the clinic."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from world.meals import Clinician, meals_of_day, steps_per_min, walk_of_day


@pytest.mark.parametrize("day", [0, 3])
def test_a_day_has_breakfast_lunch_snack_and_dinner_in_that_order(day: int) -> None:
    for seed in range(20):
        meals = meals_of_day(seed, 0, day)
        starts = [meal.starts_at_min - 1440 * day for meal in meals]
        assert starts == sorted(starts)
        assert 420 <= starts[0] <= 465
        assert all(meal.carbs_g > 5.0 and 0.0 <= meal.announced_g <= 300.0 for meal in meals)
    assert meals_of_day(1, 0, day) != meals_of_day(1, 1, day)


def test_the_patient_counts_carbohydrate_with_an_error_that_is_right_on_average() -> None:
    meals = [meal for seed in range(200) for meal in meals_of_day(seed, 0, 0)]
    ratios = [meal.announced_g / meal.carbs_g for meal in meals]
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.03)
    assert max(ratios) > 1.2
    assert min(ratios) < 0.8


def test_the_patient_walks_in_the_afternoon_and_sleeps_at_night() -> None:
    steps = steps_per_min(7, 0, 0)
    first, last = walk_of_day(7, 0, 0)
    assert all(s >= 90.0 for s in steps[first:last])
    assert sum(steps[:360]) == 0.0


def test_a_request_verifies_under_the_clinicians_key_and_not_when_altered() -> None:
    clinician = Clinician(7)
    key = Ed25519PublicKey.from_public_bytes(clinician.public_key)
    morning, afternoon = clinician.requests_of_day(0)
    key.verify(afternoon.signature, afternoon.signed_bytes())
    assert (afternoon.starts_at_min, afternoon.target_mg_dl, afternoon.duration_min) == (840, 150.0, 120)
    assert morning.counter < afternoon.counter < clinician.requests_of_day(1)[0].counter
    with pytest.raises(InvalidSignature):
        key.verify(morning.signature, afternoon.signed_bytes())
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(Clinician(8).public_key).verify(
            afternoon.signature, afternoon.signed_bytes()
        )
