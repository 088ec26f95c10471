"""One byte string per value; whatever else comes in ends in ``Refused``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_schemas import codec, wire
from ipc_schemas.codec import Codec, Refused, join_batch
from ipc_schemas.insulin_pump import PumpCommand, TargetRequest

Meta = msgspec.Meta
VALID = {"command_id": 1, "at_min": 5, "basal_u_per_h": 1.0, "bolus_u": 0.0, "valid_for_min": 30}


class Mixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    n: Annotated[int, Meta(ge=-(2**40), le=2**40)]
    x: Annotated[float, Meta(ge=-1e9, le=1e9)]
    t: Annotated[str, Meta(max_length=40)]
    b: Annotated[bytes, Meta(max_length=300)]
    r: Annotated[tuple[bool | None, ...], Meta(max_length=20)]


MIXED: Codec[Mixed] = Codec(Mixed)
COMMAND: Codec[PumpCommand] = Codec(PumpCommand)
mixed = st.builds(
    Mixed,
    n=st.integers(-(2**40), 2**40),
    x=st.floats(-1e9, 1e9),
    t=st.text(max_size=40),
    b=st.binary(max_size=300),
    r=st.lists(st.sampled_from([True, False, None]), max_size=20).map(tuple),
)


@given(mixed)
def test_what_is_encoded_comes_back_and_in_one_form(value: Mixed) -> None:
    payload = codec.encode(value)
    assert MIXED.decode(payload) == value
    assert codec.encode(MIXED.decode(payload)) == payload


@given(st.lists(mixed, max_size=20))
def test_a_joined_batch_is_the_canonical_batch(values: list[Mixed]) -> None:
    batch = join_batch([codec.encode(value) for value in values])
    assert batch == codec.encode(values)
    assert MIXED.decode_batch(batch) == values


def test_the_order_in_which_a_mapping_was_filled_does_not_show() -> None:
    assert codec.encode({"b": 1, "a": 2}) == codec.encode({"a": 2, "b": 1})


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 65_535, 65_536])
def test_the_head_of_a_batch_is_right_at_every_width(count: int) -> None:
    assert join_batch([b"\x01"] * count) == codec.encode([1] * count)


@given(mixed, st.data())
def test_any_one_changed_byte_is_another_message_or_refused(value: Mixed, data: st.DataObject) -> None:
    payload = codec.encode(value)
    place = data.draw(st.integers(0, len(payload) - 1))
    changed = bytearray(payload)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        read = MIXED.decode(bytes(changed))
    except Refused:
        return
    assert codec.encode(read) == bytes(changed) != payload


def refusal(payload: bytes, reader: Codec[Any] = COMMAND) -> str:
    """The reason for which ``payload`` is refused."""
    with pytest.raises(Refused) as caught:
        reader.decode(payload)
    assert caught.value.detail.isprintable()
    assert caught.value.detail.isascii()
    assert len(caught.value.detail) <= 200
    return caught.value.reason


def test_the_valid_command_is_taken() -> None:
    assert COMMAND.decode(msgspec.msgpack.encode(VALID)) == PumpCommand(**VALID)  # type: ignore[arg-type]


PLAIN = msgspec.msgpack.encode(VALID)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x86" + PLAIN[1:] + msgspec.msgpack.encode("bolus_u") + msgspec.msgpack.encode(0.0), "canonical"),
        (PLAIN.replace(b"\xaacommand_id\x01", b"\xaacommand_id\xcc\x01"), "canonical"),
        (PLAIN.replace(b"\xaacommand_id\x01", b"\xaacommand_id\xd3" + bytes(7) + b"\x01"), "canonical"),
        (PLAIN.replace(b"\xaacommand_id", b"\xd9\x0acommand_id"), "canonical"),
        (msgspec.msgpack.encode(dict(reversed(VALID.items()))), "canonical"),
        (PLAIN.replace(b"\xcb?\xf0\0\0\0\0\0\0", b"\x01"), "canonical"),  # 1 for 1.0
        (PLAIN + b"\0", "schema"),
        (PLAIN + PLAIN, "schema"),
        (PLAIN[:-1], "schema"),
        (b"", "schema"),
        (b"\xc1", "schema"),
        (b"\xc0", "schema"),
        (msgspec.msgpack.encode(VALID | {"more": 1}), "schema"),
        (msgspec.msgpack.encode(VALID | {"\u0430\u202e" * 300: 1}), "schema"),
        (msgspec.msgpack.encode({k: v for k, v in VALID.items() if k != "bolus_u"}), "schema"),
        (msgspec.msgpack.encode(VALID | {"bolus_u": "1"}), "schema"),
        (msgspec.msgpack.encode(VALID | {"bolus_u": None}), "schema"),
        (msgspec.msgpack.encode(VALID | {"bolus_u": 50.1}), "range"),
        (msgspec.msgpack.encode(VALID | {"bolus_u": -0.1}), "range"),
        (msgspec.msgpack.encode(VALID | {"bolus_u": float("nan")}), "range"),
        (msgspec.msgpack.encode(VALID | {"bolus_u": float("inf")}), "range"),
        (msgspec.msgpack.encode(VALID | {"command_id": 2**32}), "range"),
        (msgspec.msgpack.encode(VALID | {"command_id": 2**63}), "range"),
        (b"\x91" * 100_000, "schema"),
        (b"\x85\xaacommand_id" + b"\x81\xa1a" * 50_000, "schema"),
        (b"\x85\xa2\xff\xfe", "schema"),
        (b"\xdf\xff\xff\xff\xff", "schema"),
        (b"\xdd\xff\xff\xff\xff", "schema"),
        (b"\xdb\xff\xff\xff\xff", "schema"),
        (b"\xc6\xff\xff\xff\xff", "schema"),
        (b"\xc9\xff\xff\xff\xff\x05", "schema"),
    ],
)
def test_hostile_bytes_are_refused_for_the_right_reason(payload: bytes, reason: str) -> None:
    assert payload != PLAIN
    assert refusal(payload) == reason


@pytest.mark.parametrize("length", [0, 63, 65, 4_000])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    request = TargetRequest(1, 110.0, 0, 60, 100, bytes(64))
    payload = codec.encode(request).replace(
        msgspec.msgpack.encode(bytes(64)), msgspec.msgpack.encode(bytes(length))
    )
    assert refusal(payload, Codec(TargetRequest)) == "range"


SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=15,
)
READERS: list[Codec[Any]] = [COMMAND, MIXED, Codec(wire.Hello), Codec(wire.WindowOpen)]


@given(st.binary(max_size=200) | SHAPES.map(msgspec.msgpack.encode), st.sampled_from(READERS))
def test_no_bytes_raise_anything_but_refused(payload: bytes, reader: Codec[Any]) -> None:
    reasons = set()
    for read in (reader.decode, reader.decode_loosely, reader.decode_batch):
        try:
            read(payload)
        except Refused as refused:
            reasons.add(refused.reason)
    assert reasons <= {"schema", "range", "canonical"}


@pytest.mark.parametrize(
    "batch", [b"\x91" + PLAIN + b"\0", b"\xdc\0\1" + PLAIN, b"\x92" + PLAIN, PLAIN, b"\x91" * 90_000]
)
def test_a_batch_that_is_not_canonical_is_refused(batch: bytes) -> None:
    with pytest.raises(Refused):
        COMMAND.decode_batch(batch)
    assert COMMAND.decode_batch(b"\x91" + PLAIN)[0].command_id == 1
