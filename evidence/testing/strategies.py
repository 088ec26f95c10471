"""Hypothesis strategies for payloads of a port: valid, nearly valid, hostile. All are bytes.

*Valid* is the canonical encoding of a value of the port's type, edges of its bounds included. *Nearly valid* is a valid
one with one thing wrong, which ``defects`` names. *Hostile* never was a message: arbitrary bytes, deep nesting, lengths
that are claimed and not there, text that is none, pickled objects. A gate refuses every one of the last two kinds.
"""

from __future__ import annotations

import enum
import math
import pickle
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal, Protocol

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec import inspect as mi

from ipc_schemas import codec

Kind = Literal["valid", "nearly_valid", "hostile"]
KINDS: tuple[Kind, ...] = ("valid", "nearly_valid", "hostile")
#: A text, byte string or sequence is made longer than it may be only where that is at most so long.
TOO_LONG_MAX = 4_096
#: How long a drawn text, byte string or sequence is at most.
DRAWN_LENGTH_MAX = 64
NESTED_MAX = 4_000
#: The one byte that MessagePack never uses.
_NEVER = b"\xc1"
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class HasMessageType(Protocol):
    """A port, as far as its messages go."""

    @property
    def message_type(self) -> type[msgspec.Struct]:
        """The type of its messages."""


class NoStrategy(TypeError):
    """A field of a kind for which there is none; the sentence says which."""


def payloads(port: HasMessageType | type[msgspec.Struct], kind: Kind = "valid") -> SearchStrategy[bytes]:
    """Payloads of one ``kind`` for a port, or for a message type. Raises ``ValueError`` and ``NoStrategy``."""
    return _payloads(port if isinstance(port, type) else port.message_type, kind)


@cache
def _payloads(message_type: type[msgspec.Struct], kind: Kind) -> SearchStrategy[bytes]:
    if kind == "valid":
        return values(message_type).map(codec.encode)
    if kind == "nearly_valid":
        return st.one_of(*defects(message_type).values())
    if kind == "hostile":
        return hostile()
    raise ValueError(f"kind={kind!r}: there are {', '.join(KINDS)}")


# --- valid ---


def values(message_type: type[msgspec.Struct]) -> SearchStrategy[Any]:
    """Messages of this type with every field within its bounds."""
    info = _struct(message_type)
    return _built(info, {field.name: _values(field.type, field.name) for field in info.fields})


def _struct(message_type: type[msgspec.Struct]) -> mi.StructType:
    info = mi.type_info(message_type)
    assert isinstance(info, mi.StructType)
    return info


def _built(info: mi.StructType, fields: dict[str, SearchStrategy[Any]]) -> SearchStrategy[Any]:
    return st.fixed_dictionaries(fields).map(lambda drawn: info.cls(**drawn))


def _values(kind: mi.Type, name: str) -> SearchStrategy[Any]:
    """Values of one field."""
    match kind:
        case mi.Metadata():
            return _values(kind.type, name)
        case mi.IntType() | mi.FloatType():
            return _numbers(kind, name)
        case (
            mi.StrType()
            | mi.BytesType()
            | mi.ListType()
            | mi.VarTupleType()
            | mi.SetType()
            | mi.FrozenSetType()
        ):
            return _sequences(kind, name)
        case mi.BoolType():
            return st.booleans()
        case mi.NoneType():
            return st.none()
        case mi.EnumType():
            return st.sampled_from(list(kind.cls))
        case mi.LiteralType():
            return st.sampled_from(list(kind.values))
        case mi.TupleType():
            return st.tuples(*(_values(item, name) for item in kind.item_types))
        case mi.UnionType():
            return st.one_of(*(_values(item, name) for item in kind.types))
        case mi.StructType():
            return values(kind.cls)
    raise NoStrategy(
        f"{name}: there is no strategy for {type(kind).__name__}; write one for this message by hand"
    )


