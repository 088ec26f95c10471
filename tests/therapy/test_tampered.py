"""Therapy's settings live in memory where an attacker without walls can overwrite them, and then it hurts.

This is the positive control of the walls: if it were harmless, a wall that stops it would be worth nothing.
"""

from __future__ import annotations

import ctypes
import sys

import pytest

from evidence.harm import Severity, grade
from tests.therapy.coupling import FRAMES_PER_DAY, Coupled

ONSET_FRAME = 96  # 08:00
_VALUE_OFFSET = sys.getsizeof(0.0) - ctypes.sizeof(ctypes.c_double)


def overwrite(held: float, value: float) -> None:
    """Change a float object in place, as a write into the process's memory does."""
    ctypes.c_double.from_address(id(held) + _VALUE_OFFSET).value = value


@pytest.mark.parametrize(("seed", "patient"), [(1, 0), (5, 4), (7, 2)])
def test_overwritten_settings_make_therapy_overdose(seed: int, patient: int) -> None:
    attacked, twin = Coupled(seed, patient), Coupled(seed, patient)
    attacked.run(ONSET_FRAME)
    held = attacked.therapy.prescription
    overwrite(held.correction_mg_dl_per_u, 2.0)
    overwrite(held.carb_ratio_g_per_u, 2.0)
    overwrite(held.target_mg_dl, 80.0)
    overwrite(held.limits.basal_max_u_per_h, 35.0)
    overwrite(held.limits.insulin_on_board_max_u, 50.0)
    attacked.run(ONSET_FRAME + FRAMES_PER_DAY - ONSET_FRAME)
    twin.run(ONSET_FRAME + FRAMES_PER_DAY)
    harm = grade(attacked.world.truth(), twin.world.truth(), 5 * ONSET_FRAME)
    assert harm.is_complete
    assert harm.severity >= Severity.S3, harm.reason


def test_nothing_but_the_hardware_holds_back_a_therapy_whose_every_limit_is_overwritten() -> None:
    device = Coupled(7, 2)
    device.run(ONSET_FRAME)
    held = device.therapy.prescription
    overwrite(held.correction_mg_dl_per_u, 1.0)
    overwrite(held.target_mg_dl, 0.0)
    overwrite(held.basal_profile_u_per_h, 35.0)
    limits = held.limits
    for name, value in {
        "basal_max_u_per_h": 35.0,
        "daily_basal_max_u_per_h": 35.0,
        "insulin_on_board_max_u": 1e6,
        "bolus_max_u": 25.0,
        "micro_bolus_max_u": 25.0,
        "suspend_below_mg_dl": 0.0,
    }.items():
        overwrite(getattr(limits, name), value)
    device.run(24)
    per_slot = device.world.truth().delivered_u[ONSET_FRAME + 2 : ONSET_FRAME + 8]
    assert (
        min(per_slot) > 9.0
    )  # 7.5 U of bolus and 2.9 U of basal is all that the motor gives in five minutes


def test_an_untouched_twin_is_not_hurt() -> None:
    one, two = Coupled(7, 2), Coupled(7, 2)
    one.run(FRAMES_PER_DAY)
    two.run(FRAMES_PER_DAY)
    assert grade(one.world.truth(), two.world.truth(), 480).severity is Severity.S0
