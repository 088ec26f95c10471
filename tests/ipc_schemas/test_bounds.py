"""No message type of ours has an unbounded field, and every kind of unbounded field is found."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Annotated, Any, Literal

import msgspec
import pytest

import ipc_schemas
from ipc_schemas import bounds, codec, insulin_pump, links, wire

Meta = msgspec.Meta


def structs_in(module: Any) -> list[type[msgspec.Struct]]:
    """The message types that a module defines itself."""
    return [
        found
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, msgspec.Struct)
        and found.__module__ == module.__name__
    ]


MODULES = [
    importlib.import_module(f"ipc_schemas.{m.name}") for m in pkgutil.iter_modules(ipc_schemas.__path__)
]
TYPES = [found for module in MODULES for found in structs_in(module)]
#: Shapes between trusted processes only, with whole images or facts in them; no partition sends them.
TRUSTED_ONLY = {"Payload", "Overlay", "PowerOn", "Note"}


@pytest.mark.parametrize("message_type", TYPES, ids=[found.__qualname__ for found in TYPES])
def test_no_type_of_ours_has_an_unbounded_field(message_type: type[msgspec.Struct]) -> None:
    found = bounds.unbounded_fields(message_type)
    if message_type.__name__ in TRUSTED_ONLY:
        assert found
        return
    found = tuple(
        f for f in found if not (message_type in (wire.WindowOpen, wire.Delivery) and "16777216" in f)
    )
    if issubclass(message_type, links.Link):
        found = tuple(f for f in found if "16777216" not in f)  # a gate's report may hold a whole frame
    assert found == ()


def test_the_walk_sees_all_reference_messages() -> None:
    assert {insulin_pump.PumpCommand, insulin_pump.CgmReading, insulin_pump.Upload, wire.Hello} <= set(TYPES)
    assert len(structs_in(insulin_pump)) >= 12


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str


class Loop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    more: Loop | None


UNBOUNDED: list[tuple[Any, str]] = [
    (int, "a number without both bounds"),
    (float, "a number without both bounds"),
    (Annotated[int, Meta(ge=0)], "a number without one bound"),
    (Annotated[float, Meta(lt=5.0)], "a number without one bound"),
    (str, "a text without max_length"),
    (Annotated[str, Meta(max_length=70_000)], "a text of up to 70000, above the limit of 65536"),
    (Annotated[str, Meta(max_length=65_537)], "a text of up to 65537, above the limit of 65536"),
    (Annotated[str, Meta(max_length=5, pattern="^a$")], "is not anchored"),
    (Annotated[str, Meta(max_length=5, pattern=r"a\Z")], "is not anchored"),
    (Annotated[str, Meta(max_length=5, pattern=r"\Aa")], "is not anchored"),
    (bytes, "a byte string without max_length"),
    (bytearray, "a byte string without max_length"),
    (list[bool], "a sequence without max_length"),
    (tuple[bool, ...], "a sequence without max_length"),
    (set[bool], "a sequence without max_length"),
    (frozenset[bool], "a sequence without max_length"),
    (Annotated[list[int], Meta(max_length=3)], "f[]: a number without both bounds"),
    (tuple[bool, float], "f[1]: a number without both bounds"),
    (int | None, "a number without both bounds"),
    (Inner, "f.text: a text without max_length"),
    (dict[str, int], "Dict has no bound that can be stated"),
    (Any, "Any has no bound that can be stated"),
    (msgspec.Raw, "Raw has no bound that can be stated"),
    (Loop, "the type contains itself"),
]


def one_field(kind: Any, *, frozen: bool = True, forbid_unknown_fields: bool = True) -> type[msgspec.Struct]:
    """A message with one field ``f``."""
    return msgspec.defstruct("One", [("f", kind)], frozen=frozen, forbid_unknown_fields=forbid_unknown_fields)


@pytest.mark.parametrize(("kind", "says"), UNBOUNDED, ids=[str(n) for n in range(len(UNBOUNDED))])
def test_each_kind_of_unbounded_field_is_named(kind: Any, says: str) -> None:
    found = bounds.unbounded_fields(one_field(kind))
    assert len(found) == 1
    assert says in found[0]
    assert found[0].startswith("One.f")


@pytest.mark.parametrize(
    "kind",
    [
        Annotated[int, Meta(gt=0, lt=5)],
        Annotated[float, Meta(ge=0.0, le=1.0)],
        Annotated[str, Meta(max_length=65_536)],
        Annotated[str, Meta(max_length=5, pattern=r"\Aa\Z")],
        Annotated[bytes, Meta(max_length=1)],
        Annotated[tuple[bool, ...], Meta(max_length=4)],
        tuple[bool, bool],
        bool | None,
        Literal["on", "off"],
        insulin_pump.AlarmCode,
        insulin_pump.PumpCommand,
    ],
)
def test_a_bounded_field_is_not_blamed(kind: Any) -> None:
    assert bounds.unbounded_fields(one_field(kind)) == ()


def test_accepting_unknown_fields_or_changes_is_named() -> None:
    assert "unknown fields" in bounds.unbounded_fields(one_field(bool, forbid_unknown_fields=False))[0]
    assert "not frozen" in bounds.unbounded_fields(one_field(bool, frozen=False))[0]


def test_without_bounds_unknown_fields_are_still_refused() -> None:
    message = msgspec.msgpack.encode({"measured_at_min": 1, "glucose_mg_dl": 1.0, "noise": 1, "more": 1})
    with pytest.raises(codec.Refused, match="unknown field"):
        codec.Codec(bounds.without_bounds(insulin_pump.CgmReading)).decode(message)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0, 1001.0])
def test_without_bounds_takes_the_values_that_the_bounds_refuse(value: float) -> None:
    message = msgspec.msgpack.encode({"measured_at_min": 1, "glucose_mg_dl": value, "noise": 1})
    with pytest.raises(codec.Refused):
        codec.Codec(insulin_pump.CgmReading).decode(message)
    loose = codec.Codec(bounds.without_bounds(insulin_pump.CgmReading)).decode(message)
    assert str(loose.glucose_mg_dl) == str(value)  # type: ignore[attr-defined]
