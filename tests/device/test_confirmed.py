"""What runs has proven itself when all that is critical is up: then nothing older starts again, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from boot.element import Element
from ipc_schemas import element
from tests.support.devices import OUR_MONITORS, Toy
from world import devices
from world.bench import Bench, Plan, run_folder
from world.factory import development

pytestmark = pytest.mark.walls


def facts_after(toy: Toy, folder: Path) -> element.Facts:
    plan = Plan(toy.write(folder), 3)
    with run_folder() as place, Bench(plan=plan) as bench:
        OUR_MONITORS.add(bench.monitor.pid)
        bench.run(plan, place)
        assert bench.device is not None
        with bench.device.link.dup() as link:
            return Element(link).facts()


def test_the_floors_of_all_images_are_raised_once_the_device_is_up(tmp_path: Path) -> None:
    facts = facts_after(Toy(), tmp_path / "toy")
    assert facts.phase == "confirmed"
    floors = {floor.image: floor.counter for floor in facts.floors}
    assert floors == dict.fromkeys(
        ("bootloader", "monitor", "design", "steady", "rogue"), devices.SECURITY_COUNTER
    )
    assert facts.attempts[0] == element.ATTEMPTS_MAX


def test_the_floors_of_lists_and_time_are_those_that_authorities_signed_and_not_the_hosts_clock(
    tmp_path: Path,
) -> None:
    facts = facts_after(Toy(), tmp_path / "toy")
    assert set(facts.list_floors) == set(devices.factory().confirmed_lists())
    assert {floor.number for floor in facts.list_floors} == {development.LIST_NUMBER}
    assert facts.time_floor_s == int(devices.factory().lists_issued.timestamp())
