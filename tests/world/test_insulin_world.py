"""The world as the device meets it: its ports, its configuration, and what it does without a device."""

from __future__ import annotations

from typing import Any

import pytest

from ipc_schemas.bounds import unbounded_fields
from ipc_schemas.codec import Codec
from ipc_schemas.prescription import Prescription
from tests.therapy.coupling import Coupled, Line, _wire_up
from world.cohort import COHORT_PATIENTS
from world.insulin import InsulinWorld
from world.truth import Truth


def test_the_prescription_is_bounded_and_decodes_for_every_patient() -> None:
    assert unbounded_fields(Prescription) == ()
    for index in range(COHORT_PATIENTS):
        held = Codec(Prescription).decode(InsulinWorld(7, index).configs()["prescription"])
        assert held.limits.suspend_below_mg_dl == 70.0
        assert held.limits.insulin_on_board_max_u >= held.limits.bolus_max_u


def test_truth_is_bounded() -> None:
    assert unbounded_fields(Truth) == ()


def test_frames_in_the_wrong_order_are_refused() -> None:
    world = InsulinWorld(7)
    line: Line = _wire_up()[0]["world"]
    world.frame(line.open(0))
    with pytest.raises(ValueError, match="frame 2 opened, but the world stands at minute 5"):
        world.frame(line.open(2))


def test_messages_are_stamped_with_the_end_of_the_time_they_tell_of() -> None:
    seen: dict[str, Any] = {}
    device = Coupled(7)
    device.spy = lambda frame, port, message: seen.setdefault(port, (frame, message))
    device.run(1)
    assert seen["world.cgm"][1].measured_at_min == 5
    assert seen["world.delivery_log"][1].ends_at_min == 5
    assert seen["world.pump_status"][1].at_min == 5
    assert len(device.world.truth().glucose_mg_dl) == 5


def test_every_port_of_the_world_speaks_within_a_day() -> None:
    ports: set[str] = set()
    device = Coupled(7)
    device.spy = lambda _frame, port, _message: ports.add(port)
    device.run(288)
    assert {p for p in ports if p.startswith("world.")} == {
        f"world.{name}"
        for name in ("cgm", "pump_status", "delivery_log", "meals", "outside_requests", "wearable")
    }


def test_when_the_device_is_gone_the_watchdog_suspends_within_fifteen_minutes_and_sounds() -> None:
    device = Coupled(7)
    device.run(100)
    device.world.orphaned(24)
    truth = device.world.truth()
    assert truth.suspended_min[0] <= 500 + 15
    assert truth.suspended_min == tuple(range(truth.suspended_min[0], 620))
    assert sum(truth.delivered_u[104:]) == 0.0
    assert [alarm.code for alarm in truth.alarms if alarm.code == "watchdog"] == ["watchdog"]


def test_the_world_without_a_device_is_a_function_of_its_seed() -> None:
    one, two, other = InsulinWorld(7), InsulinWorld(7), InsulinWorld(8)
    for world in (one, two, other):
        world.orphaned(150)
    assert one.truth() == two.truth()
    assert one.truth() != other.truth()
