"""The safety limiter: the only code that makes a ``PumpCommand``.

It does not trust the controller and shares no decision with it. What it enforces:

- no dosing on a glucose that is not usable: profile basal instead
- no dosing while insulin on board is unknown (a new life without a delivery log): profile basal, no bolus
- nothing at all while glucose is, or is about to be, below the suspend threshold
- rate <= min(basal_max, daily factor x daily maximum, current factor x profile)
- bolus <= bolus_max, micro-bolus <= micro_bolus_max, both in whole motor steps
- insulin on board, the bolus included, <= insulin_on_board_max; above it the rate is the profile's
- any number that is not finite: profile basal, no bolus

The limits are read from the one ``SafetyLimits`` that the process holds, each time.
"""

from __future__ import annotations

from typing import NamedTuple

from controller import Wish
from ipc_schemas.insulin_pump import Mode, PumpCommand
from ipc_schemas.prescription import Prescription, SafetyLimits

VALID_FOR_MIN = 30
SLOTS_PER_H = 12.0
STEP_U = 0.05
#: The largest values that a command can carry at all.
COMMAND_BASAL_MAX_U_PER_H = 35.0
COMMAND_BOLUS_MAX_U = 50.0
_HUGE = 1e9


class Facts(NamedTuple):
    """What the limiter judges by. ``glucose_mg_dl`` is ``None`` when no usable reading is at hand."""

    now_min: int
    glucose_mg_dl: float | None
    predicted_mg_dl: float
    insulin_on_board_u: float
    is_insulin_known: bool
    is_delivery_trusted: bool


class Limited(NamedTuple):
    """The command that goes out, and in which mode."""

    command: PumpCommand
    mode: Mode


def limit(wish: Wish | None, facts: Facts, settings: Prescription, command_id: int) -> Limited:
    """Turn a wish into a command within the limits. ``None`` wishes for profile basal."""
    limits = settings.limits
    profile = _rate_within(settings.basal_profile_u_per_h, settings.basal_profile_u_per_h, limits)
    if not facts.is_insulin_known:
        return _command(command_id, facts.now_min, profile, 0.0, Mode.WARMING_UP)
    if facts.glucose_mg_dl is None or wish is None or not facts.is_delivery_trusted:
        return _command(command_id, facts.now_min, profile, 0.0, Mode.FALLBACK_BASAL)
    if not _all_finite(*wish, facts.glucose_mg_dl, facts.predicted_mg_dl, facts.insulin_on_board_u):
        return _command(command_id, facts.now_min, profile, 0.0, Mode.FALLBACK_BASAL)
    if min(facts.glucose_mg_dl, facts.predicted_mg_dl) < limits.suspend_below_mg_dl:
        return _command(command_id, facts.now_min, 0.0, 0.0, Mode.SUSPENDED_LOW)
    headroom = max(0.0, limits.insulin_on_board_max_u - max(0.0, facts.insulin_on_board_u))
    bolus = min(wish.micro_bolus_u, limits.micro_bolus_max_u) + wish.meal_bolus_u
    bolus = _whole_steps(min(bolus, limits.bolus_max_u, headroom))
    rate = _rate_within(wish.basal_u_per_h, settings.basal_profile_u_per_h, limits)
    rate = min(rate, max(profile, profile + (headroom - bolus) * SLOTS_PER_H))
    return _command(command_id, facts.now_min, rate, bolus, Mode.CLOSED_LOOP)


def _rate_within(rate_u_per_h: float, profile_u_per_h: float, limits: SafetyLimits) -> float:
    return min(
        rate_u_per_h,
        limits.basal_max_u_per_h,
        limits.daily_basal_factor * limits.daily_basal_max_u_per_h,
        limits.current_basal_factor * profile_u_per_h,
    )


def _command(command_id: int, now_min: int, rate: float, bolus: float, mode: Mode) -> Limited:
    """The last word: what is negative or not finite becomes nothing; what is too large, the largest."""
    rate = min(rate, COMMAND_BASAL_MAX_U_PER_H) if _all_finite(rate) and rate > 0.0 else 0.0
    bolus = min(bolus, COMMAND_BOLUS_MAX_U) if _all_finite(bolus) and bolus > 0.0 else 0.0
    return Limited(PumpCommand(command_id, now_min, rate, bolus, VALID_FOR_MIN), mode)


def _all_finite(*values: float) -> bool:
    """Comparisons with NaN are false, so NaN fails this as infinity does."""
    return all(-_HUGE < value < _HUGE for value in values)


def _whole_steps(units: float) -> float:
    """Down to a multiple of the motor's step."""
    if not _all_finite(units) or units <= 0.0:
        return 0.0
    return round(int(units / STEP_U + 1e-6) * STEP_U, 2)
