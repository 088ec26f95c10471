"""The attestation: what a device says of its own boot, signed over a nonce that a verifier has just drawn.

An Entity Attestation Token (RFC 9711) in a CBOR Web Token (RFC 8392), as a COSE_Sign1 (RFC 9052) with EdDSA. The key
is that of the last layer, which only the stages that were really measured could derive. docs/attestation.md lists
the claims.

The libraries for it are loaded by ``token``, so that a boot which nobody asks pays nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from boot.measured import Log
from boot.refusal import Refused
from ipc_schemas import codec
from ipc_schemas.element import Lifecycle
from ipc_schemas.release import Layer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


NONCE_BYTES_MIN = 8
NONCE_BYTES_MAX = 64
TOKEN_BYTES_MAX = 512 << 10
#: The profile (RFC 9711, section 6): this format, and nothing else under this name.
PROFILE = "urn:example:bulkhead:attestation:1"
#: CoAP content format of the measurements: out of the range for experiments (RFC 7252, section 12.3).
MEASUREMENTS_FORMAT = 65_000
#: An oemid-random (RFC 9711, 4.2.3): 16 bytes, drawn once, for the emulated manufacturer.
OEM_ID = bytes.fromhex("6f1d0e5b2a9c47c3b81e94d7730fa265")

IAT, NONCE, UEID, OEMID, HWMODEL, DBGSTAT = 6, 10, 256, 258, 259, 263
EAT_PROFILE, SWNAME, SWVERSION, MEASUREMENTS = 265, 270, 271, 273
#: For private use (RFC 8392, section 9.1.1: less than -65536).
LAYERS, LIFECYCLE = -70_001, -70_002

#: Debug status (RFC 9711, 4.2.9). Closed means: only the manufacturer could open it, and has not in this boot.
DEBUG_OPEN = 0
DEBUG_CLOSED = 3
#: Lives in which debugging needs the manufacturer's permission.
LOCKED: frozenset[Lifecycle] = frozenset({"provisioned", "operational", "decommissioned"})

#: COSE header: EdDSA (RFC 9053, 2.2), and what is signed, so that no other COSE message passes (RFC 9596).
ALGORITHM, TYPE = 1, 16
HEADER = {ALGORITHM: -8, TYPE: "application/eat+cwt"}
COSE_SIGN1_TAG = 18


class Device(msgspec.Struct, frozen=True):
    """Which device speaks: its serial and hardware by the fuses, its release by name and version, its life."""

    serial: str
    hardware_id: str
    firmware: str
    version: str
    lifecycle: Lifecycle
    is_debug: bool


def token(
    key: Ed25519PrivateKey, nonce: bytes, log: Log, layers: Sequence[Layer], device: Device, now_s: int
) -> bytes:
    """The signed token. ``key`` is the last layer's, ``now_s`` seconds since 1970 by the device's own clock.

    Raises ``Refused`` (``form``) for a nonce or a token out of bounds.
    """
    import cbor2

    if not NONCE_BYTES_MIN <= len(nonce) <= NONCE_BYTES_MAX:
        raise _refused(f"a nonce of {len(nonce)} bytes, and {NONCE_BYTES_MIN} to {NONCE_BYTES_MAX} are fine")
    header = cbor2.dumps(HEADER, canonical=True)
    payload = cbor2.dumps(claims(nonce, log, layers, device, now_s), canonical=True)
    signature = key.sign(signed_bytes(header, payload))
    message = cbor2.CBORTag(COSE_SIGN1_TAG, [header, {}, payload, signature])
    signed = cbor2.dumps(message, canonical=True)
    if len(signed) > TOKEN_BYTES_MAX:
        raise _refused(f"a token of {len(signed)} bytes, more than {TOKEN_BYTES_MAX}")
    return signed


def claims(nonce: bytes, log: Log, layers: Sequence[Layer], device: Device, now_s: int) -> dict[int, object]:
    """What the token says, by claim key."""
    is_open = device.is_debug or device.lifecycle not in LOCKED
    return {
        IAT: now_s,
        NONCE: nonce,
        UEID: ueid(device.serial),
        OEMID: OEM_ID,
        HWMODEL: hwmodel(device.hardware_id),
        DBGSTAT: DEBUG_OPEN if is_open else DEBUG_CLOSED,
        EAT_PROFILE: PROFILE,
        SWNAME: device.firmware,
        SWVERSION: [device.version],
        MEASUREMENTS: [[MEASUREMENTS_FORMAT, codec.encode(list(log.lines))]],
        LAYERS: codec.encode(list(layers)),
        LIFECYCLE: device.lifecycle,
    }


def ueid(serial: str) -> bytes:
    """The device's UEID (RFC 9711, 4.2.1): type RAND, by a hash over what identifies it."""
    return b"\x01" + hashlib.sha256(b"bulkhead ueid 1\0" + OEM_ID + serial.encode()).digest()


def hwmodel(hardware_id: str) -> bytes:
    """The hardware's name as a claim of at most 32 bytes (RFC 9711, 4.2.4): itself, or its digest if it is longer."""
    name = hardware_id.encode()
    return name if len(name) <= 32 else hashlib.sha256(name).digest()


def signed_bytes(header: bytes, payload: bytes) -> bytes:
    """What the signature is over: the Sig_structure of RFC 9052, section 4.4."""
    import cbor2

    return cbor2.dumps(["Signature1", header, b"", payload], canonical=True)


def _refused(sentence: str) -> Refused:
    return Refused("form", sentence, "ask for an attestation with another nonce, or of a smaller device")
