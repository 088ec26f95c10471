"""Whether a debug unlock counts: signed, for this device, for this boot, not over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from boot.refusal import Refused
from ipc_schemas import codec
from ipc_schemas.element import UNLOCK_LABEL, DebugUnlock, SignedUnlock

if TYPE_CHECKING:
    from boot.authority import Signer, Trust

_UNLOCKS = codec.Codec(DebugUnlock)


def require_unlock(
    unlock: SignedUnlock,
    serial: bytes,
    nonce: bytes,
    now_s: int,
    key: bytes,
    without: frozenset[str] = frozenset(),
) -> DebugUnlock:
    """The permission in ``unlock``. ``key`` (Ed25519) was validated by the caller, ``nonce`` drawn for this boot.

    ``without`` may hold the wall ``unlock``, for experiments: then the permission may name another device.

    Raises ``Refused`` (``element``). An unlock that was used before, or meant for an earlier boot, has another nonce.
    """
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(unlock.signature, UNLOCK_LABEL + unlock.payload)
    except (InvalidSignature, ValueError):
        raise _refused("the debug unlock is not signed by the key that was given for it") from None
    try:
        permission = _UNLOCKS.decode(unlock.payload)
    except codec.Refused as error:
        raise _refused(f"the debug unlock has not the form of one ({error.detail})") from None
    if "unlock" not in without and permission.serial != serial:
        raise _refused(
            f"the debug unlock is for device {_text(permission.serial)}, and this is {_text(serial)}"
        )
    if permission.nonce != nonce:
        raise _refused("the debug unlock is for another boot, or was used before")
    if now_s >= permission.not_after_s:
        raise _refused(f"the debug unlock ended at {permission.not_after_s} s, and it is {now_s} s")
    return permission


def unlocker(
    chain: Sequence[bytes], trust: Trust, now: datetime, without: frozenset[str] = frozenset()
) -> Signer:
    """Who may unlock devices, if ``chain`` leads to the root and has the role ``debug``.

    For ROM, before it asks the element. ``without`` are walls that an experiment leaves out.

    Raises ``Refused`` (``form``, ``chain``, ``revocation``, ``scope``).
    """
    from boot.authority import signer_of

    signer = signer_of(tuple(chain), trust, now, without)
    if "scope" not in without and "debug" not in signer.scope.roles:
        sentence = f"{signer.name} may not unlock a device for debugging"
        raise Refused("scope", sentence, "ask whoever may", signer=signer.name)
    return signer


def _text(serial: bytes) -> str:
    return ascii(serial.decode("latin-1"))


def _refused(sentence: str) -> Refused:
    return Refused("element", sentence, "ask the manufacturer for an unlock with this boot's nonce")