def _numbers(kind: mi.IntType | mi.FloatType, name: str) -> SearchStrategy[Any]:
    low, high = _bounds(kind, name)
    if kind.multiple_of is not None:
        step = kind.multiple_of
        first, last = math.ceil(low / step), math.floor(high / step)
        return st.integers(first, last).map(lambda times: type(step)(times * step))
    if isinstance(kind, mi.IntType):
        return st.one_of(st.sampled_from((low, high)), st.integers(int(low), int(high)))
    return st.one_of(st.sampled_from((low, high)), st.floats(low, high))


def _bounds(kind: mi.IntType | mi.FloatType, name: str) -> tuple[Any, Any]:
    """The least and the largest value, both allowed. Raises ``NoStrategy`` where there are none."""
    is_int = isinstance(kind, mi.IntType)
    low, high = kind.ge, kind.le
    if low is None and kind.gt is not None:
        low = kind.gt + 1 if is_int else math.nextafter(kind.gt, math.inf)
    if high is None and kind.lt is not None:
        high = kind.lt - 1 if is_int else math.nextafter(kind.lt, -math.inf)
    if low is None or high is None:
        raise NoStrategy(f"{name}: a number without both bounds; give it ge and le with msgspec.Meta")
    return (int(low), int(high)) if is_int else (float(low), float(high))


def _sequences(kind: Any, name: str) -> SearchStrategy[Any]:
    least = kind.min_length or 0
    most = min(kind.max_length, max(least, DRAWN_LENGTH_MAX)) if kind.max_length is not None else least
    match kind:
        case mi.StrType(pattern=str() as pattern):
            fitting = st.from_regex(pattern)
            return fitting.filter(lambda text: least <= len(text) <= (kind.max_length or len(text)))
        case mi.StrType():
            return st.text(st.characters(exclude_categories=["Cs"]), min_size=least, max_size=most)
        case mi.BytesType():
            return st.binary(min_size=least, max_size=most)
        case mi.SetType():
            return st.sets(_values(kind.item_type, name), min_size=least, max_size=most)
        case mi.FrozenSetType():
            return st.frozensets(_values(kind.item_type, name), min_size=least, max_size=most)
    items = st.lists(_values(kind.item_type, name), min_size=least, max_size=most)
    return items if isinstance(kind, mi.ListType) else items.map(tuple)


# --- nearly valid ---

#: A message in pieces: its tag and its fields in order, each a name and the encoded value.
_Pieces = list[tuple[str, bytes]]


def defects(message_type: type[msgspec.Struct]) -> dict[str, SearchStrategy[bytes]]:
    """By name, payloads with one thing wrong, such as ``"celsius: too large"`` or ``"a field twice"``.

    A message that is ``array_like`` has no names of fields to get wrong, only their values and their number.
    """
    info = _struct(message_type)
    pieces = values(message_type).map(lambda value: _pieces(info, value))
    found: dict[str, SearchStrategy[bytes]] = {
        "something behind it": pieces.map(lambda p: _joined(info, p) + b"\xc0"),
        "its last byte is missing": pieces.map(lambda p: _joined(info, p)[:-1]),
        "a head longer than needed": pieces.map(lambda p: _long_head(info, p)),
    }
    first = 0 if info.tag is None else 1
    if info.array_like:
        found["an item too many"] = pieces.map(lambda p: _joined(info, [*p, ("", b"\xc0")]))
    else:
        found["an unknown field"] = pieces.map(lambda p: _joined(info, [*p, ("zz_other", b"\xc0")]))
        if len(info.fields) + first > 1:
            found["another order"] = pieces.map(lambda p: _joined(info, p[::-1]))
        if info.fields:
            found["a field twice"] = pieces.map(lambda p: _joined(info, [*p, p[-1]]))
    if first:
        found["a tag that is none"] = pieces.map(
            lambda p: _joined(info, [(p[0][0], codec.encode("zz_no_such_tag")), *p[1:]])
        )
    for place, field in enumerate(info.fields, first):
        if field.required and not info.array_like:
            found[f"{field.name}: missing"] = pieces.map(_without(info, place))
        for what, wrong in _wrong(field.type, field.name).items():
            found[f"{field.name}: {what}"] = st.builds(_replacing(info, place), pieces, wrong)
    return found


