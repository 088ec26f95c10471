"""A planted secret is found wherever the attacker has put it, in what was refused, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evidence import sightings
from faults import experiment
from monitor import journal
from world.bench import Plan


@pytest.mark.walls
def test_a_secret_in_a_refused_message_is_a_leak_unless_its_owner_sent_it() -> None:
    run = experiment.run(Plan(Path("designs/insulin_pump"), 2))
    assert run.reading is not None
    assert sightings.leaks(run) == ()
    (secret, *_) = sightings.canaries(run)
    for partition, found in (
        ("transfer", ("in a refused message of transfer in frame 1",)),
        ("therapy", ()),
    ):
        kept = (journal.Exhibit(0, b"\xff" * 16 + secret),)
        row = journal.Refusal(partition, 0, "bad_message", "route", "d", 1, kept)
        entries = tuple(
            journal.Frame(1, e.admitted, (row,), e.rulings, e.lives)
            if isinstance(e, journal.Frame) and e.frame == 1
            else e
            for e in run.reading.entries
        )
        told = replace(run, reading=journal.Reading(entries, run.reading.chain, 0))
        assert sightings.leaks(told) == found
