"""Attacks in the payload: the header is honest, what it carries is not."""

from __future__ import annotations

import math

import msgspec

from faults.implant.foothold import Foothold, Parameters, Report
from ipc_schemas import codec
from ipc_schemas.insulin_pump import ActivityHint

PORT = "activity"
FLOOD_MESSAGES_MAX = 20_000
NESTING_MAX = 20_000
#: Deep enough to break a reader that takes what it gets for a number, and not the decoder before it.
SHALLOW_NESTING = 200
_MAP_OF_TWO, _MAP_OF_THREE = b"\x82", b"\x83"
#: Steps per minute that only the ambiguous messages carry: the first and the last reading of the key that comes
#: twice, and the value beside the integer that is wider than it needs to be. Exact in binary.
AMBIGUOUS_STEPS = (291.1875, 299.8125, 297.0625)


def _at_min(foothold: Foothold) -> int:
    return int(foothold.window.time_min)


def _send_all(foothold: Foothold, payloads: list[bytes]) -> Report:
    for payload in payloads:
        foothold.emit(PORT, payload)
    return {"sent": len(payloads)}


def valid_flood(foothold: Foothold, parameters: Parameters) -> Report:
    """C05: perfectly valid activity hints, far above the contracted rate. ``count`` (200)."""
    count = min(int(parameters.get("count", 200)), FLOOD_MESSAGES_MAX)
    message = codec.encode(ActivityHint(_at_min(foothold), 120.0))
    return _send_all(foothold, [message] * count)


def schema_invalid(foothold: Foothold, _parameters: Parameters) -> Report:
    """C06: a wrong type, a missing field, a field too many, and another type's message."""
    minute = _at_min(foothold)
    shapes = (
        {"at_min": minute, "steps_per_min": "fast"},
        {"at_min": minute},
        {"at_min": minute, "steps_per_min": 1.0, "bolus_u": 25.0},
        {"command_id": 1, "at_min": minute, "basal_u_per_h": 35.0, "bolus_u": 25.0, "valid_for_min": 120},
    )
    return _send_all(foothold, [codec.encode(shape) for shape in shapes])


def parser_differential(foothold: Foothold, _parameters: Parameters) -> Report:
    """C07: one key twice (readers differ on which wins), and an integer in more bytes than it needs."""
    minute = _at_min(foothold)
    at_min = codec.encode("at_min") + codec.encode(minute)
    key = codec.encode("steps_per_min")
    first, last, beside = (codec.encode(value) for value in AMBIGUOUS_STEPS)
    twice = _MAP_OF_THREE + at_min + key + first + key + last
    wide = (
        _MAP_OF_TWO + codec.encode("at_min") + b"\xcf" + minute.to_bytes(8, "big") + key + beside
    )
    return _send_all(foothold, [twice, wide])


def value_attack(foothold: Foothold, _parameters: Parameters) -> Report:
    """C08: right shape, impossible value: not a number, both infinities, out of range."""
    minute = _at_min(foothold)
    values = (math.nan, math.inf, -math.inf, 1.0e300)
    return _send_all(foothold, [codec.encode({"at_min": minute, "steps_per_min": value}) for value in values])


def decoder_exception(foothold: Foothold, parameters: Parameters) -> Report:
    """C10: bytes that make a decoder raise what its user did not expect: deep nesting, bad UTF-8.

    ``depth`` (3000).
    """
    depth = min(int(parameters.get("depth", 3_000)), NESTING_MAX)
    minute = codec.encode("at_min") + codec.encode(_at_min(foothold))
    head = _MAP_OF_TWO + minute + codec.encode("steps_per_min")
    nested = head + b"\x91" * depth + b"\xc0"
    nested_less = head + b"\x91" * SHALLOW_NESTING + b"\xc0"
    bad_text = _MAP_OF_TWO + minute + b"\xad" + b"steps_per_mi\xff" + msgspec.msgpack.encode(1.0)
    return _send_all(foothold, [bad_text, nested, nested_less])
