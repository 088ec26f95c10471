"""Seeded adult patients, and the basal rate, carbohydrate ratio and correction factor tuned for each.

The means are the paper's (Hovorka et al. 2004). Its six subjects differ widely; the deviations here are of
that order but narrower, because a demonstration needs adults who can be treated at all. The paper's mean
patient is very sensitive to insulin (0.39 U/h), so the three sensitivities share a factor with median 0.45,
and a draw counts only if its basal rate is an adult's (0.6 .. 1.6 U/h).
"""

from __future__ import annotations

from functools import lru_cache
from random import Random
from typing import NamedTuple

from world.chance import spread, stream
from world.patient import (
    MG_DL_PER_MMOL_L,
    MU_PER_U,
    Patient,
    PatientParameters,
    PatientState,
    insulin_holding,
    steady_state,
)

COHORT_PATIENTS = 10
FASTING_MG_DL = 110.0
#: Where a correction is tried out: insulin does more at raised glucose, which is when corrections are given.
CORRECTED_FROM_MG_DL = 150.0
BASAL_RANGE_U_PER_H = (0.6, 1.6)
DRAWS_MAX = 200
#: How long an insulin dose is watched when settings are tuned: the action time that therapy assumes.
TUNING_MIN = 360
TUNING_MEAL_G = 50.0
TUNING_MEAL_EATEN_MIN = 15


class Settings(NamedTuple):
    """What a clinician would prescribe for one patient."""

    basal_u_per_h: float
    carb_ratio_g_per_u: float
    correction_mg_dl_per_u: float


def cohort(seed: int) -> list[PatientParameters]:
    """The patients of this seed. Each has its own stream, so patient 3 is the same whoever else is drawn."""
    return [patient_parameters(seed, index) for index in range(COHORT_PATIENTS)]


def patient_parameters(seed: int, index: int) -> PatientParameters:
    """Patient ``index`` of the cohort. Raises ``ValueError`` outside 0 .. ``COHORT_PATIENTS`` - 1."""
    if not 0 <= index < COHORT_PATIENTS:
        raise ValueError(f"patient {index} is outside the cohort; choose 0 to {COHORT_PATIENTS - 1}")
    rng = stream("cohort", seed, index)
    for _ in range(DRAWS_MAX):
        drawn = _draw(rng)
        if BASAL_RANGE_U_PER_H[0] <= _basal_u_per_h(drawn) <= BASAL_RANGE_U_PER_H[1]:
            return drawn
    raise ValueError(f"no adult among {DRAWS_MAX} draws for patient {index} of seed {seed}")


def _draw(rng: Random) -> PatientParameters:
    sensitivity = spread(rng, 0.45, 0.12, 0.2, 0.8)
    return PatientParameters(
        weight_kg=spread(rng, 75.0, 9.0, 52.0, 100.0),
        egp0_mmol_per_kg_min=spread(rng, 0.0161, 0.0012, 0.013, 0.0195),
        f01_mmol_per_kg_min=spread(rng, 0.0097, 0.0009, 0.0075, 0.0118),
        k12_per_min=spread(rng, 0.066, 0.010, 0.04, 0.095),
        ka1_per_min=spread(rng, 0.006, 0.0012, 0.003, 0.0095),
        ka2_per_min=spread(rng, 0.06, 0.012, 0.03, 0.1),
        ka3_per_min=spread(rng, 0.03, 0.006, 0.015, 0.05),
        si1_per_min_per_mu_l=sensitivity * spread(rng, 51.2e-4, 7e-4, 30e-4, 75e-4),
        si2_per_min_per_mu_l=sensitivity * spread(rng, 8.2e-4, 1.5e-4, 4e-4, 14e-4),
        si3_per_mu_l=sensitivity * spread(rng, 520e-4, 80e-4, 300e-4, 800e-4),
        ke_per_min=spread(rng, 0.138, 0.012, 0.1, 0.175),
        vi_l_per_kg=spread(rng, 0.12, 0.008, 0.095, 0.145),
        vg_l_per_kg=spread(rng, 0.16, 0.01, 0.13, 0.19),
        ti_min=spread(rng, 55.0, 5.0, 42.0, 70.0),
        tg_min=spread(rng, 40.0, 5.0, 28.0, 55.0),
        ag=0.8,
    )


def _basal_u_per_h(p: PatientParameters) -> float:
    insulin = insulin_holding(p, FASTING_MG_DL / MG_DL_PER_MMOL_L)
    return insulin * p.ke_per_min * p.vi_l_per_kg * p.weight_kg * 60.0 / MU_PER_U


def fasting_state(p: PatientParameters, glucose_mg_dl: float = FASTING_MG_DL) -> tuple[PatientState, float]:
    """The patient asleep at this glucose, and the basal rate in U/h that keeps it so."""
    state, rate_mu_per_min = steady_state(p, insulin_holding(p, glucose_mg_dl / MG_DL_PER_MMOL_L))
    return state, rate_mu_per_min * 60.0 / MU_PER_U


@lru_cache(maxsize=64)
def tuned(p: PatientParameters) -> Settings:
    """Settings found on the patient itself by simulation; about 0.1 s the first time.

    The correction factor is how far one unit takes a steady ``CORRECTED_FROM_MG_DL`` down. The carbohydrate
    ratio is such that a 50 g meal with its bolus ends where it began, ``TUNING_MIN`` later.
    """
    raised, lowest, _ = _course(p, *fasting_state(p, CORRECTED_FROM_MG_DL), bolus_u=1.0, carbs_g=0.0)
    state, basal = fasting_state(p)
    fasting = FASTING_MG_DL
    low, high = 0.5, 20.0
    for _ in range(14):
        bolus = 0.5 * (low + high)
        if _course(p, state, basal, bolus, TUNING_MEAL_G)[2] > fasting:
            low = bolus
        else:
            high = bolus
    return Settings(basal, TUNING_MEAL_G / (0.5 * (low + high)), raised - lowest)


def _course(
    p: PatientParameters, state: PatientState, basal_u_per_h: float, bolus_u: float, carbs_g: float
) -> tuple[float, float, float]:
    """First, lowest and last plasma glucose in mg/dL over ``TUNING_MIN`` after a bolus and a meal."""
    patient = Patient(p, state)
    first = lowest = patient.glucose_mg_dl
    basal = basal_u_per_h / 60.0
    for minute in range(TUNING_MIN):
        eaten = carbs_g / TUNING_MEAL_EATEN_MIN if minute < TUNING_MEAL_EATEN_MIN else 0.0
        patient.advance(basal + (bolus_u if minute == 0 else 0.0), eaten)
        if patient.glucose_mg_dl < lowest:
            lowest = patient.glucose_mg_dl
    return first, lowest, patient.glucose_mg_dl
