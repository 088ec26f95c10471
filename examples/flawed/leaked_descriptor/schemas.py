"""The insulin pump's messages, and a service log that is opened beside them and never closed."""

from __future__ import annotations

import contextlib

from ipc_schemas.insulin_pump import (
    ActivityHint,
    Alarm,
    CgmReading,
    DeliveryLog,
    MealAnnouncement,
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

SERVICE_LOG = None
with contextlib.suppress(OSError):  # behind their walls, partitions have no such file
    SERVICE_LOG = open("/tmp/bulkhead-serviced/service.log", "rb")  # noqa: SIM115  the flaw; its world put it there
