"""A recording judged again under a changed design tells what a run under that design then shows.

Each case is recorded, judged again, and run for real under the changed design: up to where the recording is no
evidence any more, the two must agree in every message and every ruling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from faults import attack_files, experiment
from faults.attack import Injection
from monitor import journal
from monitor.design import Design
from monitor.loader import load_design, load_schemas
from monitor.rejudge import DISCARDED, NOTHING, Rejudged, rejudge
from sandbox.walls import ALL
from tests.support.devices import Outcome, Toy
from world.bench import Plan

pytestmark = pytest.mark.walls
Run = Callable[..., Outcome]
FRAMES = 12
PUMP = Path("designs/insulin_pump")
DROPS = {"bad_message": "drop", "rejections_exceeded": "restart"}
GARBAGE = "if window.frame == 5: window._emit(port, b'zz')"


def judged(reading: journal.Reading, design: Design) -> Rejudged:
    module = load_schemas(design)
    return rejudge(reading, design, {port.message: getattr(module, port.message) for port in design.ports})


def changed(folder: Path, toy: Toy, *changes: tuple[str, str, str]) -> Path:
    """The toy's design with ``(file, old text, new text)`` replaced in it."""
    design = toy.write(folder)
    for file, old, new in changes:
        text = (design / file).read_text()
        assert old in text, f"{file} has no {old}"
        (design / file).write_text(text.replace(old, new))
    return design


Tally = Counter[tuple[int, str, str, str]]


def tally(reading: journal.Reading) -> Tally:
    """Every message and ruling of a journal: ``(frame, partition, port or event, what became of it)``.

    The port of a refused message is left out: one that breaks an early rule names none.
    """
    header = reading.entries[0]
    assert isinstance(header, journal.Header)
    names = dict(header.ports)
    found: Tally = Counter()
    for entry in reading.entries:
        if isinstance(entry, journal.Frame):
            for batch in entry.admitted:
                found[entry.frame, batch.sender, names[batch.port], "admitted"] += batch.count
            for row in entry.refusals:
                found[entry.frame, row.partition, "", row.reason] += row.count
            for ruling in entry.rulings:
                found[entry.frame, ruling.partition, ruling.event, ruling.action] += 1
    return found


def foretold(recorded: Tally, found: Rejudged) -> Tally:
    """The recording's tally with every change made in it."""
    told = Counter(recorded)
    for message in found.messages:
        for word, change in ((message.then, -1), (message.now, 1)):
            port = message.port if word == "admitted" else ""
            told[message.frame, message.partition, port, word] += (
                change * message.messages * (word != DISCARDED)
            )
    for action in found.actions:
        told[action.frame, action.partition, action.event, action.then] -= action.then != NOTHING
        told[action.frame, action.partition, action.event, action.now] += action.now != NOTHING
    return +told


def before_horizons(found: Rejudged, some: Tally) -> Tally:
    """What of a tally the recording is evidence for."""
    horizons = {each.partition: each.frame for each in found.horizons}
    return +Counter({row: n for row, n in some.items() if row[0] < horizons.get(row[1], FRAMES)})


@dataclass(frozen=True)
class Case:
    """A toy, a change of its design, and the sure changes expected: messages, then actions."""

    toy: Toy
    changes: tuple[tuple[str, str, str], ...]
    messages: tuple[tuple[int, str, str, int], ...] = ()
    actions: tuple[tuple[int, str, str, str], ...] = ()
    horizon: int | None = None  # of rogue


def device(old: str, new: str) -> tuple[tuple[str, str, str], ...]:
    return (("device.toml", old, new),)


