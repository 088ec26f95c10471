"""What the outside may ask of therapy: a signed target inside bounds, and a raise while the patient walks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_schemas.insulin_pump import ActivityHint, TargetRequest
from tests.therapy.coupling import image_module
from world.cohort import Settings
from world.insulin import prescription
from world.meals import Clinician

targets = image_module("therapy", "targets")
CLINICIAN = Clinician(7)
SETTINGS = prescription(Settings(1.0, 10.0, 40.0), CLINICIAN.public_key)
GOOD = TargetRequest(5, 150.0, 840, 120, 870, bytes(64))


def signed(**changed: Any) -> TargetRequest:
    return CLINICIAN.sign(msgspec.structs.replace(GOOD, **changed))


def test_a_good_request_sets_the_target_for_its_time_only() -> None:
    held = targets.Targets(SETTINGS)
    assert held.offer(signed(), 835) is None
    assert [held.at(now, None) for now in (835, 840, 959, 960)] == [110.0, 150.0, 150.0, 110.0]


@pytest.mark.parametrize(
    ("changed", "now_min", "why"),
    [
        ({"counter": 0}, 835, "counter"),
        ({}, 871, "expired"),
        ({"expires_at_min": 5000}, 960, "expired"),
        ({"starts_at_min": 5000, "expires_at_min": 6000}, 835, "early"),
        ({"target_mg_dl": 99.0}, 835, "target"),
        ({"target_mg_dl": 181.0}, 835, "target"),
        ({"duration_min": 241}, 835, "duration"),
    ],
)
def test_a_signed_request_outside_the_rules_is_refused(
    changed: dict[str, Any], now_min: int, why: str
) -> None:
    held = targets.Targets(SETTINGS)
    assert held.offer(signed(**changed), now_min) == why
    assert held.at(845, None) == 110.0


@pytest.mark.parametrize(
    "field", ["counter", "target_mg_dl", "starts_at_min", "duration_min", "expires_at_min"]
)
def test_altering_any_field_breaks_the_signature(field: str) -> None:
    request = signed()
    altered = msgspec.structs.replace(request, **{field: getattr(request, field) + 1})
    assert targets.Targets(SETTINGS).offer(altered, 845) == "signature"


def test_a_request_is_not_accepted_twice_and_older_ones_not_after_newer() -> None:
    held = targets.Targets(SETTINGS)
    assert held.offer(signed(counter=6), 835) is None
    assert held.offer(signed(counter=6), 840) == "counter"
    assert held.offer(signed(counter=5, target_mg_dl=100.0), 840) == "counter"
    assert held.at(845, None) == 150.0


def test_a_forged_request_does_not_use_up_counters() -> None:
    held = targets.Targets(SETTINGS)
    assert held.offer(msgspec.structs.replace(signed(), counter=0xFFFF_FFFF), 835) == "signature"
    assert held.offer(signed(), 835) is None


def test_another_clinicians_request_is_refused() -> None:
    assert targets.Targets(SETTINGS).offer(Clinician(8).sign(GOOD), 835) == "signature"


def test_a_key_that_is_no_key_accepts_nobody() -> None:
    bounds = msgspec.structs.replace(SETTINGS.targets, clinician_key=b"\xff" * 32)
    assert (
        targets.Targets(msgspec.structs.replace(SETTINGS, targets=bounds)).offer(signed(), 835) == "signature"
    )


@given(st.floats(0.0, 300.0), st.integers(0, 2000), st.integers(0, 2000))
def test_a_hint_can_only_raise_the_target_and_by_forty_at_most(
    steps: float, at_min: int, now_min: int
) -> None:
    held = targets.Targets(SETTINGS)
    assert 110.0 <= held.at(now_min, ActivityHint(at_min, steps)) <= 150.0
    if not 0 <= now_min - at_min <= 15 or steps < 40.0:
        assert held.at(now_min, ActivityHint(at_min, steps)) == 110.0


def test_a_brisk_walk_raises_the_target_in_full() -> None:
    assert targets.Targets(SETTINGS).at(1000, ActivityHint(1000, 100.0)) == 150.0
