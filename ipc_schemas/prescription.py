"""The reference therapy's configuration: one patient's prescription, as the clinic wrote it.

The world hands it to the device at power-on; therapy holds the decoded values for the life of the process.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ipc_schemas.insulin_pump import BasalUPerH, InsulinU, Message, TargetMgDl

_Meta = msgspec.Meta
Factor = Annotated[float, _Meta(ge=1.0, le=10.0)]


class SafetyLimits(Message, frozen=True, forbid_unknown_fields=True):
    """What the safety limiter enforces, whatever the controller wishes.

    ``suspend_below_mg_dl`` is target_low - 0.5 (target_low - 40). The rate is limited to the least of
    ``basal_max_u_per_h``, ``daily_basal_factor`` x the largest profile rate of the day, and
    ``current_basal_factor`` x the profile rate of the hour.
    """

    basal_max_u_per_h: BasalUPerH
    daily_basal_factor: Factor
    current_basal_factor: Factor
    daily_basal_max_u_per_h: BasalUPerH
    insulin_on_board_max_u: InsulinU
    bolus_max_u: InsulinU
    micro_bolus_max_u: InsulinU
    suspend_below_mg_dl: Annotated[float, _Meta(ge=40.0, le=120.0)]


class TargetBounds(Message, frozen=True, forbid_unknown_fields=True):
    """What a clinician's remote request and a wearable's hint may do to the target, and no more."""

    lowest_mg_dl: TargetMgDl
    highest_mg_dl: TargetMgDl
    duration_max_min: Annotated[int, _Meta(ge=5, le=1440)]
    activity_raise_max_mg_dl: Annotated[float, _Meta(ge=0.0, le=40.0)]
    clinician_key: Annotated[bytes, _Meta(min_length=32, max_length=32)]


class Prescription(Message, frozen=True, forbid_unknown_fields=True):
    """Settings of one patient, the limits on what may be done with them, and whose requests count.

    ``patient_record`` identifies the patient. Nothing that therapy sends contains it, so that wherever it turns up
    outside therapy, therapy's memory or files were read.
    """

    patient_record: Annotated[bytes, _Meta(max_length=64)]
    basal_profile_u_per_h: BasalUPerH
    carb_ratio_g_per_u: Annotated[float, _Meta(ge=1.0, le=200.0)]
    correction_mg_dl_per_u: Annotated[float, _Meta(ge=1.0, le=1000.0)]
    target_mg_dl: TargetMgDl
    limits: SafetyLimits
    targets: TargetBounds
