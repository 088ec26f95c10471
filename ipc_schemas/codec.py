"""Canonical MessagePack: one byte string per value.

MessagePack lets a sender write the same value in many ways (a duplicate key of which the last wins, a small
integer in nine bytes, fields in any order). Two readers may then see two things. So a message counts only if
its bytes equal our own encoding of what they decode to.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

M = TypeVar("M")

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_ANY = msgspec.msgpack.Decoder()
_RAW = msgspec.msgpack.Decoder(msgspec.Raw)
_RAWS = msgspec.msgpack.Decoder(list[msgspec.Raw])


class Refused(Exception):
    """Bytes that are not one canonical message of their type. ``reason`` is a word, ``detail`` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def encode(value: Any) -> bytes:
    """The canonical encoding of ``value``."""
    return _ENCODER.encode(value)


class Codec(Generic[M]):
    """Reads and writes one type, and nothing else."""

    def __init__(self, message_type: type[M]) -> None:
        self.message_type = message_type
        self._one = msgspec.msgpack.Decoder(message_type)
        self._many = msgspec.msgpack.Decoder(list[message_type])  # type: ignore[valid-type]

    def decode(self, payload: bytes) -> M:
        """The message in ``payload``. Raises ``Refused`` (reasons ``schema``, ``range``, ``canonical``)."""
        value = self.decode_loosely(payload)
        if _ENCODER.encode(value) != payload:
            raise Refused("canonical", "the bytes are not the one canonical encoding of their value")
        return value

    def decode_loosely(self, payload: bytes | memoryview) -> M:
        """As ``decode``, but any encoding of the value does. Raises ``Refused`` (``schema``, ``range``)."""
        try:
            return self._one.decode(payload)
        except Exception as error:  # RecursionError and UnicodeDecodeError are not MsgspecErrors: fail closed
            raise Refused(_reason(error), _plain(error)) from None

    def split_batch(self, batch: bytes) -> list[bytes]:
        """The messages in a canonical array of canonical messages, still encoded. Raises ``Refused``."""
        try:
            payloads = list(map(_ENCODER.encode, self._many.decode(batch)))
        except Exception as error:
            raise Refused(_reason(error), _plain(error)) from None
        if join_batch(payloads) != batch:
            raise Refused("canonical", "the batch is not the one canonical encoding of its values")
        return payloads

    def decode_batch(self, batch: bytes) -> list[M]:
        """The messages in a MessagePack array of them. Raises ``Refused`` like ``decode``."""
        try:
            values = self._many.decode(batch)
        except Exception as error:
            raise Refused(_reason(error), _plain(error)) from None
        if _ENCODER.encode(values) != batch:
            raise Refused("canonical", "the batch is not the one canonical encoding of its values")
        return values


def join_batch(payloads: list[bytes]) -> bytes:
    """A MessagePack array of already canonical messages."""
    return _array_head(len(payloads)) + b"".join(payloads)


def _array_head(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    if count < 65_536:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def join_batches(batches: list[tuple[int, bytes]]) -> bytes:
    """One array of the messages of several arrays, each given with the count of its messages."""
    bodies = [batch[len(_array_head(count)) :] for count, batch in batches]
    return _array_head(sum(count for count, _ in batches)) + b"".join(bodies)


def split_any_batch(batch: bytes) -> list[bytes]:
    """The messages in an array, unread. Raises whatever msgspec raises."""
    return [bytes(raw) for raw in _RAWS.decode(batch)]


def encode_as_decoded(value: Any) -> bytes:
    """The shortest encoding of a value out of ``decode_any``, its keys in the order in which they came."""
    return msgspec.msgpack.encode(value)


def decode_any(payload: bytes) -> Any:
    """Whatever MessagePack value ``payload`` holds, unchecked. For experiments and for showing a journal."""
    return _ANY.decode(payload)


def skip_one(payload: bytes) -> None:
    """Find the end of one MessagePack value without reading what is in it. Raises whatever msgspec raises."""
    _RAW.decode(payload)


_RANGE_WORDS = (
    "Expected `int` >",
    "Expected `int` <",
    "Expected `float` >",
    "Expected `float` <",
    "of length",
)


def _reason(error: Exception) -> str:
    is_range = isinstance(error, msgspec.ValidationError) and any(w in str(error) for w in _RANGE_WORDS)
    return "range" if is_range else "schema"


def _plain(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in text)[:200]
