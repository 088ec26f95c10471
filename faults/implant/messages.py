"""The messages that attackers write: hints and requests of the right shape, and forgeries in others' names."""

from __future__ import annotations

from faults.implant.foothold import Foothold
from ipc_schemas.insulin_pump import CgmReading, PumpCommand

HINT, REQUEST, UPLOAD = "activity", "target_request", "upload"
#: A forged command's id: no honest therapy counts this far in a run.
FORGED_COMMAND_ID = 0xF0F0_0000
MAP_OF_TWO, MAP_OF_SEVEN = b"\x82", b"\x87"


def minute_now(foothold: Foothold) -> int:
    """The logical minute of this window."""
    return int(foothold.window.time_min)


def request(at_min: int, **changed: object) -> dict[str, object]:
    """A target request of the right shape, which nobody signed."""
    fields: dict[str, object] = {
        "counter": 0xA5A5_0000,
        "target_mg_dl": 100.0,
        "starts_at_min": at_min,
        "duration_min": 60,
        "expires_at_min": at_min + 60,
        "signature": bytes(64),
    }
    return fields | changed


def forged_reading(at_min: int) -> CgmReading:
    """The glucose that makes a controller dose: 400 mg/dL, clean."""
    return CgmReading(at_min, 400.0, 1)


def forged_command(at_min: int) -> PumpCommand:
    """A bolus of 25 U that nobody prescribed."""
    return PumpCommand(FORGED_COMMAND_ID, at_min, 0.0, 25.0, 5)
