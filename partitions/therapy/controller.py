"""What insulin the patient should get: prediction, temporary basal rate, micro-bolus, meal bolus.

Pure: values in, a ``Wish`` out. It may be wrong; ``limiter`` is what stands between it and the pump.

    predicted(h) = G - CF (IOB(0) - IOB(h)) + rise(CF (COB(0) - COB(h)) / CR, momentum(h))

Momentum is the part of the last quarter of an hour's change that insulin and carbohydrate do not explain; it
fades out within an hour. Insulin wanted is what takes the lowest prediction to the target; a part goes as a
micro-bolus now, the rest as a temporary rate.
"""

from __future__ import annotations

from typing import NamedTuple

from carbs_on_board import CarbsOnBoard
from insulin_on_board import HORIZONS_SLOTS, OnBoard, add_up
from ipc_schemas.prescription import Prescription

#: Unexplained change fades linearly over an hour: 12 slots of weight 11/12, 10/12, .. 0 come to 5.5.
_FADING = tuple(
    add_up(max(0.0, 1.0 - slot / 12.0) for slot in range(1, ahead + 1)) for ahead in HORIZONS_SLOTS
)
MOMENTUM_MAX_MG_DL_PER_SLOT = 15.0
MICRO_BOLUS_SHARE = 0.3
MEAL_BOLUS_SHARE = 0.9
#: A temporary rate makes up the wanted insulin within half an hour.
RATE_PER_H = 2.0


class Prediction(NamedTuple):
    """Glucose in mg/dL: at half an hour, at its lowest, and when all insulin and carbohydrate have acted."""

    in_half_an_hour_mg_dl: float
    in_an_hour_mg_dl: float
    lowest_mg_dl: float
    eventual_mg_dl: float


class Wish(NamedTuple):
    """What the controller would do if nobody limited it."""

    basal_u_per_h: float
    micro_bolus_u: float
    meal_bolus_u: float


def predict(
    glucose_mg_dl: float,
    change_15_min_mg_dl: float | None,
    insulin: OnBoard,
    carbs: CarbsOnBoard,
    now_min: int,
    settings: Prescription,
) -> Prediction:
    """Where glucose goes with nothing but profile basal from here on. ``change`` is ``None`` when unknown."""
    factor = settings.correction_mg_dl_per_u
    per_gram = factor / settings.carb_ratio_g_per_u
    units, grams = insulin.units, carbs.grams(now_min)
    momentum = 0.0
    if change_15_min_mg_dl is not None:
        absorbed_g = carbs.grams(now_min, -3) - grams
        explained = absorbed_g * per_gram - insulin.acted_in_15_min_u() * factor
        momentum = (change_15_min_mg_dl - explained) / 3.0
        momentum = max(-MOMENTUM_MAX_MG_DL_PER_SLOT, min(MOMENTUM_MAX_MG_DL_PER_SLOT, momentum))
    course = [
        glucose_mg_dl
        - (units - units_left) * factor
        + _rise((grams - grams_left) * per_gram, momentum * fading)
        for units_left, grams_left, fading in zip(
            insulin.left_at_horizons(), carbs.left_at_horizons(now_min), _FADING, strict=True
        )
    ]
    return Prediction(course[0], course[1], min(course), course[-1])


def _rise(by_carbs_mg_dl: float, by_momentum_mg_dl: float) -> float:
    """An unexplained rise while carbohydrate is on board is most likely that carbohydrate, come early.

    So the larger of the two counts, not both: counting both stacks insulin after every meal. A fall adds.
    """
    if by_momentum_mg_dl <= 0.0:
        return by_carbs_mg_dl + by_momentum_mg_dl
    return max(by_carbs_mg_dl, by_momentum_mg_dl)


def decide(
    glucose_mg_dl: float,
    prediction: Prediction,
    target_mg_dl: float,
    meal_g: float,
    insulin_u: float,
    carbs_g: float,
    settings: Prescription,
) -> Wish:
    """Doses for five minutes. ``meal_g`` is announced and not yet bolused; ``carbs_g`` leaves it out."""
    profile = settings.basal_profile_u_per_h
    factor, ratio = settings.correction_mg_dl_per_u, settings.carb_ratio_g_per_u
    if meal_g > 0.0:
        correction = (glucose_mg_dl - target_mg_dl) / factor
        uncovered = max(0.0, insulin_u - carbs_g / ratio)
        bolus = MEAL_BOLUS_SHARE * meal_g / ratio + correction - uncovered
        return Wish(profile, 0.0, max(0.0, bolus))
    wanted = (min(prediction.lowest_mg_dl, prediction.eventual_mg_dl) - target_mg_dl) / factor
    if wanted <= 0.0:
        return Wish(max(0.0, profile + RATE_PER_H * wanted), 0.0, 0.0)
    micro = MICRO_BOLUS_SHARE * wanted
    return Wish(profile + RATE_PER_H * (wanted - micro), micro, 0.0)
