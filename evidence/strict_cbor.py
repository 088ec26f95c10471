"""Reads the little of CBOR that our tokens are made of, and refuses everything else.

Common decoders accept what can hurt a verifier: tags that build regular expressions or huge numbers, shared values,
lengths that are believed before the bytes are there, maps in which the last of two equal keys wins. Here: whole
numbers, byte strings, texts, arrays and maps, definite lengths, shortest form, keys in ascending order, bounded depth
and count. So one value has one encoding (RFC 8949, 4.2.1), and reading costs no more than the bytes.
"""

from __future__ import annotations

DEPTH_MAX = 6
ITEMS_MAX = 128

Value = int | bytes | str | tuple["Value", ...] | dict[int, "Value"]


class Unreadable(ValueError):
    """Bytes that are not one such value. The sentence names the place."""


def read(data: bytes) -> Value:
    """The one value in ``data``. Raises ``Unreadable``, and nothing else."""
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise reader.refusal("something follows the value")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0
        self._items = 0

    def refusal(self, why: str) -> Unreadable:
        return Unreadable(f"byte {self.at}: {why}")

    def value(self, depth: int) -> Value:
        self._items += 1
        if depth > DEPTH_MAX or self._items > ITEMS_MAX:
            raise self.refusal(f"more than {DEPTH_MAX} levels or {ITEMS_MAX} values")
        major, number = self._head()
        match major:
            case 0:
                return number
            case 1:
                return -1 - number
            case 2:
                return self._take(number)
            case 3:
                return self._text(number)
            case 4:
                return tuple(self.value(depth + 1) for _ in range(number))
            case 5:
                return self._map(number, depth + 1)
        raise self.refusal("a tag, a float or a simple value, of which our tokens have none")

    def _head(self) -> tuple[int, int]:
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info
        if info > 27:
            raise self.refusal("a length that is not stated")
        number = int.from_bytes(self._take(1 << (info - 24)), "big")
        if number < (24 if info == 24 else 1 << (4 << (info - 24))):
            raise self.refusal("a number that is longer than it need be")
        return major, number

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise self.refusal("the bytes end too early")
        self.at += size
        return self._data[self.at - size : self.at]

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError:
            raise self.refusal("a text that is not UTF-8") from None

    def _map(self, count: int, depth: int) -> dict[int, Value]:
        found: dict[int, Value] = {}
        before = b""
        for _ in range(count):
            start = self.at
            key = self.value(depth)
            encoded = self._data[start : self.at]
            if not isinstance(key, int) or encoded <= before:
                raise self.refusal("keys that are not whole numbers in ascending order")
            before = encoded
            found[key] = self.value(depth)
        return found