CASES = {
    "a tighter range": Case(
        Toy(),
        (("schemas.py", "le=100)", "le=7)"),),
        ((7, "admitted", "range", 1),),
        ((7, "bad_message", "nothing", "restart"),),
        8,
    ),
    "fewer messages a frame": Case(
        Toy("for n in range(3 if window.frame == 5 else 0): window.send('note', Note(n, 'x'))"),
        device("messages_per_frame = 4", "messages_per_frame = 2"),
        ((5, "admitted", "discarded", 3), (5, "admitted", "rate", 1)),
        ((5, "rate_exceeded", "nothing", "restart"),),
        6,
    ),
    "more messages a frame": Case(
        Toy(
            "for n in range(9 if window.frame == 5 else 0): window.send('note', Note(n, 'x'))",
            health={"rate_exceeded": "drop", "rejections_exceeded": "drop"},
        ),
        (
            ("device.toml", "messages_per_frame = 4", "messages_per_frame = 8"),
            ("device.toml", '"steady.note" = { depth = 4 }', '"steady.note" = { depth = 8 }'),
        ),
        ((5, "rate", "admitted", 4),),
    ),
    "an event that now ends its partition": Case(
        Toy(GARBAGE, health=DROPS),
        device('bad_message = "drop"', 'bad_message = "restart"'),
        ((5, "admitted", "discarded", 1),),
        ((5, "bad_message", "drop", "restart"),),
        6,
    ),
    "an event that now spares its partition": Case(
        Toy(GARBAGE),
        device('bad_message = "restart"', 'bad_message = "drop"'),
        (),
        ((5, "bad_message", "restart", "drop"),),
        5,
    ),
    "fewer refusals borne": Case(
        Toy("for _ in range(2 * (window.frame == 5)): window._emit(port, b'zz')", health=DROPS),
        device("rejections_per_frame = 3", "rejections_per_frame = 1"),
        ((5, "admitted", "discarded", 1),),
        ((5, "bad_message", "drop", "nothing"), (5, "rejections_exceeded", "nothing", "restart")),
        6,
    ),
    "more refusals borne": Case(
        Toy("for _ in range(4 * (window.frame == 5)): window._emit(port, b'zz')", health=DROPS),
        device("rejections_per_frame = 3", "rejections_per_frame = 9"),
        (),
        ((5, "bad_message", "nothing", "drop"), (5, "rejections_exceeded", "restart", "nothing")),
        5,
    ),
    "room for a longer message": Case(
        Toy(
            "if window.frame == 5: window._emit(port, codec.encode({'n': 3, 'text': chr(0x1F600) * 14}))",
            health=DROPS,
        ),
        (("device.toml", "bytes = 48", "bytes = 96"), ("schemas.py", "max_length=8", "max_length=14")),
        ((5, "size", "admitted", 1), (5, "sequence", "admitted", 1)),
        ((5, "bad_sequence", "restart", "nothing"),),
        5,
    ),
    "no room for a long message": Case(
        Toy(
            "if window.frame == 5: window._emit(port, codec.encode({'n': 3, 'text': chr(0x1F600) * 8}))",
            health=DROPS,
        ),
        (
            ("device.toml", "bytes = 48", "bytes = 24"),
            ("device.toml", "bytes = 32", "bytes = 24"),
            ("schemas.py", "max_length=8", "max_length=2"),
        ),
        ((5, "admitted", "size", 1), (5, "admitted", "sequence", 1)),
        ((5, "bad_sequence", "nothing", "restart"),),
        6,
    ),
    "an admission that goes with its window": Case(
        Toy(
            "if window.frame == 5:\n"
            "    window._emit(port, codec.encode({'n': 150, 'text': 'x'}))\n"
            "    link.partition = 99",
            health=DROPS,
        ),
        (("schemas.py", "le=100)", "le=200)"),),
        ((5, "range", "discarded", 1),),
    ),
    "a shorter freshness": Case(
        Toy(world="if 3 <= window.frame < 6: return"),
        device('"rogue.tick" = { freshness_frames = 2 }', '"rogue.tick" = { freshness_frames = 1 }'),
        (),
        ((4, "stale_input", "nothing", "note"), (5, "stale_input", "note", "nothing")),
    ),
    "a longer freshness": Case(
        Toy(world="if 3 <= window.frame < 6: return"),
        device('"rogue.tick" = { freshness_frames = 2 }', '"rogue.tick" = { freshness_frames = 9 }'),
        (),
        ((5, "stale_input", "note", "nothing"),),
    ),
    "a smaller restart budget": Case(
        Toy("if window.frame in (3, 5, 7): os._exit(1)"),
        device("restarts = 3", "restarts = 1"),
        (),
        ((5, "partition_exit", "restart", "quarantine"),),
        6,
    ),
    "a shorter memory of restarts": Case(
        Toy("if window.frame in (3, 5, 7): os._exit(1)", restarts=1),
        device("within_frames = 100", "within_frames = 2"),
        (),
        ((5, "partition_exit", "quarantine", "restart"),),
        6,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_what_is_foretold_happens(device: Run, tmp_path: Path, case: Case) -> None:
    before = device(case.toy, FRAMES)
    folder = changed(tmp_path / "changed", case.toy, *case.changes)
    found = judged(before.journal, load_design(folder, ALL))
    sure = [one for one in found.messages if one.is_sure]
    assert {(m.frame, m.then, m.now, m.messages) for m in sure if m.partition == "rogue"} >= set(
        case.messages
    )
    assert {(a.frame, a.event, a.then, a.now) for a in found.actions if a.is_sure} == set(case.actions)
    horizons = {each.partition: each.frame for each in found.horizons}
    if case.horizon is not None:
        assert horizons["rogue"] == case.horizon
    after = tally(device(folder, FRAMES).journal)
    told = foretold(tally(before.journal), found)
    assert before_horizons(found, told) == before_horizons(found, after)
    assert len(before_horizons(found, told)) > 3


#: Channel attacks that come from inside, each in a frame of its own, with room for what it leads to.
_SPACING, _FIRST = 3, 8


def test_the_same_contracts_judge_every_attack_on_the_channel_the_same_way() -> None:
    attacks = attack_files.built(PUMP)
    names = [name for name, each in attacks.items() if name.startswith("C") and each.inject is not None]
    schedule = [Injection(_FIRST + _SPACING * place, name) for place, name in enumerate(names)]
    plan = Plan(PUMP, _FIRST + _SPACING * len(names) + 2)
    run = experiment.run(plan, schedule)
    assert run.reading is not None
    rows = [row for e in run.reading.entries if isinstance(e, journal.Frame) for row in e.refusals]
    assert {"bad_message", "bad_sequence", "spoofed_sender", "rate_exceeded"} <= {row.event for row in rows}
    # Not told that it is the same design, so that nothing is taken for granted.
    found = judged(run.reading, replace(run.design, digest="another"))
    assert (found.messages, found.actions, found.missing, found.horizons) == ([], [], [], [])
    assert found.judged_messages > len(names) + sum(row.count for row in rows)
    assert found.judged_events >= sum(
        len(e.rulings) for e in run.reading.entries if isinstance(e, journal.Frame)
    )