def _without(info: mi.StructType, place: int) -> Callable[[_Pieces], bytes]:
    return lambda pieces: _joined(info, pieces[:place] + pieces[place + 1 :])


def _replacing(info: mi.StructType, place: int) -> Callable[[_Pieces, bytes], bytes]:
    def replaced(pieces: _Pieces, encoded: bytes) -> bytes:
        return _joined(info, [*pieces[:place], (pieces[place][0], encoded), *pieces[place + 1 :]])

    return replaced


def _pieces(info: mi.StructType, value: msgspec.Struct) -> _Pieces:
    """All fields, those that a shorter encoding would leave out, too."""
    tag = [] if info.tag is None else [(info.tag_field or "type", codec.encode(info.tag))]
    return tag + [(f.encode_name, codec.encode(getattr(value, f.name))) for f in info.fields]


def _joined(info: mi.StructType, pieces: Sequence[tuple[str, bytes]]) -> bytes:
    head = _head(0x90 if info.array_like else 0x80, 0xDC if info.array_like else 0xDE, len(pieces))
    return head + _body(info, pieces)


def _body(info: mi.StructType, pieces: Sequence[tuple[str, bytes]]) -> bytes:
    return b"".join(value if info.array_like else codec.encode(name) + value for name, value in pieces)


def _head(short: int, longer: int, count: int) -> bytes:
    return bytes((short | count,)) if count < 16 else bytes((longer,)) + count.to_bytes(2, "big")


def _long_head(info: mi.StructType, pieces: _Pieces) -> bytes:
    return bytes((0xDD if info.array_like else 0xDF,)) + len(pieces).to_bytes(4, "big") + _body(info, pieces)


def _wrong(kind: mi.Type, name: str) -> dict[str, SearchStrategy[bytes]]:
    """By name, encodings that a field must not have."""
    found: dict[str, SearchStrategy[bytes]] = {"no value of any type": st.just(_NEVER)}
    match kind:
        case mi.Metadata():
            return _wrong(kind.type, name)
        case mi.IntType():
            found |= _wrong_int(kind, name)
        case mi.FloatType():
            found |= _wrong_float(kind, name)
        case mi.BoolType():
            found["a number"] = st.sampled_from((b"\x00", b"\x01"))
        case mi.StrType() | mi.BytesType():
            found |= _wrong_text(kind)
        case mi.EnumType():
            known = {member.value for member in kind.cls}
            found["none of its values"] = _others(known)
        case mi.LiteralType():
            found["none of its values"] = _others(set(kind.values))
        case mi.ListType() | mi.VarTupleType():
            if kind.max_length is not None and kind.max_length < TOO_LONG_MAX:
                length, item = kind.max_length + 1, _values(kind.item_type, name).map(codec.encode)
                found["too long"] = item.map(lambda one: _head(0x90, 0xDC, length) + one * length)
        case mi.TupleType():
            found["too short"] = st.just(_head(0x90, 0xDC, 0))
        case mi.StructType():
            found |= defects(kind.cls)
    if not isinstance(kind, mi.UnionType | mi.NoneType):
        found["nothing"] = st.just(b"\xc0")
    return found


def _wrong_int(kind: mi.IntType, name: str) -> dict[str, SearchStrategy[bytes]]:
    low, high = _bounds(kind, name)
    found = {
        "a text": st.just(codec.encode(str(low))),
        "too large": st.just(codec.encode(high + 1)),
        "a float": _numbers(kind, name).map(lambda number: b"\xcb" + struct.pack(">d", float(number))),
        "longer than needed": _numbers(kind, name).map(_long_int).filter(lambda encoded: encoded != b""),
    }
    if low > _INT64_MIN:
        found["too small"] = st.just(codec.encode(low - 1))
    return found


