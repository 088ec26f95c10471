"""The patient model against what must hold for any integration of its equations."""

from __future__ import annotations

import pytest

from world.cohort import CORRECTED_FROM_MG_DL, FASTING_MG_DL, cohort, fasting_state, tuned
from world.patient import (
    MG_DL_PER_MMOL_L,
    MMOL_PER_G_CARBS,
    Patient,
    PatientParameters,
    insulin_holding,
    steady_state,
)

DAY_MIN = 1440
SEED = 7
PATIENTS = cohort(SEED)


def test_nominal_patient_needs_the_basal_rate_of_the_paper() -> None:
    _, basal = fasting_state(PatientParameters(weight_kg=70.0))
    assert basal == pytest.approx(0.39, abs=0.01)


@pytest.mark.parametrize("index", range(len(PATIENTS)))
def test_fasting_patient_on_tuned_basal_stays_flat_for_a_day(index: int) -> None:
    state, basal = fasting_state(PATIENTS[index])
    patient = Patient(PATIENTS[index], state)
    for _ in range(DAY_MIN):
        patient.advance(basal / 60.0, 0.0)
        assert patient.glucose_mg_dl == pytest.approx(FASTING_MG_DL, abs=1e-3)


@pytest.mark.parametrize("index", [0, 4, 9])
def test_halving_the_step_changes_a_day_of_meals_by_less_than_a_hundredth(index: int) -> None:
    state, basal = fasting_state(PATIENTS[index])
    whole, half = Patient(PATIENTS[index], state), Patient(PATIENTS[index], state)
    ratio = tuned(PATIENTS[index]).carb_ratio_g_per_u
    worst = 0.0
    for minute in range(DAY_MIN):
        eaten = 60.0 / 15.0 if 420 <= minute < 435 or 1140 <= minute < 1155 else 0.0
        dose = basal / 60.0 + (60.0 / ratio / 5.0 if 420 <= minute < 425 or 1140 <= minute < 1145 else 0.0)
        whole.advance(dose, eaten)
        half.advance(dose, eaten, steps=2)
        worst = max(worst, abs(whole.glucose_mg_dl - half.glucose_mg_dl))
    assert 0.0 < worst < 0.01


@pytest.mark.parametrize("index", range(len(PATIENTS)))
def test_one_unit_lowers_glucose_by_the_correction_factor(index: int) -> None:
    state, basal = fasting_state(PATIENTS[index], CORRECTED_FROM_MG_DL)
    patient = Patient(PATIENTS[index], state)
    lowest = CORRECTED_FROM_MG_DL
    for minute in range(360):
        patient.advance(basal / 60.0 + (1.0 if minute == 0 else 0.0), 0.0)
        lowest = min(lowest, patient.glucose_mg_dl)
    assert CORRECTED_FROM_MG_DL - lowest == pytest.approx(
        tuned(PATIENTS[index]).correction_mg_dl_per_u, abs=1e-6
    )


@pytest.mark.parametrize("index", range(len(PATIENTS)))
def test_a_meal_with_its_bolus_ends_where_it_began(index: int) -> None:
    state, basal = fasting_state(PATIENTS[index])
    patient = Patient(PATIENTS[index], state)
    bolus = 50.0 / tuned(PATIENTS[index]).carb_ratio_g_per_u
    for minute in range(360):
        patient.advance(basal / 60.0 + (bolus if minute == 0 else 0.0), 50.0 / 15.0 if minute < 15 else 0.0)
    assert patient.glucose_mg_dl == pytest.approx(FASTING_MG_DL, abs=0.5)


def test_the_gut_neither_makes_nor_loses_glucose() -> None:
    parameters = PATIENTS[2]
    state, basal = fasting_state(parameters)
    patient = Patient(parameters, state)
    absorbed, part = 0.0, 20
    for minute in range(600):
        for _ in range(part):
            before = patient.state.d2_mmol
            patient.state = patient._step(basal * 1000.0 / 60.0, 4.0 if minute < 15 else 0.0, 1.0 / part)
            absorbed += 0.5 * (before + patient.state.d2_mmol) / parameters.tg_min / part
    assert absorbed + patient.gut_mmol == pytest.approx(60.0, abs=1e-3)


def test_carbohydrate_enters_the_gut_with_its_availability() -> None:
    parameters = PATIENTS[2]
    state, _ = fasting_state(parameters)
    patient = Patient(parameters, state)
    patient.advance(0.0, 10.0)
    assert patient.gut_mmol == pytest.approx(parameters.ag * 10.0 * MMOL_PER_G_CARBS, rel=0.01)


def test_without_insulin_glucose_climbs_and_with_far_too_much_it_falls_but_not_below_nothing() -> None:
    state, basal = fasting_state(PATIENTS[0])
    starved, drowned = Patient(PATIENTS[0], state), Patient(PATIENTS[0], state)
    for _ in range(720):
        starved.advance(0.0, 0.0)
        drowned.advance(40.0 * basal / 60.0, 0.0)
    assert starved.glucose_mg_dl > 250.0
    assert 0.0 <= drowned.glucose_mg_dl < 40.0


def test_an_insulin_that_holds_no_glucose_is_refused() -> None:
    parameters = PatientParameters(weight_kg=70.0)
    with pytest.raises(ValueError, match="no steady glucose"):
        steady_state(parameters, 100.0)
    insulin = insulin_holding(parameters, 6.0)
    state, _ = steady_state(parameters, insulin)
    assert Patient(parameters, state).glucose_mg_dl == pytest.approx(6.0 * MG_DL_PER_MMOL_L, abs=1e-6)
