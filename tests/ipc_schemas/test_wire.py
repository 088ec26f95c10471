"""The fixed header: sixteen bytes, little-endian, of which nothing is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_schemas import wire

short = st.integers(0, 0xFFFF)
long = st.integers(0, 0xFFFF_FFFF)
headers = st.builds(wire.Header, short, short, long, long, long)


@given(headers, st.binary(max_size=50))
def test_what_is_packed_is_unpacked(header: wire.Header, payload: bytes) -> None:
    message = wire.pack(header, payload)
    assert len(message) == 16 + len(payload)
    assert wire.unpack(message) == (header, payload)


@given(st.binary(max_size=15))
def test_less_than_a_header_is_refused(message: bytes) -> None:
    with pytest.raises(
        ValueError, match=f"a message of {len(message)} bytes is shorter than its header of 16"
    ):
        wire.unpack(message)


@given(st.binary(min_size=16, max_size=64))
def test_any_longer_bytes_are_some_header(message: bytes) -> None:
    assert wire.pack(*wire.unpack(message)) == message


def test_the_layout_does_not_change_by_accident() -> None:
    assert wire.pack(wire.Header(1, 2, 3, 4, 5), b"x").hex() == "0100020003000000040000000500000078"
