"""Attacks in the payload: the header is honest, what it carries is not.

Each message but the flood's keeps to its port's size and number, so that it is judged for what it carries and
for nothing else. Where one takes the place of an honest hint, the implant keeps the honest one back
(``registry.REPLACES``).
"""

from __future__ import annotations

import math

from faults.implant.foothold import Foothold, Parameters, Report
from ipc_schemas import codec
from ipc_schemas.insulin_pump import ActivityHint

HINT, REQUEST, UPLOAD = "activity", "target_request", "upload"
FLOOD_MESSAGES_MAX = 20_000
#: Deeper than the decoder goes, and as deep as a request's size allows.
NESTING, NESTING_OF_REQUEST = 3_000, 180
_MAP_OF_TWO, _MAP_OF_SEVEN = b"\x82", b"\x87"
#: What only the ambiguous messages carry: the steps beside an integer that is wider than it needs to be, and
#: the two readings of a counter that comes twice.
AMBIGUOUS_STEPS = 297.0625
AMBIGUOUS_COUNTERS = (0xA5A5_0001, 0xA5A5_0002)


def _at_min(foothold: Foothold) -> int:
    return int(foothold.window.time_min)


def _request(at_min: int, **changed: object) -> dict[str, object]:
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


def valid_flood(foothold: Foothold, parameters: Parameters) -> Report:
    """C05: perfectly valid activity hints, far above the contracted rate. ``count`` (200)."""
    count = min(int(parameters.get("count", 200)), FLOOD_MESSAGES_MAX)
    message = codec.encode(ActivityHint(_at_min(foothold), 120.0))
    for _ in range(count):
        foothold.emit(HINT, message)
    return {"sent": count}


def schema_invalid(foothold: Foothold, _parameters: Parameters) -> Report:
    """C06: a wrong type, missing fields, and another type's message."""
    minute = _at_min(foothold)
    dose = {"command_id": 1, "at_min": minute, "basal_u_per_h": 35.0, "bolus_u": 25.0, "valid_for_min": 120}
    foothold.emit(HINT, codec.encode({"at_min": minute, "steps_per_min": "fast"}))
    foothold.emit(REQUEST, codec.encode({"counter": 1}))
    foothold.emit(REQUEST, codec.encode(dose))
    return {"sent": 3}


def parser_differential(foothold: Foothold, _parameters: Parameters) -> Report:
    """C07: an integer in more bytes than it needs, and one key twice (readers differ on which wins)."""
    minute = _at_min(foothold)
    wide = codec.encode("at_min") + b"\xcf" + minute.to_bytes(8, "big")
    foothold.emit(HINT, _MAP_OF_TWO + wide + codec.encode("steps_per_min") + codec.encode(AMBIGUOUS_STEPS))
    first, last = AMBIGUOUS_COUNTERS
    request = codec.encode(_request(minute, counter=first))
    foothold.emit(REQUEST, _MAP_OF_SEVEN + request[1:] + codec.encode("counter") + codec.encode(last))
    return {"sent": 2}


def value_attack(foothold: Foothold, _parameters: Parameters) -> Report:
    """C08: right shape, impossible value: not a number, infinity, far out of range."""
    minute = _at_min(foothold)
    foothold.emit(HINT, codec.encode({"at_min": minute, "steps_per_min": math.nan}))
    foothold.emit(REQUEST, codec.encode(_request(minute, target_mg_dl=math.inf)))
    foothold.emit(REQUEST, codec.encode(_request(minute, target_mg_dl=-1.0e300)))
    return {"sent": 3}


def decoder_exception(foothold: Foothold, _parameters: Parameters) -> Report:
    """C10: bytes that make a decoder raise what its user did not expect: bad UTF-8, deep nesting."""
    minute = codec.encode("at_min") + codec.encode(_at_min(foothold))
    foothold.emit(HINT, _MAP_OF_TWO + minute + b"\xad" + b"steps_per_mi\xff" + codec.encode(1.0))
    for port, depth in ((REQUEST, NESTING_OF_REQUEST), (UPLOAD, NESTING)):
        foothold.emit(port, _MAP_OF_TWO + minute + codec.encode("steps") + b"\x91" * depth + b"\xc0")
    return {"sent": 3}
