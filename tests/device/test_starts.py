"""How a slow start is waited for: on each clock, and in the figure that says how long a partition was away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import devices as toys
from tests.support.devices import Outcome, Toy

pytestmark = pytest.mark.walls
Run = Callable[..., Outcome]
SLOW = "time.sleep(1.5)"
SHORT: dict[str, Any] = {
    "frame_ms": 300,
    "budget_ms": 100,
    "steady_budget_ms": 100,
    "world_budget_ms": 100,
}


def boot_ms(outcome: Outcome) -> float:
    return float(str(outcome.record.of_kind("booted")[0].facts["boot_ms"]))


def test_on_a_real_clock_a_slow_partition_that_is_not_critical_keeps_nobody_from_starting(
    device: Run,
) -> None:
    outcome = device(Toy(init=SLOW, **SHORT), clock="real")
    assert boot_ms(outcome) < 1_500
    assert outcome.record.of_kind("booted")[0].text == "the critical partitions are up"
    assert outcome.rulings("steady") == []
    assert [sent for _, sent, _ in outcome.beats] == list(range(11))
    heard = [heard for _, _, heard in outcome.beats]
    assert (heard[1], outcome.lives()) == (0, [(0, 0, "up")])
    assert heard[-1] > 0, outcome.details()  # it has come, and takes part


def test_on_a_real_clock_critical_partitions_are_waited_for(device: Run) -> None:
    outcome = device(Toy(init=SLOW, is_critical=True, **SHORT), 4, clock="real")
    assert boot_ms(outcome) > 1_500
    assert outcome.record.of_kind("booted")[0].text == "all partitions are up"
    assert [heard for _, _, heard in outcome.beats] == [0, 1, 2]


def test_on_the_virtual_clock_all_are_waited_for_so_that_runs_are_the_same(device: Run) -> None:
    slow, quick = device(Toy(init=SLOW), 4), device(Toy(), 4)
    assert boot_ms(slow) > 1_500
    assert slow.beats == quick.beats


def test_how_long_a_restart_took_includes_the_partitions_own_start(device: Run) -> None:
    outcome = device(Toy("if window.frame == 2: os._exit(0)", init="time.sleep(0.4)"), 5)
    (ready,) = [n for n in outcome.record.of_kind("ready") if n.partition == "rogue" and n.facts["epoch"]]
    assert float(str(ready.facts["ready_ms"])) >= 400


def test_a_stage_starts_without_the_collector_of_cycles_and_whoever_stays_has_it_on(
    device: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A design's schemas run in the monitor and in each partition."""
    monkeypatch.setattr(toys, "SCHEMAS", "import gc\nassert gc.isenabled()\n" + toys.SCHEMAS)
    assert device(Toy(), 4).rulings() == []
