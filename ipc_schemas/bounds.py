"""Bounded field types, and the walker that proves that a message type has no unbounded field.

msgspec accepts NaN and infinity for a plain ``float`` and for one that is bounded on a single side; with
both bounds it refuses them. So every number here has both, and every text, byte string and sequence has a
largest length. ``unbounded_fields`` walks a type and names each field that breaks the rule; the monitor
refuses to boot a design with one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect as mi

#: The largest text, byte string or sequence that one field of a message may hold.
LENGTH_MAX = 65_536


def unbounded_fields(message_type: type[msgspec.Struct]) -> tuple[str, ...]:
    """Name every field of ``message_type`` that is not bounded, as ``"Type.field: why; remedy"``.

    An empty tuple means that each number has both bounds, each text, byte string and sequence a largest
    length of at most ``LENGTH_MAX``, no field is ``Any`` or a free mapping, and unknown fields are refused.
    """
    return tuple(_walk_struct(message_type, message_type.__name__, frozenset()))


def _walk_struct(cls: type[msgspec.Struct], path: str, seen: frozenset[type]) -> Iterator[str]:
    if cls in seen:
        yield f"{path}: the type contains itself, so its depth has no bound; replace it by a tuple with max_length"
        return
    if not cls.__struct_config__.forbid_unknown_fields:
        yield f"{path}: accepts unknown fields; declare the class with forbid_unknown_fields=True"
    if not cls.__struct_config__.frozen:
        yield f"{path}: is not frozen; declare the class with frozen=True"
    info = mi.type_info(cls)
    assert isinstance(info, mi.StructType)
    for field in info.fields:
        yield from _walk(field.type, f"{path}.{field.name}", seen | {cls})


def _walk(kind: mi.Type, path: str, seen: frozenset[type]) -> Iterator[str]:
    match kind:
        case mi.IntType() | mi.FloatType():
            low = kind.ge if kind.ge is not None else kind.gt
            high = kind.le if kind.le is not None else kind.lt
            if low is None or high is None:
                missing = "both bounds" if low is None and high is None else "one bound"
                yield f"{path}: a number without {missing}; give it both with msgspec.Meta(ge=..., le=...)"
        case mi.StrType():
            yield from _length(kind.max_length, path, "text")
            if kind.pattern is not None and not _is_anchored(kind.pattern):
                yield f"{path}: the pattern {kind.pattern!r} is not anchored; begin it with \\A and end it with \\Z"
        case mi.BytesType() | mi.ByteArrayType() | mi.MemoryViewType():
            yield from _length(kind.max_length, path, "byte string")
        case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
            yield from _length(kind.max_length, path, "sequence")
            yield from _walk(kind.item_type, f"{path}[]", seen)
        case mi.TupleType():
            for index, item in enumerate(kind.item_types):
                yield from _walk(item, f"{path}[{index}]", seen)
        case mi.UnionType():
            for item in kind.types:
                yield from _walk(item, path, seen)
        case mi.StructType():
            yield from _walk_struct(kind.cls, path, seen)
        case mi.Metadata():
            yield from _walk(kind.type, path, seen)
        case mi.BoolType() | mi.NoneType() | mi.EnumType() | mi.LiteralType():
            return
        case _:
            name = type(kind).__name__.removesuffix("Type")
            yield f"{path}: {name} has no bound that can be stated; write a type that has one"


def _length(max_length: int | None, path: str, what: str) -> Iterator[str]:
    if max_length is None:
        yield f"{path}: a {what} without max_length; give it one with msgspec.Meta(max_length=...)"
    elif max_length > LENGTH_MAX:
        yield f"{path}: a {what} of up to {max_length}, above the limit of {LENGTH_MAX}; lower its max_length"


def _is_anchored(pattern: str) -> bool:
    return pattern.startswith(r"\A") and pattern.endswith(r"\Z")


def without_bounds(message_type: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The same shape with no bound on any value: what a receiver accepts while the ``range`` wall is off.

    Only experiments use it, to show what the bounds are worth.
    """
    hints = get_type_hints(message_type)
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(message_type):
        kind = hints[field.name]
        if field.default is not msgspec.NODEFAULT:
            fields.append((field.name, kind, field.default))
        else:
            fields.append((field.name, kind, msgspec.NODEFAULT))
    return msgspec.defstruct(
        message_type.__name__,
        [(n, k) if d is msgspec.NODEFAULT else (n, k, d) for n, k, d in fields],
        frozen=True,
        forbid_unknown_fields=True,
    )
