"""Remedies can be followed: what a broken rule says to write breaks no other rule."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from monitor.design import Action, Design, DesignError, Event, Partition
from monitor.loader import load_design, load_schemas
from monitor.rules import check
from tests.monitor.test_rules import BAD_DESIGNS, BROKEN, WALLS, findings, with_partition, with_port
from tests.support.pump_design import lay_out


@pytest.fixture
def pump(tmp_path: Path) -> Design:
    """The reference design, with empty images so that only the design itself is judged."""
    return load_design(lay_out(tmp_path), WALLS)


#: Rule, words of the remedy, and what following them changes in the bad design's device.toml.
FOLLOWED: dict[str, tuple[str, str, str]] = {
    "networked-reaches-class-c": (
        "declare it in `to` at heart.hint",
        '"heart.hint" = {}',
        '"heart.hint" = { from_networked = true }',
    ),
    "every-field-bounded": ("give it both with msgspec.Meta(ge=..., le=...)", "ge=0.0)", "ge=0.0, le=300.0)"),
    "message-fits-port": ("write bytes = 24", "bytes = 20", "bytes = 24"),
    "queues-hold-a-frame": ("write depth = 2", "depth = 1", "depth = 2"),
    "no-port-without-a-peer": (
        "name an input port in `to`",
        "to = {}\n\n[schedule]",
        'to = { "world.upload" = { depth = 4 } }\n\n[schedule]',
    ),
    "labels-stay-cleared": (
        'clear world for "phi"',
        'cleared_for = ["therapy_command"]',
        'cleared_for = ["phi", "therapy_command"]',
    ),
    "command-ports-come-from-class-c": (
        "remove the label therapy_command",
        'labels = ["therapy_command"]\nto = { "world.upload"',
        'to = { "world.upload"',
    ),
    "critical-is-not-networked": (
        "move the networking into a partition of its own",
        "networked = true",
        "networked = false",
    ),
    "class-c-never-waits": ('write on_stale = "run"', 'on_stale = "hold"', 'on_stale = "run"'),
    "silence-cannot-stop-class-c": (
        'write stale_input = "note" in [partition.heart.health]',
        'stale_input = "restart"',
        'stale_input = "note"',
    ),
    "class-c-requires-all-walls": (
        'write walls = "all" in [partition.heart]',
        "walls = [",
        'walls = "all"',
    ),
    "writers-to-class-c-are-policed": (
        'write walls = "all" in [partition.radio]',
        "walls = [",
        'walls = "all"',
    ),
    "every-event-has-a-row": (
        'write for example gate_lied = "restart" in [partition.radio.health]',
        "[partition.radio.health]\n",
        '[partition.radio.health]\ngate_lied = "restart"\n',
    ),
    "every-row-can-fire": (
        "set freshness_frames on an input",
        '"radio.report" = {}',
        '"radio.report" = { freshness_frames = 3 }',
    ),
    "death-has-a-remedy": (
        'write partition_exit = "restart" or "quarantine"',
        'partition_exit = "note"',
        'partition_exit = "quarantine"',
    ),
    "safe-state-is-critical-only": (
        'write bad_message = "quarantine" in [partition.radio.health]',
        'bad_message = "safe_state"',
        'bad_message = "quarantine"',
    ),
    "restart-budgets-are-finite": ("write restarts = 11", "restarts = 12", "restarts = 11"),
    "windows-fit-the-frame": ("move offset_ms", "offset_ms = 99", "offset_ms = 100"),
    "one-window-each": (
        "write exactly one window for radio in [schedule]",
        "windows = [",
        'windows = [\n  { partition = "radio", offset_ms = 100, budget_ms = 100 },',
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_design_keeps_every_rule_once_its_remedy_is_followed(rule: str, tmp_path: Path) -> None:
    words, old, new = FOLLOWED[rule]
    folder = Path(shutil.copytree(BAD_DESIGNS / rule, tmp_path / "design"))
    before = findings(load_design(folder, WALLS))
    assert words in before[0].remedy
    file = folder / ("schemas.py" if rule == "every-field-bounded" else "device.toml")
    text = file.read_text()
    assert old in text
    if old == "walls = [":  # the whole list, which takes more than a line
        old = text[text.index(old) : text.index("]", text.index(old)) + 1]
    file.write_text(text.replace(old, new, 1))
    assert findings(load_design(folder, WALLS)) == []


@pytest.mark.parametrize("name", ["therapy", "transfer"])
@pytest.mark.parametrize("event", list(Event))
def test_the_row_that_is_suggested_for_an_event_breaks_no_other_rule(
    pump: Design, event: Event, name: str
) -> None:
    rows = {key: action for key, action in pump.partition(name).health.items() if key is not event}
    found = findings(with_partition(pump, name, health=rows))
    match = re.search(rf'{event} = "(\w+)"', found[0].remedy)
    assert match is not None
    followed = rows | {event: Action(match[1])}
    assert findings(replace(pump, partitions=with_rows(pump, name, followed))) == []


def with_rows(design: Design, name: str, rows: dict[Event, Action]) -> tuple[Partition, ...]:
    """The partitions, one of them with another health table, which may be the same."""
    return tuple(replace(p, health=rows) if p.name == name else p for p in design.partitions)


def test_a_row_that_may_not_fire_in_class_c_is_mended_with_the_note_it_needs(pump: Design) -> None:
    for port in pump.ports_of("therapy"):
        if port.freshness_frames and not port.is_output:
            pump = with_port(pump, port.full_name, freshness_frames=0)
    rows = pump.partition("therapy").health | {Event.STALE_INPUT: Action.RESTART}
    found = findings(with_partition(pump, "therapy", health=rows))
    assert [finding.rule for finding in found] == ["every-row-can-fire"]
    assert found[0].remedy.endswith('or set freshness_frames on an input and write stale_input = "note"')


def test_a_message_too_large_for_a_narrow_port_is_not_to_be_given_a_wider_one(pump: Design) -> None:
    wide = with_sizes(pump, messages_per_frame_max=16, bytes_max=20)
    assert {f.rule: f.remedy for f in findings(wide)} == {
        "message-fits-port": "write bytes = 36 or more, or tighten the type's bounds"
    }
    schemas = load_schemas(pump)
    module = type(schemas)("large")
    large = msgspec.defstruct(
        "Large",
        [("raw", Annotated[bytes, msgspec.Meta(max_length=300)])],
        frozen=True,
        forbid_unknown_fields=True,
    )
    module.__dict__.update(schemas.__dict__, ActivityHint=large)
    found = {finding.where: finding.remedy for finding in check(wide, module)}
    assert found["transfer.activity"] == (
        "tighten the type's bounds to 256 bytes or less, which is all that this port may have"
    )
    wider = with_sizes(pump, messages_per_frame_max=16, bytes_max=310)
    found = {f.rule: f.remedy for f in check(wider, module) if f.where == "therapy.activity"}
    assert found == {
        "networked-reaches-class-c": "remove the path, or write bytes = 308 and messages_per_frame = 13 or less"
    }
    narrow = with_sizes(pump, messages_per_frame_max=13, bytes_max=308)
    assert [f for f in check(narrow, module) if "activity" in f.where] == []


def with_sizes(design: Design, **changes: int) -> Design:
    """Both ends of the channel that brings hints from transfer to therapy, changed."""
    return with_port(with_port(design, "transfer.activity", **changes), "therapy.activity", **changes)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('stale_input = "note"', 'stale_input = "xyz"', 'write for example stale_input = "note"'),
        ('gate_died = "restart"', 'gate_died = "xyz"', 'write for example gate_died = "restart"'),
        ("budget_ms = 100\n", 'budget_ms = "x"\n', "write for example budget_ms = 1000"),
        ("offset_ms = 100,", 'offset_ms = "x",', "write for example offset_ms = 100"),
        ("offset_ms = 100, budget_ms = 100", "offset_ms = 400, budget_ms = 0", "for example budget_ms = 600"),
        ('safety_class = "A"', 'safety_class = "D"', 'write for example safety_class = "A"'),
    ],
)
def test_the_example_that_the_loader_gives_keeps_the_rules(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(BAD_DESIGNS / "message-fits-port", tmp_path / "design"))
    file = folder / "device.toml"
    text = file.read_text().replace("bytes = 20", "bytes = 64")
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(DesignError) as caught:
        load_design(folder, WALLS)
    example = str(caught.value).rpartition("write for example ")[2]
    assert words.endswith(example)
    key = example.partition(" ")[0]
    wrong = re.search(rf"{key} = [^,\n}} ]+", new[new.index(key) :])
    assert wrong is not None
    file.write_text(text.replace(old, new.replace(wrong[0], example), 1))
    assert findings(load_design(folder, WALLS)) == []
