"""The insulin pump's messages, but for one: somebody forgot the bounds of the steps per minute."""

from __future__ import annotations

from ipc_schemas.insulin_pump import (
    Alarm,
    CgmReading,
    DeliveryLog,
    MealAnnouncement,
    Message,
    Minute,
    PumpCommand,
    PumpStatus,
    TargetRequest,
    TherapySettings,
    TherapyStatus,
    Upload,
)

__all__ = [
    "ActivityHint",
    "Alarm",
    "CgmReading",
    "DeliveryLog",
    "MealAnnouncement",
    "PumpCommand",
    "PumpStatus",
    "TargetRequest",
    "TherapySettings",
    "TherapyStatus",
    "Upload",
]


class ActivityHint(Message, frozen=True):
    """Transfer to therapy: steps per minute from a wearable, relayed. The number may be anything, and no number."""

    at_min: Minute
    steps_per_min: float
