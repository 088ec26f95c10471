"""What must hold of the incubator, tested on the real device: telemetry is taken over, and the heater heats on.

From Bulkhead's folder: ``python -m pytest -p evidence.testing.plugin examples/thermostat/tests``. The folder of the
design may lie anywhere; these tests go with it.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.testing.harness import Harness
from evidence.testing.machine import CompromisedPartition
from evidence.testing.strategies import KINDS, Kind, payloads
from faults.attacks.s01_script import Step, told


def test_it_boots_and_keeps_its_deadlines(bulkhead: Harness) -> None:
    bulkhead.run(frames=12).assert_no_missed_deadline()


def test_an_impossible_set_point_does_not_reach_the_heater(bulkhead: Harness) -> None:
    result = bulkhead.inject("X01", frame=6, celsius=45)
    result.assert_held().assert_noninterference().assert_contained().assert_no_missed_deadline()


def test_the_same_set_point_does_reach_it_without_walls(bulkhead: Harness) -> None:
    """The positive control: without it the test above might show nothing."""
    bulkhead.inject("X01", frame=6, celsius=45, without="all").assert_breach()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=2, deadline=None)
@given(data=st.data())
def test_no_set_point_interferes_with_the_heater(bulkhead: Harness, data: st.DataObject, kind: Kind) -> None:
    port = bulkhead.port("telemetry.setpoint")
    script = told([Step("send", port.name, data.draw(payloads(port, kind)))])
    bulkhead.send("telemetry", [script], frame=6).assert_contained().assert_noninterference()


def test_whatever_telemetry_does_the_heater_heats_on(bulkhead: Harness) -> None:
    CompromisedPartition.search(bulkhead, scripts=4, steps=5)
