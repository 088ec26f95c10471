"""Attacks and faults whose effect only a whole device shows: each with no wall, and held with all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evidence import sightings
from faults import catalogue, detectors, experiment
from faults.attack import Effect, Injection
from sandbox import walls
from world.bench import Plan

DESIGN = Path(__file__).parent.parent.parent / "designs" / "insulin_pump"
FRAME, FRAMES = 12, 24


def tried(
    attack_id: str, parameters: dict[str, Any], without: frozenset[str], partition: str = "transfer"
) -> Effect:
    """What the detector says of one run. The attack must have been carried out."""
    schedule = catalogue.with_spans([Injection(FRAME, attack_id, parameters, partition=partition)])
    run = experiment.run(Plan(DESIGN, FRAMES, without=without), schedule)
    seen = sightings.observations(run, run, is_replay=False, attacker=partition)
    assert detectors.was_activated(attack_id, seen, run.schedule[0])
    return detectors.detect(attack_id, seen, run.schedule[0])


@pytest.mark.parametrize(
    ("attack_id", "parameters", "partition"),
    [
        ("C21", {"how": "gate", "for_frames": 2}, "transfer"),
        ("C21", {"how": "poison"}, "transfer"),
        ("F01", {"how": "segv", "for_frames": 8}, "transfer"),
        ("F01", {"how": "exit", "for_frames": 8}, "therapy"),
        ("F03", {}, "transfer"),
        ("F04", {"kind": "nan"}, "transfer"),
        ("F05", {"where": "name"}, "transfer"),
        ("F07", {"after_ms": 3}, "transfer"),
    ],
)
def test_it_gets_through_without_walls_and_is_held_by_them(
    attack_id: str, parameters: dict[str, Any], partition: str
) -> None:
    through = tried(attack_id, parameters, walls.ALL, partition)
    assert through.succeeded is True, through
    held = tried(attack_id, parameters, frozenset(), partition)
    assert held.succeeded is False, held


@pytest.mark.parametrize(
    ("attack_id", "parameters", "without"),
    [
        ("C21", {"how": "poison"}, "schema,recheck"),
        ("F01", {"how": "exception", "for_frames": 8}, "budget"),
        ("F03", {}, "sequence"),
        ("F04", {"kind": "huge"}, "range,recheck"),
        ("F05", {"where": "sender"}, "stamp"),
        ("F05", {"where": "sign"}, "range,recheck"),
        ("F07", {}, "lifeline"),
    ],
)
def test_it_gets_through_where_its_own_walls_are_missing(
    attack_id: str, parameters: dict[str, Any], without: str
) -> None:
    effect = tried(attack_id, parameters, walls.parse_without(without))
    assert effect.succeeded is True, effect
