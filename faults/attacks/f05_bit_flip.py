"""F05: bits of a message turn over on the way from the partition to its gate."""

from __future__ import annotations

from typing import NamedTuple

from faults.attack import Attack, Between, Effect, Injection, OneOf, Parameters, Report
from faults.effects import minute_of
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import codec, wire
from ipc_schemas.insulin_pump import ActivityHint

STEPS_PER_MIN = 61.0
FLIPS_MAX = 4


class _Field(NamedTuple):
    """Where bits turn over: from which byte on, and how many bits."""

    byte: int
    bits: int


_NAME = b"steps_per_min"
_HONEST = codec.encode(ActivityHint(0, STEPS_PER_MIN))
_NUMBER = wire.HEADER_BYTES + len(_HONEST) - 8
#: The header (``ipc_schemas.wire``) and the payload. ``value`` is the lower half of a number's fraction: another number
#: comes out that is as good as the first. No wall looks for that; it can be asked for, but is not drawn.
_FIELDS = {
    "sender": _Field(0, 16),
    "life": _Field(4, 32),
    "frame": _Field(8, 32),
    "place": _Field(12, 32),
    "name": _Field(wire.HEADER_BYTES + _HONEST.index(_NAME), 8 * len(_NAME)),
    "sign": _Field(_NUMBER, 1),
    "exponent": _Field(_NUMBER, 1),
    "value": _Field(_NUMBER + 4, 32),
}
_IN_HEADER = ("sender", "life", "frame", "place")
#: Bits are counted from the lowest of a byte; these two are single ones: 0x80 and 0x20 of a number's first byte.
_FIRST_BIT = {"sign": 7, "exponent": 5}


def flipped(message: bytes, where: str, bit: int, flips: int) -> bytes:
    """``message`` with ``flips`` neighbouring bits of a field turned over, from its ``bit`` on."""
    field, damaged = _FIELDS[where], bytearray(message)
    # A later minute than 0 takes more bytes, and moves what comes after it.
    byte = field.byte + (len(message) - wire.HEADER_BYTES - len(_HONEST) if where not in _IN_HEADER else 0)
    for step in range(min(flips, field.bits, FLIPS_MAX)):
        place = (bit + step) % field.bits + _FIRST_BIT.get(where, 0)
        damaged[byte + place // 8] ^= 1 << place % 8
    return bytes(damaged)


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """One honest hint with ``flips`` (1) bits turned over from ``bit`` (0) on, ``where`` ("sign")."""
    hint = codec.encode(ActivityHint(messages.minute_now(foothold), STEPS_PER_MIN))
    message = wire.pack(foothold.header(foothold.port(messages.HINT)), hint)
    where = str(parameters.get("where", "sign"))
    damaged = flipped(message, where, int(parameters.get("bit", 0)), int(parameters.get("flips", 1)))
    return {"sent": int(foothold.send_raw(damaged)), "where": where}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The damaged message was admitted: with a damaged payload, or with a sound one under a damaged header."""
    hint = codec.encode(ActivityHint(minute_of(injection), STEPS_PER_MIN))
    where = injection.parameters.get("where", "sign")
    is_header = where in _IN_HEADER
    for one, payload in seen.payloads(injection):
        is_ours = one.frame == injection.frame and one.port == f"{seen.attacker}.{messages.HINT}"
        if is_ours and (payload == hint) == is_header:
            # No bound that is worth something takes a number with another sign or exponent.
            field = f"{one.port}.{_NAME.decode()}" if where in _FIRST_BIT else ""
            return Effect(True, f"A damaged message was taken for a sound one at {one.port}.", field)
    return Effect(False, "No damaged message was taken for a sound one.")


ATTACK = Attack(
    "F05",
    "Bits of a message turn over on the way, as in a failing memory, and it arrives as a different one.",
    effect,
    inject,
    parameters={
        "where": OneOf(
            ("sign", "exponent", "name", "place", "frame", "life", "sender"), on_request=("value",)
        ),
        "bit": Between(0, 31),
        "flips": Between(1, FLIPS_MAX),
    },
    replaces=messages.HINT,
    costs_a_restart=True,
    walls=("sequence", "stamp", "schema", "range"),
)
