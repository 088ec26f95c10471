"""Attacks on what judges: journal, log, monitor, kill switch, worker. Each with no wall, and held with all of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from evidence import sightings
from evidence.masking import masked_by
from faults import catalogue, detectors, experiment
from faults.attack import Effect, Injection
from faults.stand_in import Substitute
from sandbox import walls
from world.bench import Plan

DESIGN = Path(__file__).parent.parent.parent / "designs" / "insulin_pump"
FRAMES = 26
#: Three days, as few runs as may be: what ends therapy, the journal or the device comes by itself or last.
DAYS: dict[str, tuple[Injection, ...]] = {
    "journal, log and worker": (
        Injection(5, "R01", {"count": 300}),
        Injection(8, "R09"),
        Injection(11, "R07"),
        Injection(14, "R06", {"how": "stop"}),
        Injection(17, "R08"),
        Injection(20, "R02", {"seconds": 2.3}),
    ),
    "the journal's file and the monitor": (
        Injection(5, "R03", {"how": "append"}),
        Injection(9, "R04", {"how": "fsize"}),
    ),
    "kill switch": (Injection(5, "R05", {"for_frames": 2}),),
}
TRIED = [(day, one.attack_id) for day, injections in DAYS.items() for one in injections]


@cache
def effects(day: str, *, with_walls: bool) -> dict[str, Effect]:
    """What the detectors say of one day. Each attack must have been carried out."""
    return _effects(DAYS[day], frozenset() if with_walls else walls.ALL)


def _effects(injections: Sequence[Injection], without: frozenset[str]) -> dict[str, Effect]:
    run = experiment.run(Plan(DESIGN, FRAMES, without=without), catalogue.with_spans(injections))
    seen = sightings.observations(run, run, is_replay=False)
    assert all(detectors.was_activated(one.attack_id, seen, one) for one in run.schedule)
    return {one.attack_id: detectors.detect(one.attack_id, seen, one) for one in run.schedule}


@pytest.mark.parametrize(("day", "attack_id"), TRIED)
def test_it_gets_through_without_walls(day: str, attack_id: str) -> None:
    masked = masked_by(attack_id)
    if masked:
        pytest.skip(f"MASKED-BY-HOST: {masked}")
    effect = effects(day, with_walls=False)[attack_id]
    assert effect.succeeded is True, effect


@pytest.mark.parametrize(("day", "attack_id"), TRIED)
def test_it_is_held_by_the_walls(day: str, attack_id: str) -> None:
    effect = effects(day, with_walls=True)[attack_id]
    assert effect.succeeded is False, effect


@pytest.mark.parametrize(
    ("attack_id", "parameters", "without"),
    [
        ("R03", {"how": "truncate"}, "userns,mntns,uid,landlock"),
        ("R05", {"whom": "therapy"}, "route,stamp,schema,recheck"),
    ],
)
def test_it_gets_through_where_its_own_walls_are_missing(
    attack_id: str, parameters: dict[str, Any], without: str
) -> None:
    injection = Injection(5, attack_id, parameters)
    effect = _effects([injection], walls.parse_without(without))[attack_id]
    assert effect.succeeded is True, effect


def test_a_stand_in_tells_what_it_was_given_and_goes_with_the_run() -> None:
    with Substitute("bx000000") as worker:
        pid = worker.pid
        assert Path(f"/proc/{pid}/comm").read_text().strip() == "bh-stand-in"
    assert worker.seen == (0, False, "VERDICT bx000000 HELD", "VERDICT bx000000 HELD", "")
    assert not Path(f"/proc/{pid}").exists()


def test_what_is_done_to_a_stand_in_is_seen() -> None:
    with Substitute("bx000001") as killed:
        os.kill(killed.pid, signal.SIGKILL)
    with Substitute("bx000002") as stopped:
        os.kill(stopped.pid, signal.SIGSTOP)
    with Substitute("bx000003") as spoken_for, open(f"/proc/{spoken_for.pid}/fd/1", "wb") as door:
        door.write(b"never an end ")
    assert killed.seen is not None
    assert (killed.seen.signal, killed.seen.told) == (signal.SIGKILL, "")
    assert stopped.seen is not None
    assert (stopped.seen.was_stopped, stopped.seen.told) == (True, stopped.held)
    assert spoken_for.seen is not None
    assert spoken_for.seen.forged.startswith("never an end ")
