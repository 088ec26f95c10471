"""The message types of the reference device, a closed-loop insulin pump.

Units stand last in a name. Glucose is in mg/dL at every port, insulin in units (U), time in whole minutes of
the device's logical clock since power-on. Every field is bounded on both sides; the bounds are what the
hardware or the body can produce, not what therapy would like.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

_Meta = msgspec.Meta
Minute = Annotated[int, _Meta(ge=0, le=5_256_000)]  # ten years
GlucoseMgDl = Annotated[float, _Meta(ge=0.0, le=1000.0)]
TargetMgDl = Annotated[float, _Meta(ge=80.0, le=200.0)]
InsulinU = Annotated[float, _Meta(ge=0.0, le=50.0)]
BasalUPerH = Annotated[float, _Meta(ge=0.0, le=35.0)]
CarbsG = Annotated[float, _Meta(ge=0.0, le=300.0)]
Counter = Annotated[int, _Meta(ge=0, le=0xFFFF_FFFF)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all messages: immutable, unknown fields refused."""


class CgmReading(Message, frozen=True):
    """Sensor to therapy. A reading of 38 or of 10 and less is the sensor's own error code, not a glucose."""

    measured_at_min: Minute
    glucose_mg_dl: GlucoseMgDl
    noise: Annotated[int, _Meta(ge=0, le=4)]  # 0 unknown, 1 clean .. 4 heavy


class PumpStatus(Message, frozen=True):
    """Pump to therapy: what the hardware did in the frame before."""

    at_min: Minute
    delivered_u: InsulinU
    commanded_u: InsulinU
    reservoir_u: Annotated[float, _Meta(ge=0.0, le=500.0)]
    basal_u_per_h: BasalUPerH
    last_command_id: Counter
    is_suspended: bool
    is_occluded: bool


class DeliveryLog(Message, frozen=True):
    """Pump to therapy: insulin really delivered per 5-minute slot, newest last, at most eight hours back.

    ``ends_at_min`` is the end of the newest slot. The log lives in the pump, so therapy can rebuild its
    insulin-on-board from it after a restart.
    """

    ends_at_min: Minute
    delivered_u: Annotated[tuple[InsulinU, ...], _Meta(max_length=96)]


class MealAnnouncement(Message, frozen=True):
    """Handset to therapy: the patient is about to eat."""

    at_min: Minute
    carbs_g: CarbsG


class PumpCommand(Message, frozen=True):
    """Therapy to pump: a basal rate that holds for ``valid_for_min``, and a bolus to give now."""

    command_id: Counter
    at_min: Minute
    basal_u_per_h: BasalUPerH
    bolus_u: InsulinU
    valid_for_min: Annotated[int, _Meta(ge=5, le=120)]


class AlarmPriority(enum.IntEnum):
    """IEC 60601-1-8 priorities."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


class AlarmCode(enum.StrEnum):
    """Why therapy raises an alarm."""

    SENSOR_LOST = "sensor_lost"
    SENSOR_NOISY = "sensor_noisy"
    GLUCOSE_LOW = "glucose_low"
    GLUCOSE_HIGH = "glucose_high"
    LOW_PREDICTED = "low_predicted"
    OCCLUSION = "occlusion"
    DELIVERY_MISMATCH = "delivery_mismatch"
    RESERVOIR_LOW = "reservoir_low"
    TARGET_REFUSED = "target_refused"
    RESTARTED = "restarted"


class Alarm(Message, frozen=True):
    """Therapy to handset."""

    at_min: Minute
    priority: AlarmPriority
    code: AlarmCode


class Mode(enum.StrEnum):
    """How therapy doses at the moment."""

    CLOSED_LOOP = "closed_loop"
    FALLBACK_BASAL = "fallback_basal"
    SUSPENDED_LOW = "suspended_low"
    WARMING_UP = "warming_up"


class TherapyStatus(Message, frozen=True):
    """Therapy to transfer, every frame: what is shown to followers and the clinic."""

    at_min: Minute
    glucose_mg_dl: GlucoseMgDl
    insulin_on_board_u: InsulinU
    basal_u_per_h: BasalUPerH
    bolus_u: InsulinU
    target_mg_dl: TargetMgDl
    mode: Mode


class TherapySettings(Message, frozen=True):
    """Therapy to transfer, once an hour: the prescription in force, for the clinic's records."""

    at_min: Minute
    basal_profile_u_per_h: BasalUPerH
    carb_ratio_g_per_u: Annotated[float, _Meta(ge=1.0, le=200.0)]
    correction_mg_dl_per_u: Annotated[float, _Meta(ge=1.0, le=1000.0)]
    target_mg_dl: TargetMgDl
    basal_max_u_per_h: BasalUPerH
    insulin_on_board_max_u: InsulinU


class TargetRequest(Message, frozen=True):
    """Outside to transfer to therapy: a temporary glucose target, signed by the clinician's Ed25519 key.

    The signature covers ``signed_bytes``. Transfer only carries it; therapy verifies signature, counter and
    expiry. This is the one thing the outside may ask of therapy: there is no remote dose.
    """

    counter: Counter
    target_mg_dl: TargetMgDl
    starts_at_min: Minute
    duration_min: Annotated[int, _Meta(ge=5, le=1440)]
    expires_at_min: Minute
    signature: Annotated[bytes, _Meta(min_length=64, max_length=64)]

    def signed_bytes(self) -> bytes:
        """What the clinician signs: all fields but the signature, with a purpose tag in front."""
        fields = (self.counter, self.target_mg_dl, self.starts_at_min, self.duration_min, self.expires_at_min)
        return b"bulkhead/target-request/1\0" + msgspec.msgpack.encode(fields)


class ActivityHint(Message, frozen=True):
    """Transfer to therapy: steps per minute from a wearable, relayed. It can only raise the target."""

    at_min: Minute
    steps_per_min: Annotated[float, _Meta(ge=0.0, le=300.0)]


class Upload(Message, frozen=True):
    """Transfer to the network: an opaque chunk of the spool."""

    sequence: Counter
    chunk: Annotated[bytes, _Meta(max_length=4096)]
