"""The largest canonical encoding that a message type can have, computed from the type alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect as mi

from ipc_schemas import codec

_UTF8_BYTES_PER_CHARACTER_MAX = 4
_FLOAT_BYTES = 9  # msgspec writes every float as float64


def encoded_bytes_max(message_type: type[msgspec.Struct]) -> int | None:
    """An upper bound, in bytes, on the MessagePack encoding of any value of ``message_type``.

    ``None`` when some field has no bound (``ipc_schemas.bounds.unbounded_fields`` names it). The bound is
    exact but for texts (each character counts four bytes) and for exclusive bounds of numbers.
    """
    return _struct(message_type, frozenset())


def _struct(cls: type[msgspec.Struct], seen: frozenset[type]) -> int | None:
    if cls in seen:
        return None
    info = mi.type_info(cls)
    assert isinstance(info, mi.StructType)
    parts = [_size(field.type, seen | {cls}) for field in info.fields]
    keys = [field.encode_name for field in info.fields]
    count = len(parts)
    if info.tag is not None:
        count += 1
        parts.append(_encoded(info.tag))
        keys.append(info.tag_field or "")
    names = 0 if info.array_like else sum(_encoded(key) for key in keys)
    total = _sum(parts)
    return None if total is None else _items_head(count) + names + total


def _size(kind: mi.Type, seen: frozenset[type]) -> int | None:
    match kind:
        case mi.IntType():
            return _int(kind)
        case mi.FloatType():
            return _FLOAT_BYTES
        case mi.BoolType() | mi.NoneType():
            return 1
        case mi.EnumType():
            return max(_encoded(member.value) for member in kind.cls)
        case mi.LiteralType():
            return max(_encoded(value) for value in kind.values)
        case mi.StrType():
            return None if kind.max_length is None else _text(kind.max_length * _UTF8_BYTES_PER_CHARACTER_MAX)
        case mi.BytesType() | mi.ByteArrayType() | mi.MemoryViewType():
            return None if kind.max_length is None else _bytes(kind.max_length)
        case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
            item = _size(kind.item_type, seen)
            if kind.max_length is None or item is None:
                return None
            return _items_head(kind.max_length) + kind.max_length * item
        case mi.TupleType():
            items = _sum(_size(item, seen) for item in kind.item_types)
            return None if items is None else _items_head(len(kind.item_types)) + items
        case mi.UnionType():
            sizes = [_size(item, seen) for item in kind.types]
            return None if None in sizes else max(size for size in sizes if size is not None)
        case mi.StructType():
            return _struct(kind.cls, seen)
        case mi.Metadata():
            return _size(kind.type, seen)
    return None


def _sum(sizes: Iterable[int | None]) -> int | None:
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total


def _int(kind: mi.IntType) -> int | None:
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    if low is None or high is None:
        return None
    return max(_encoded(low), _encoded(high))  # the size grows away from zero, on both sides


def _encoded(value: Any) -> int:
    return len(codec.encode(value))


def _text(size_bytes: int) -> int:
    head = 1 if size_bytes < 32 else 2 if size_bytes < 256 else 3 if size_bytes < 65_536 else 5
    return head + size_bytes


def _bytes(size_bytes: int) -> int:
    head = 2 if size_bytes < 256 else 3 if size_bytes < 65_536 else 5
    return head + size_bytes


def _items_head(count: int) -> int:
    return 1 if count < 16 else 3 if count < 65_536 else 5
