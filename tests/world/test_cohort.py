"""Cohorts are seeded, adult, and treatable."""

from __future__ import annotations

import random

import pytest

from world.chance import bell, spread, stream
from world.cohort import BASAL_RANGE_U_PER_H, COHORT_PATIENTS, cohort, patient_parameters, tuned


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_every_patient_is_an_adult_with_settings_that_a_clinic_would_believe(seed: int) -> None:
    for parameters in cohort(seed):
        settings = tuned(parameters)
        assert BASAL_RANGE_U_PER_H[0] <= settings.basal_u_per_h <= BASAL_RANGE_U_PER_H[1]
        assert 5.0 < settings.carb_ratio_g_per_u < 25.0
        assert 18.0 < settings.correction_mg_dl_per_u < 80.0


def test_the_same_seed_gives_the_same_patients_and_another_seed_others() -> None:
    assert cohort(7) == cohort(7)
    assert not set(cohort(7)) & set(cohort(8))
    assert len(set(cohort(7))) == COHORT_PATIENTS


def test_a_patient_does_not_depend_on_who_else_is_drawn_or_on_global_chance() -> None:
    random.seed(1)
    alone = patient_parameters(7, 3)
    random.seed(2)
    assert alone == cohort(7)[3]


@pytest.mark.parametrize("index", [-1, COHORT_PATIENTS])
def test_a_patient_outside_the_cohort_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="outside the cohort; choose 0 to 9"):
        patient_parameters(7, index)


def test_bell_has_mean_nought_and_deviation_one() -> None:
    rng = stream("bell")
    draws = [bell(rng) for _ in range(20_000)]
    mean = sum(draws) / len(draws)
    assert abs(mean) < 0.03
    assert sum((d - mean) ** 2 for d in draws) / len(draws) == pytest.approx(1.0, abs=0.03)
    assert all(1.0 <= spread(rng, 2.0, 5.0, 1.0, 3.0) <= 3.0 for _ in range(100))
