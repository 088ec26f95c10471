"""What a partition or a gate has written cannot act on whoever reads it."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from monitor.seat import printable, raw, sanitised

PRINTABLE = {chr(code) for code in range(0x20, 0x7F)}


def test_every_character_that_is_not_printable_ascii_is_escaped_and_every_other_kept() -> None:
    assert sanitised(string.printable[:95].encode()) == string.printable[:95]
    assert sanitised(b"\x1b[2J\r\n\t\x00\x7f") == "\\u001b[2J\\u000d\\u000a\\u0009\\u0000\\u007f"
    # Reorders what a reader sees; looks like the Latin letter; is an accent on the letter before; is no UTF-8.
    assert sanitised("\u202e\u0430e\u0301".encode() + b"\xff") == "\\u202e\\u0430e\\u0301\\ufffd"


@given(st.binary(max_size=200))
def test_whatever_is_logged_comes_out_as_printable_ascii(data: bytes) -> None:
    assert set(sanitised(data)) <= PRINTABLE


@given(st.text(max_size=200))
def test_whatever_text_a_gate_reports_comes_out_as_printable_ascii(text: str) -> None:
    assert set(printable(text)) <= PRINTABLE


def test_raw_text_is_what_a_reader_gets_without_the_escape_wall() -> None:
    assert raw(b"\x1b[2J\r") == "\x1b[2J\r"
    assert raw("\u202e".encode() + b"\xff") == "\u202e\ufffd"
