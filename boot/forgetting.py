"""Forgetting: overwrites secrets where they lie in memory, as far as Python lets anybody.

A ``bytes`` object cannot be changed by the language; its memory can. What stays out of reach are copies that nobody
holds any more and that a library or the interpreter made on the way, until their memory is used again; and whatever the
host has written to swap or to a core file.
"""

from __future__ import annotations

import ctypes
from typing import TypeVar

from ipc_schemas import codec

M = TypeVar("M")
#: A ``bytes`` object begins with a head of this size; one byte of it is the end behind the content.
_HEAD_BYTES = bytes.__basicsize__ - 1
#: Shorter ones may be shared by the whole interpreter.
_SHARED_BYTES_MAX = 1


def forget(secret: bytes) -> None:
    """Overwrite ``secret`` with zeros, for all who still hold it. For CPython; shared constants must not come here."""
    if len(secret) > _SHARED_BYTES_MAX:
        ctypes.memset(id(secret) + _HEAD_BYTES, 0, len(secret))


def read_once(reader: codec.Codec[M], content: bytes) -> M:
    """As ``reader.decode(content)``, and nothing is left of ``content``. Raises ``codec.Refused``."""
    again = b""
    try:
        found = reader.decode_loosely(content)
        again = codec.encode(found)
        is_canonical = again == content
    finally:
        forget(content)
        forget(again)
    if not is_canonical:
        raise codec.Refused("canonical", "the bytes are not the one canonical encoding of their value")
    return found
