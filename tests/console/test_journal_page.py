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


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["what"] for entry in ENTRIES])
def test_a_forged_name_is_shown_escaped(entry: dict[str, Any]) -> None:
    shown = journal_page.row({"frame": 3} | entry).plain
    assert shown.isascii()
    assert shown.isprintable()
    assert "\\u001b[2J\\u009b31m\\u202ey" in shown
