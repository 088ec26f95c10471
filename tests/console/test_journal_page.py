"""Nothing of a journal acts on a terminal, whoever wrote it and whatever it calls its ports."""

from __future__ import annotations

from typing import Any

import pytest

from console import journal_page

#: ESC, a C1 control, a bidi override, a line end.
HOSTILE = "x\x1b[2J\x9b31m\u202ey\n"
ENTRIES: list[dict[str, Any]] = [
    {"what": "message", "sender": HOSTILE, "port": HOSTILE, "message": {HOSTILE: HOSTILE}},
    {
        "what": "refusal",
        "partition": HOSTILE,
        "port": HOSTILE,
        "reason": HOSTILE,
        "detail": HOSTILE,
        "count": 1,
        "exhibits": [{"place": 0, "bytes": HOSTILE.encode()}],
    },
    {"what": "ruling", "partition": HOSTILE, "event": HOSTILE, "action": HOSTILE, "reason": HOSTILE},
    {"what": "life", "partition": HOSTILE, "event": HOSTILE, "epoch": 0},
]


def test_the_kept_bytes_of_a_refusal_are_shown_in_hexadecimal_and_short() -> None:
    kept = [
        {"place": 0, "bytes": bytes(range(100))},
        {"place": 1, "bytes": b"\x1b"},
        {"place": 1, "bytes": b"z"},
    ]
    entry = {"what": "refusal", "frame": 3, "partition": "a", "port": "a.p", "reason": "range", "detail": "d"}
    shown = journal_page.row(entry | {"count": 9, "exhibits": kept}).plain
    assert shown.endswith("; kept 3: 100 bytes 000102030405060708090a0b0c0d0e0f..., 1 bytes 1b, ...")
    assert "kept" not in journal_page.row(entry | {"count": 9, "exhibits": []}).plain


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["what"] for entry in ENTRIES])
def test_a_forged_name_is_shown_escaped(entry: dict[str, Any]) -> None:
    shown = journal_page.row({"frame": 3} | entry).plain
    assert shown.isascii()
    assert shown.isprintable()
    assert "\\u001b[2J\\u009b31m\\u202ey" in shown
