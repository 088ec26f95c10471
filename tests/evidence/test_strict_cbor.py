"""The strict reader agrees with a common one on what it accepts, and accepts one encoding of each value."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import strict_cbor


def depth(value: Any) -> int:
    """How many arrays and maps are around the innermost value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=-1)


@given(
    st.recursive(
        st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=40),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 2**64 - 1), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_the_strict_reader_agrees_with_the_common_one_on_what_it_accepts(value: Any) -> None:
    encoded = cbor2.dumps(value, canonical=True)
    if depth(value) > strict_cbor.DEPTH_MAX:
        with pytest.raises(strict_cbor.Unreadable, match="levels"):
            strict_cbor.read(encoded)
        return
    assert cbor2.dumps(strict_cbor.read(encoded), canonical=True) == encoded


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x18\x17",
        b"\x19\x00\xff",
        b"\x1a\x00\x00\xff\xff",
        b"\x1b" + bytes(4) + b"\xff" * 4,
        b"\xa2\x01\x00\x01\x00",
        b"\xa2\x02\x00\x01\x00",
    ],
)
def test_a_value_has_one_encoding(encoded: bytes) -> None:
    with pytest.raises(strict_cbor.Unreadable):
        strict_cbor.read(encoded)


def test_depth_is_bounded_also_where_few_values_are() -> None:
    strict_cbor.read(b"\x81" * strict_cbor.DEPTH_MAX + b"\x00")
    with pytest.raises(strict_cbor.Unreadable, match="levels"):
        strict_cbor.read(b"\x81" * (strict_cbor.DEPTH_MAX + 1) + b"\x00")


@pytest.mark.parametrize("head", [b"\x1c", b"\x1d", b"\x1e", b"\x1f", b"\x5f", b"\x9f", b"\xbf"])
def test_a_length_that_is_not_stated_is_refused(head: bytes) -> None:
    with pytest.raises(strict_cbor.Unreadable, match="not stated"):
        strict_cbor.read(head + b"\xff" * 128)


def test_values_are_counted_before_they_are_believed() -> None:
    for encoded in (b"\x98\x81" + bytes(129), b"\x84" + (b"\x98\x20" + bytes(32)) * 4):
        with pytest.raises(strict_cbor.Unreadable, match="values"):
            strict_cbor.read(encoded)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        found = strict_cbor.read(data)
    except strict_cbor.Unreadable:
        return
    assert cbor2.dumps(found, canonical=True) == data
