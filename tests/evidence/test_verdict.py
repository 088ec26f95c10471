"""What makes a verdict: each criterion alone turns HELD into something else, and a breach outranks what is missing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evidence import noninterference
from evidence.experiment import Facts, verdict
from evidence.harm import Severity
from evidence.noninterference import Comparison, Difference, Emission
from evidence.outcome import Outcome
from faults.attack import Effect

NOTHING = Effect(False, "nothing came of it")
SAME = Comparison(10, None)
OTHER = Comparison(10, Difference(3, "therapy.dose", "units", 1.0, 2.0))


@pytest.mark.parametrize(
    ("change", "outcome", "said"),
    [
        ({}, Outcome.HELD, "nothing came of it"),
        ({"effects": [Effect(True, "it got through")]}, Outcome.BREACH, "it got through"),
        ({"effects": [NOTHING, Effect(True, "it got through")]}, Outcome.BREACH, "it got through"),
        ({"comparison": OTHER}, Outcome.BREACH, "not that of the replay"),
        ({"leaks": ["a canary in a message"]}, Outcome.BREACH, "a canary in a message"),
        ({"added_harm": Severity.S1}, Outcome.BREACH, "grade S1"),
        ({"added_harm": Severity.S0}, Outcome.HELD, "nothing came of it"),
        ({"unfinished": ["ended in frame 3"]}, Outcome.NO_REPLY, "the run ended in frame 3"),
        ({"effects": []}, Outcome.NOT_ACTIVATED, "no injection"),
        ({"idle": ["K01"]}, Outcome.NOT_ACTIVATED, "K01 never ran"),
        ({"effects": [NOTHING, Effect(None, "cannot be told")]}, Outcome.UNKNOWN, "cannot be told"),
        ({"comparison": Comparison(0, None)}, Outcome.UNKNOWN, "nothing to compare"),
        ({"comparison": None}, Outcome.HELD, "nothing came of it"),
    ],
)
def test_each_criterion_alone_decides(change: dict[str, Any], outcome: Outcome, said: str) -> None:
    sound: dict[str, Any] = {"effects": [NOTHING], "comparison": SAME}
    found, reasons = verdict(Facts(**sound | change))
    assert found is outcome
    assert said in "; ".join(reasons)


@pytest.mark.parametrize(
    "breach",
    [
        {"effects": [Effect(True, "."), Effect(None, "cannot be told")]},
        {"comparison": OTHER},
        {"leaks": ["."]},
        {"added_harm": Severity.S4},
    ],
)
def test_a_breach_outranks_whatever_is_missing_beside_it(breach: dict[str, Any]) -> None:
    missing: dict[str, Any] = {
        "effects": [Effect(None, "cannot be told")],
        "idle": ["K01"],
        "unfinished": ["ended"],
        "comparison": SAME,
    }
    assert verdict(Facts(**missing | breach))[0] is Outcome.BREACH


# --- the comparison ---

FIRST = Emission(3, "therapy.dose", msgspec.msgpack.encode({"units": 1.0}))
SECOND = Emission(4, "therapy.dose", msgspec.msgpack.encode({"units": 2.0}))


@pytest.mark.parametrize(
    "other",
    [
        (FIRST._replace(frame=2), SECOND),
        (FIRST, SECOND._replace(frame=5)),
        (FIRST._replace(port="therapy.alarm"), SECOND),
        (FIRST._replace(payload=SECOND.payload), SECOND),
        (SECOND, FIRST),
        (FIRST,),
        (FIRST, SECOND, SECOND),
        (),
    ],
)
def test_frame_port_payload_order_and_number_all_count(other: tuple[Emission, ...]) -> None:
    found = noninterference.compare((FIRST, SECOND), other)
    assert found.difference is not None
    assert not found.holds
    assert noninterference.compare((FIRST, SECOND), (FIRST, SECOND)).holds
