"""What an attestation token says, read strictly and not believed yet."""

from __future__ import annotations

from typing import Any

import msgspec

from boot import attestation as eat
from boot import measured
from evidence import strict_cbor
from evidence.strict_cbor import Unreadable, Value
from ipc_schemas import codec
from ipc_schemas.element import LIFECYCLES
from ipc_schemas.release import Layer, Measurement

LAYERS_MAX = 8
_SIGNATURE_BYTES = 64
_KEYS = {
    eat.IAT,
    eat.NONCE,
    eat.UEID,
    eat.OEMID,
    eat.HWMODEL,
    eat.DBGSTAT,
    eat.EAT_PROFILE,
    eat.SWNAME,
    eat.SWVERSION,
    eat.MEASUREMENTS,
    eat.LAYERS,
    eat.LIFECYCLE,
}


class Said(msgspec.Struct, frozen=True):
    """The claims, and what the signature is over. Nothing here is verified."""

    signed_bytes: bytes
    signature: bytes
    issued_at_s: int
    nonce: bytes
    ueid: bytes
    hwmodel: bytes
    debug_status: int
    firmware: str
    version: str
    lifecycle: str
    lines: tuple[Measurement, ...]
    layers: tuple[Layer, ...]


def read(token: bytes) -> Said:
    """What the token says. Raises ``Unreadable``, and nothing else, whatever the bytes."""
    if len(token) > eat.TOKEN_BYTES_MAX:
        raise Unreadable(f"{len(token)} bytes, more than {eat.TOKEN_BYTES_MAX}")
    try:
        return _read(token)
    except Unreadable:
        raise
    except Exception as error:  # at the wall everything else is refused too
        raise Unreadable(f"it has not the form of our tokens ({type(error).__name__})") from None


def _read(token: bytes) -> Said:
    if token[:1] != bytes((0xC0 | eat.COSE_SIGN1_TAG,)):
        raise Unreadable("it is not a COSE_Sign1 message (RFC 9052)")
    outer = _of(tuple, strict_cbor.read(token[1:]))
    if len(outer) != 4:
        raise Unreadable(f"a COSE_Sign1 message has 4 parts, and this has {len(outer)}")
    header, unprotected, payload = _of(bytes, outer[0]), outer[1], _of(bytes, outer[2])
    if strict_cbor.read(header) != eat.HEADER or unprotected != {}:
        raise Unreadable("its header does not say EdDSA and application/eat+cwt, and nothing else")
    signature = _of(bytes, outer[3])
    if len(signature) != _SIGNATURE_BYTES:
        raise Unreadable(f"a signature of {len(signature)} bytes")
    claims = _of(dict, strict_cbor.read(payload))
    if set(claims) != _KEYS:
        raise Unreadable(f"claims {sorted(set(claims) ^ _KEYS)} are missing, or are not of this profile")
    return _said(claims, eat.signed_bytes(header, payload), signature)


def _said(claims: dict[int, Value], signed_bytes: bytes, signature: bytes) -> Said:
    if claims[eat.EAT_PROFILE] != eat.PROFILE or claims[eat.OEMID] != eat.OEM_ID:
        raise Unreadable("it is of another profile, or from another manufacturer")
    nonce = _of(bytes, claims[eat.NONCE])
    if not eat.NONCE_BYTES_MIN <= len(nonce) <= eat.NONCE_BYTES_MAX:
        raise Unreadable(f"a nonce of {len(nonce)} bytes")
    lifecycle = _of(str, claims[eat.LIFECYCLE])
    if lifecycle not in LIFECYCLES:
        raise Unreadable("it names a life that no device of ours has")
    (version,) = _of(tuple, claims[eat.SWVERSION])
    return Said(
        signed_bytes=signed_bytes,
        signature=signature,
        issued_at_s=_of(int, claims[eat.IAT]),
        nonce=nonce,
        ueid=_of(bytes, claims[eat.UEID]),
        hwmodel=_of(bytes, claims[eat.HWMODEL]),
        debug_status=_of(int, claims[eat.DBGSTAT]),
        firmware=_of(str, claims[eat.SWNAME]),
        version=_of(str, version),
        lifecycle=lifecycle,
        lines=_lines(claims[eat.MEASUREMENTS]),
        layers=_layers(_of(bytes, claims[eat.LAYERS])),
    )


def _lines(claim: Value) -> tuple[Measurement, ...]:
    ((content_format, content),) = _of(tuple, claim)
    if content_format != eat.MEASUREMENTS_FORMAT:
        raise Unreadable("its measurements are in another format")
    lines = _decoded(Measurement, _of(bytes, content))
    if len(lines) > measured.LINES_MAX:
        raise Unreadable(f"a log of {len(lines)} lines, more than {measured.LINES_MAX}")
    return tuple(lines)


def _layers(content: bytes) -> tuple[Layer, ...]:
    layers = _decoded(Layer, content)
    if not 1 <= len(layers) <= LAYERS_MAX:
        raise Unreadable(f"{len(layers)} layers, and a device has 1 to {LAYERS_MAX}")
    return tuple(layers)


def _decoded(shape: type[Any], content: bytes) -> list[Any]:
    try:
        return codec.Codec(shape).decode_batch(content)
    except codec.Refused as refused:
        raise Unreadable(f"a {shape.__name__.lower()} in it cannot be read: {refused}") from None


def _of(kind: type[Any], value: Value) -> Any:
    if not isinstance(value, kind):
        raise Unreadable(f"a value in it is a {type(value).__name__}, not a {kind.__name__}")
    return value
