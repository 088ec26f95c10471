"""What the strategies call valid is read back as itself, and everything else is refused, for every kind of field."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec import Meta

from evidence.testing import strategies
from evidence.testing.strategies import NoStrategy, defects, payloads, values
from ipc_schemas import bounds, codec
from ipc_schemas.codec import Codec, Refused
from monitor.loader import load_design, load_schemas
from sandbox import walls

_ROOT = Path(__file__).resolve().parent.parent.parent


class Mode(enum.StrEnum):
    OFF = "off"
    ON = "on"


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    x: Annotated[int, Meta(ge=-3, le=3)]


class Every(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One field of each kind that a message may have."""

    small: Annotated[int, Meta(ge=-5, le=300)]
    huge: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    open: Annotated[int, Meta(gt=0, lt=10)]
    even: Annotated[int, Meta(ge=1, le=99, multiple_of=2)]
    ratio: Annotated[float, Meta(ge=0.0, le=1.0)]
    beyond: Annotated[float, Meta(gt=-1e300, lt=1e300)]
    is_on: bool
    word: Annotated[str, Meta(min_length=1, max_length=20)]
    code: Annotated[str, Meta(max_length=8, pattern=r"\A[a-z]{2}[0-9]+\Z")]
    blob: Annotated[bytes, Meta(max_length=300)]
    mode: Mode
    kind: Literal["a", "b", 3]
    maybe: Annotated[int, Meta(ge=0, le=9)] | None
    row: Annotated[tuple[Annotated[float, Meta(ge=-1.0, le=1.0)], ...], Meta(max_length=4)]
    pair: tuple[bool, Annotated[int, Meta(ge=0, le=1)]]
    marks: Annotated[frozenset[Mode], Meta(max_length=2)]
    point: Point
    renamed: bool = msgspec.field(name="other-name")
    with_default: bool = False


class Tagged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="tagged", tag_field="what"):
    size: Annotated[int, Meta(ge=0, le=70_000)]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    size: Annotated[int, Meta(ge=0, le=70_000)]
    text: Annotated[str, Meta(max_length=3)]


def _of(design: str) -> list[type[msgspec.Struct]]:
    loaded = load_design(_ROOT / design, walls.ALL)
    schemas = load_schemas(loaded)
    return [getattr(schemas, name) for name in sorted({port.message for port in loaded.ports})]


TYPES: list[type[msgspec.Struct]] = [
    Every,
    Tagged,
    Row,
    Point,
    *_of("designs/insulin_pump"),
    *_of("examples/thermostat"),
]
_EACH = pytest.mark.parametrize("message_type", TYPES, ids=[each.__name__ for each in TYPES])


@pytest.mark.parametrize("message_type", [Every, Tagged, Row])
def test_the_types_of_these_tests_are_such_as_a_design_may_have(message_type: type[msgspec.Struct]) -> None:
    assert bounds.unbounded_fields(message_type) == ()


@_EACH
@settings(max_examples=40)
@given(data=st.data())
def test_a_valid_payload_is_read_back_as_itself(
    message_type: type[msgspec.Struct], data: st.DataObject
) -> None:
    payload = data.draw(payloads(message_type, "valid"))
    assert codec.encode(Codec(message_type).decode(payload)) == payload


def _is_read(reader: Codec[Any], payload: bytes) -> bool:
    try:
        reader.decode(payload)
    except Refused:
        return False
    return True


def _read_of(reader: Codec[Any], wrong: SearchStrategy[bytes]) -> list[bytes]:
    """Those of a few payloads that the reader takes."""
    read: list[bytes] = []

    @settings(max_examples=4, database=None, phases=[Phase.generate])
    @given(payload=wrong)
    def each(payload: bytes) -> None:
        read.extend([payload] if _is_read(reader, payload) else [])

    each()
    return read


@_EACH
def test_every_defect_that_is_named_is_refused_each_time(message_type: type[msgspec.Struct]) -> None:
    reader = Codec(message_type)
    read = {name: _read_of(reader, wrong) for name, wrong in defects(message_type).items()}
    assert {name: payloads for name, payloads in read.items() if payloads} == {}


@_EACH
@settings(max_examples=40)
@given(data=st.data())
def test_hostile_and_nearly_valid_payloads_are_refused(
    message_type: type[msgspec.Struct], data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(strategies.KINDS[1:]))
    with pytest.raises(Refused):
        Codec(message_type).decode(data.draw(payloads(message_type, kind)))


@_EACH
@settings(max_examples=20)
@given(data=st.data())
def test_a_defect_is_the_only_thing_wrong(message_type: type[msgspec.Struct], data: st.DataObject) -> None:
    """The pieces that defects are made of, put together unchanged, are the canonical message."""
    info, value = strategies._struct(message_type), data.draw(values(message_type))
    assert strategies._joined(info, strategies._pieces(info, value)) == codec.encode(value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("small: too large", "range"),
        ("small: too small", "range"),
        ("small: longer than needed", "canonical"),
        ("ratio: not a number", "range"),
        ("ratio: infinite", "range"),
        ("ratio: in four bytes", "canonical"),
        ("word: too long", "range"),
        ("word: no UTF-8", "schema"),
        ("mode: none of its values", "schema"),
        ("is_on: a number", "schema"),
        ("blob: missing", "schema"),
        ("point: x: too large", "range"),
        ("row: too long", "range"),
        ("an unknown field", "schema"),
        ("a field twice", "canonical"),
        ("another order", "canonical"),
        ("a head longer than needed", "canonical"),
        ("something behind it", "schema"),
    ],
)
def test_a_defect_is_refused_for_what_its_name_says(name: str, reason: str) -> None:
    wrong = defects(Every)[name]

    @settings(max_examples=10, database=None)
    @given(payload=wrong)
    def refused(payload: bytes) -> None:
        with pytest.raises(Refused) as refusal:
            Codec(Every).decode(payload)
        assert refusal.value.reason == reason

    refused()


@pytest.mark.parametrize(
    "is_edge",
    [
        lambda value: value.small == 300,
        lambda value: value.small == -5,
        lambda value: value.open == 9,
        lambda value: value.ratio == 1.0,
        lambda value: value.maybe is None,
    ],
)
def test_the_edges_of_the_bounds_are_drawn(is_edge: Callable[[Any], bool]) -> None:
    assert is_edge(
        find(
            values(Every),
            is_edge,
            settings=settings(max_examples=500, database=None, phases=[Phase.generate]),
        )
    )


def test_a_field_without_both_bounds_has_no_strategy_and_is_named() -> None:
    class Unbounded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        free: int

    with pytest.raises(NoStrategy, match="free: a number without both bounds"):
        payloads(Unbounded)
    with pytest.raises(ValueError, match="kind='evil': there are valid, nearly_valid, hostile"):
        payloads(Point, "evil")  # type: ignore[arg-type]
