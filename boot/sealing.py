"""Sealed data: opens only in the release that sealed it, or in the one successor that this release authorised.

The secret to seal under comes from the secure element, which has one for each value of its measurement register and
hands it out for the register of the running boot. A layer cannot compute its sibling's secret, and should not: if a
release could get its successor's, whoever takes the old release over could read all that the new one will ever seal.
So the way leads forward only. The running, confirmed release names its successor's register in the element
(``Element.authorise_successor``); the successor, once it runs, gets its predecessor's secret beside its own, opens what
was sealed and seals it anew (``reseal``). Until it is confirmed it leaves the old boxes where they are, so that a
reverted update finds them.

A box is a magic, a random nonce and AES-256-GCM under a key derived from the secret and the purpose, both of which the
tag covers. A key of its own for each purpose keeps boxes from being shown as something else.
"""

from __future__ import annotations

import os

from boot.forgetting import forget
from boot.layers import derive
from boot.refusal import Refused

DATA_BYTES_MAX = 1 << 20
_MAGIC = b"BHSEAL1\n"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_OVERHEAD_BYTES = len(_MAGIC) + _NONCE_BYTES + _TAG_BYTES
_PURPOSE_CHARACTERS_MAX = 120
_LABEL = b"bulkhead sealed 1\0"


def seal(secret: bytes, purpose: str, data: bytes) -> bytes:
    """A box with ``data`` in it. Raises ``Refused`` (``seal``) when the data is larger than ``DATA_BYTES_MAX``."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(data) > DATA_BYTES_MAX:
        sentence = f"{len(data)} bytes are more than the {DATA_BYTES_MAX} that one box holds"
        raise Refused("seal", sentence, "seal it in pieces, each for a purpose of its own")
    nonce = os.urandom(_NONCE_BYTES)
    label = _label(purpose)
    key = derive(secret, b"", label)
    try:
        return _MAGIC + nonce + AESGCM(key).encrypt(nonce, data, _MAGIC + label)
    finally:
        forget(key)


def unseal(secret: bytes, purpose: str, box: bytes) -> bytes:
    """What is in ``box``. Raises ``Refused`` (``seal``) unless secret, purpose and box are those of ``seal``."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    label = _label(purpose)
    if not _OVERHEAD_BYTES <= len(box) <= DATA_BYTES_MAX + _OVERHEAD_BYTES or not box.startswith(_MAGIC):
        raise _refused(f"the sealed {purpose} is cut or is no sealed data")
    nonce, sealed = box[len(_MAGIC) : len(_MAGIC) + _NONCE_BYTES], box[len(_MAGIC) + _NONCE_BYTES :]
    key = derive(secret, b"", label)
    try:
        return AESGCM(key).decrypt(nonce, sealed, _MAGIC + label)
    except InvalidTag:
        raise _refused(f"the sealed {purpose} was changed, or was sealed by another release") from None
    finally:
        forget(key)


def reseal(predecessor_secret: bytes, secret: bytes, purpose: str, box: bytes) -> bytes:
    """What an authorised predecessor sealed, sealed anew under the running release's own secret."""
    return seal(secret, purpose, unseal(predecessor_secret, purpose, box))


def _label(purpose: str) -> bytes:
    if not (1 <= len(purpose) <= _PURPOSE_CHARACTERS_MAX and purpose.isascii() and purpose.isprintable()):
        raise _refused("a purpose is 1 to 120 printable ASCII characters")
    return _LABEL + purpose.encode()


def _refused(sentence: str) -> Refused:
    return Refused("seal", sentence, "restore it from a copy that this release sealed, or enter it anew")