def _long_int(number: int) -> bytes:
    """In nine bytes; nothing where that is the shortest."""
    encoded = (
        b"\xcf" + number.to_bytes(8, "big")
        if number >= 0
        else b"\xd3" + number.to_bytes(8, "big", signed=True)
    )
    return b"" if encoded == codec.encode(number) else encoded


def _wrong_float(kind: mi.FloatType, name: str) -> dict[str, SearchStrategy[bytes]]:
    low, high = _bounds(kind, name)
    return {
        "a text": st.just(codec.encode("fast")),
        "not a number": st.just(codec.encode(math.nan)),
        "infinite": st.sampled_from((math.inf, -math.inf)).map(codec.encode),
        "too small": st.just(codec.encode(math.nextafter(low, -math.inf))),
        "too large": st.just(codec.encode(math.nextafter(high, math.inf))),
        "a whole number": st.sampled_from([n for n in (0, int(low), int(high)) if abs(n) <= _INT64_MAX]).map(
            codec.encode
        ),
        "in four bytes": st.floats(low, high).map(_in_four_bytes),
    }


def _in_four_bytes(number: float) -> bytes:
    """As the nearest float of half the size; infinite where there is none."""
    try:
        return b"\xca" + struct.pack(">f", number)
    except OverflowError:
        return b"\xca" + struct.pack(">f", math.inf)


def _wrong_text(kind: mi.StrType | mi.BytesType) -> dict[str, SearchStrategy[bytes]]:
    is_text = isinstance(kind, mi.StrType)
    found = {
        "a number": st.just(b"\x07"),
        "longer head than needed": st.just(b"\xdb\0\0\0\x01a" if is_text else b"\xc6\0\0\0\x01a"),
    }
    if is_text:
        found["no UTF-8"] = st.sampled_from((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80")).map(
            lambda raw: bytes((0xA0 | len(raw),)) + raw
        )
    if kind.max_length is not None and kind.max_length < TOO_LONG_MAX:
        length = kind.max_length + 1
        found["too long"] = st.just(codec.encode("a" * length if is_text else b"a" * length))
    if kind.min_length:
        found["too short"] = st.just(codec.encode("" if is_text else b""))
    return found


def _others(known: set[Any]) -> SearchStrategy[bytes]:
    plain = {one.value if isinstance(one, enum.Enum) else one for one in known}
    return st.sampled_from([one for one in ("zz_other", "", 77, -1) if one not in plain]).map(codec.encode)


# --- hostile ---


class _Bait:
    """What a pickle of an attacker's would name: something to call. Nothing here ever unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("unpickled",))


def hostile() -> SearchStrategy[bytes]:
    """Bytes that never were a message of any type."""
    depth = st.one_of(st.integers(2, 40), st.integers(2, NESTED_MAX))
    claims = st.sampled_from((b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"))
    return st.one_of(
        st.binary(max_size=64),
        st.binary(max_size=64).map(lambda some: _NEVER + some),
        st.binary(min_size=1, max_size=64).map(lambda some: some[:1] + _NEVER * 2 + some),
        depth.map(lambda deep: b"\x91" * deep + b"\xc0"),
        depth.map(lambda deep: b"\x81\xa1a" * deep + b"\xc0"),
        st.builds(lambda claim, few: claim + b"\xff\xff\xff\xff" + few, claims, st.binary(max_size=16)),
        st.sampled_from((b"\xa2\xff\xfe", b"\x81\xa2\xc3\x28\x01", b"\xd9\x03\xed\xa0\x80")),
        st.integers(0, pickle.HIGHEST_PROTOCOL).map(lambda protocol: pickle.dumps(_Bait(), protocol)),
        st.sampled_from((b"", b"\0" * 32, b'{"a": 1}', b"$(reboot)", b"../../etc/passwd", b"\x1b[2J")),
    )
