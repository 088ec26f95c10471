"""Attacks on a whole device: each gets through without a set of walls, and not with one of them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidence import sightings
from faults import catalogue, detectors, experiment
from faults.attack import Injection
from sandbox import walls
from world.bench import Plan

_PUMP = Path(__file__).parent.parent.parent / "designs" / "insulin_pump"
FRAME = 4


def succeeded(
    attack_id: str, without: frozenset[str], parameters: dict[str, int | str], frames: int = 2 * FRAME
) -> bool | None:
    """Whether one attack had its effect in a short run without these walls."""
    plan = Plan(_PUMP, frames, without=without)
    run = experiment.run(plan, catalogue.with_spans([Injection(FRAME, attack_id, parameters)]))
    seen = sightings.observations(run, run, is_replay=False)
    assert detectors.was_activated(attack_id, seen, run.schedule[0]), seen.log_lines
    return detectors.detect(attack_id, seen, run.schedule[0]).succeeded


@pytest.mark.parametrize(
    ("attack_id", "parameters", "without"),
    [
        # As an ordinary user the attacker connected 150 times and the gate was not seen to grow: see docs/ROADMAP.md.
        pytest.param("C02", {"whose": "own"}, {"peer", "seccomp", "rlimits"}, marks=pytest.mark.root),
        ("C02", {"whose": "therapy"}, {"peer", "seccomp", "mntns"}),
        ("C12", {"what": "clear"}, {"escape"}),
        ("C12", {"what": "bidi"}, walls.ALL),
        ("C19", {"silence_ms": 2_500}, {"window"}),
    ],
)
def test_with_a_set_of_walls_gone_it_gets_through(
    attack_id: str, parameters: dict[str, int | str], without: set[str]
) -> None:
    assert succeeded(attack_id, frozenset(without), parameters) is True


@pytest.mark.parametrize(
    ("attack_id", "parameters", "without"),
    [
        ("C02", {"whose": "own"}, {"seccomp", "rlimits"}),
        ("C02", {"whose": "therapy"}, {"seccomp", "mntns"}),
        ("C12", {"what": "clear"}, walls.ALL - {"escape"}),
        ("C16", {"dose_u": 5}, walls.ALL - {"mntns", "userns"}),
        ("C19", {"silence_ms": 2_500}, walls.ALL - {"window"}),
    ],
)
def test_one_wall_of_a_set_that_stands_stops_it(
    attack_id: str, parameters: dict[str, int | str], without: set[str]
) -> None:
    assert succeeded(attack_id, frozenset(without), parameters) is False


def test_c16_is_between_therapy_and_its_gate_before_they_meet() -> None:
    """A race that the attacker may lose where the machine is busy: it has three runs."""
    assert any(succeeded("C16", walls.ALL, {"dose_u": 5}, 60) for _ in range(3))
