"""Design rules: the reference design breaks none; each bad design breaks just its own, and shows the path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_schemas import codec, insulin_pump
from monitor.design import Action, Design, Event, Port, SafetyClass
from monitor.encoded_size import encoded_bytes_max
from monitor.loader import load_design, load_schemas
from monitor.rules import CLASS_C_WALLS, DETECTORS, POLICING_WALLS, RULES, Finding, check, events_of
from tests.support.pump_design import lay_out

HERE = Path(__file__).resolve().parent
BAD_DESIGNS = HERE.parent / "designs_bad"
WALLS = CLASS_C_WALLS | {"uid", "memcg", "pidscg", "cpucg"}

#: Rule, and the counterexample path that its bad design must show.
BROKEN: dict[str, tuple[str, ...]] = {
    "networked-reaches-class-c": ("radio.note", "relay.note", "relay.hint", "heart.hint"),
    "every-field-bounded": ("radio.upload",),
    "message-fits-port": ("radio.hint",),
    "queues-hold-a-frame": ("radio.upload", "world.upload"),
    "no-port-without-a-peer": ("radio.upload",),
    "labels-stay-cleared": ("heart.report", "radio.report", "radio.upload", "world.upload"),
    "command-ports-come-from-class-c": ("radio.upload", "world.upload"),
    "critical-is-not-networked": (),
    "class-c-never-waits": ("radio.hint", "heart.hint"),
    "silence-cannot-stop-class-c": ("radio.hint", "heart.hint"),
    "class-c-requires-all-walls": (),
    "writers-to-class-c-are-policed": ("radio.hint", "heart.hint"),
    "every-event-has-a-row": (),
    "every-row-can-fire": (),
    "death-has-a-remedy": (),
    "safe-state-is-critical-only": (),
    "restart-budgets-are-finite": (),
    "windows-fit-the-frame": (),
    "one-window-each": (),
}


@pytest.fixture
def pump(tmp_path: Path) -> Design:
    """The reference design, with empty images so that only the design itself is judged."""
    return load_design(lay_out(tmp_path), WALLS)


def with_port(design: Design, full_name: str, **changes: Any) -> Design:
    """``design`` with one port changed."""
    ports = tuple(replace(port, **changes) if port.full_name == full_name else port for port in design.ports)
    assert ports != design.ports
    return replace(design, ports=ports)


def with_partition(design: Design, name: str, **changes: Any) -> Design:
    """``design`` with one partition changed."""
    partitions = tuple(replace(p, **changes) if p.name == name else p for p in design.partitions)
    assert partitions != design.partitions
    return replace(design, partitions=partitions)


def findings(design: Design) -> list[Finding]:
    """Findings with the schemas of ``design``."""
    return list(check(design, load_schemas(design)))


def test_the_reference_design_breaks_no_rule(pump: Design) -> None:
    assert findings(pump) == []


def test_every_rule_has_one_bad_design_and_every_bad_design_a_rule() -> None:
    folders = {path.name for path in BAD_DESIGNS.iterdir() if path.is_dir()}
    assert folders == set(BROKEN) == {rule.name for rule in RULES}
    assert len(RULES) == len(BROKEN)


@pytest.mark.parametrize("rule", BROKEN)
def test_a_bad_design_breaks_just_its_rule(rule: str) -> None:
    found = findings(load_design(BAD_DESIGNS / rule, WALLS))
    assert [(finding.rule, finding.path) for finding in found] == [(rule, BROKEN[rule])]
    assert found[0].path_text == " -> ".join(BROKEN[rule])
    for text in (found[0].where, found[0].message, found[0].remedy):
        assert text
        assert "\n" not in text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
def test_a_rule_states_itself_in_one_sentence_and_names_its_source(rule: Any) -> None:
    assert rule.statement.endswith(".")
    assert "\n" not in rule.statement
    assert rule.source


def test_every_event_has_a_detector() -> None:
    assert set(DETECTORS) == set(Event)
    assert all(DETECTORS.values())


# --- the paths into class C ---


@pytest.mark.parametrize(
    ("changes", "words", "remedy"),
    [
        (
            {"from_networked": False},
            "does not declare from_networked",
            "declare it in `to` at therapy.activity",
        ),
        (
            {"messages_per_frame_max": 17},
            "17 messages per frame are more than 16",
            "write messages_per_frame = 16 or less",
        ),
        (
            {"bytes_max": 4_097, "messages_per_frame_max": 1},
            "4097 bytes per frame are more than 4096",
            "let bytes times messages_per_frame be 4096 or less, with bytes = 36 or more, as ActivityHint needs",
        ),
        (
            {"rejections_per_frame_max": 65},
            "65 rejections per frame are more than 64",
            "write rejections_per_frame = 64 or less",
        ),
        (
            {"labels": frozenset({"therapy_command"})},
            "labelled therapy_command",
            "send the therapy_command over a path of its own",
        ),
    ],
)
def test_a_port_that_networked_data_reaches_must_be_narrow(
    pump: Design, changes: dict[str, Any], words: str, remedy: str
) -> None:
    found = findings(with_port(pump, "therapy.activity", **changes))
    assert [finding.rule for finding in found] == ["networked-reaches-class-c"]
    assert words in found[0].message
    assert found[0].remedy == f"remove the path, or {remedy}"
    assert found[0].path_text == "transfer.activity -> therapy.activity"


@pytest.mark.parametrize(
    "changes",
    [
        {"messages_per_frame_max": 16},
        {"bytes_max": 4_096, "messages_per_frame_max": 1},
        {"rejections_per_frame_max": 64},
    ],
)
def test_a_port_may_be_as_wide_as_narrow_allows(pump: Design, changes: dict[str, Any]) -> None:
    assert findings(with_port(pump, "therapy.activity", **changes)) == []


@pytest.mark.parametrize(("safety_class", "is_critical"), [(SafetyClass.B, True), (SafetyClass.C, False)])
def test_neither_a_critical_nor_a_class_c_partition_is_networked(
    pump: Design, safety_class: SafetyClass, is_critical: bool
) -> None:
    changed = with_partition(
        pump, "therapy", safety_class=safety_class, is_critical=is_critical, is_networked=True
    )
    assert "critical-is-not-networked" in {finding.rule for finding in findings(changed)}


def test_the_world_does_not_command_therapy(pump: Design) -> None:
    found = findings(with_port(pump, "world.wearable", labels=frozenset({"therapy_command"})))
    command = next(finding for finding in found if finding.rule == "command-ports-come-from-class-c")
    assert command.path_text == "world.wearable -> transfer.wearable"
    assert command.message == "the world sends ActivityHint, labelled therapy_command"


def test_who_writes_only_to_lower_classes_may_go_without_a_policing_wall(pump: Design) -> None:
    lowered = with_partition(pump, "therapy", safety_class=SafetyClass.B, walls=frozenset({"seccomp"}))
    found = {finding.rule for finding in findings(with_partition(lowered, "transfer", walls=frozenset()))}
    assert found == {"command-ports-come-from-class-c"}


def test_an_unbounded_message_from_the_network_shows_the_path_into_class_c(pump: Design) -> None:
    class Loose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        at_min: int

    schemas = load_schemas(pump)
    module = type(schemas)("loose")
    module.__dict__.update(schemas.__dict__, ActivityHint=Loose)
    found = {finding.rule: finding for finding in check(pump, module)}
    assert set(found) == {"networked-reaches-class-c", "every-field-bounded"}
    assert found["networked-reaches-class-c"].path_text == "transfer.activity -> therapy.activity"


def test_a_class_c_partition_ends_the_path_of_networked_data(pump: Design) -> None:
    therapy = pump.partition("therapy")
    second = replace(therapy, number=3, name="watch")
    ports: tuple[Port, ...] = (Port(40, "therapy", "watched", True, "Alarm", pump.ports[0].kind, 64, 1),)
    ports += (Port(41, "watch", "watched", False, "Alarm", pump.ports[0].kind, 64, 1, freshness_frames=3),)
    channel = replace(pump.channels[0], source="therapy.watched", sinks=("watch.watched",))
    window = replace(pump.windows[0], partition="watch", offset_ms=2_000)
    design = replace(
        pump,
        partitions=(*pump.partitions, second),
        ports=pump.ports + ports,
        channels=(*pump.channels, channel),
        windows=(*pump.windows, window),
    )
    assert findings(design) == []
    lowered = with_partition(design, "therapy", safety_class=SafetyClass.B)
    paths = [finding.path for finding in findings(lowered) if finding.rule == "networked-reaches-class-c"]
    assert paths == [
        ("transfer.target_request", "therapy.target_request", "therapy.watched", "watch.watched")
    ]


# --- messages ---


def test_a_type_that_two_ports_share_is_reported_once(pump: Design) -> None:
    class Loose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        counter: int

    schemas = load_schemas(pump)
    module = type(schemas)("loose")
    module.__dict__.update(schemas.__dict__, TargetRequest=Loose)
    found = [finding.where for finding in check(pump, module) if finding.rule == "every-field-bounded"]
    assert found == ["world.outside_requests"]


@pytest.mark.parametrize(
    ("kind", "options", "remedy"),
    [
        (bool, {"frozen": False}, "declare the class with frozen=True"),
        (bool, {"forbid_unknown_fields": False}, "declare the class with forbid_unknown_fields=True"),
        (int, {}, "give it both with msgspec.Meta(ge=..., le=...)"),
        (str, {}, "give it one with msgspec.Meta(max_length=...)"),
        (Annotated[bytes, msgspec.Meta(max_length=70_000)], {}, "lower its max_length"),
        (
            Annotated[str, msgspec.Meta(max_length=9, pattern="a$")],
            {},
            "begin it with \\A and end it with \\Z",
        ),
        (dict[str, int], {}, "write a type that has one"),
    ],
)
def test_the_remedy_for_an_unbounded_type_is_the_one_for_what_it_lacks(
    pump: Design, kind: Any, options: dict[str, bool], remedy: str
) -> None:
    sound = {"frozen": True, "forbid_unknown_fields": True} | options
    fields = [("field", kind)]
    loose = msgspec.defstruct(
        "Loose", fields, frozen=sound["frozen"], forbid_unknown_fields=sound["forbid_unknown_fields"]
    )
    schemas = load_schemas(pump)
    module = type(schemas)("loose")
    module.__dict__.update(schemas.__dict__, Alarm=loose)
    found = [finding for finding in check(pump, module) if finding.rule == "every-field-bounded"]
    assert [finding.remedy for finding in found] == [remedy]


def test_a_port_may_be_just_large_enough(pump: Design) -> None:
    largest = encoded_bytes_max(insulin_pump.Alarm)
    assert largest is not None
    assert findings(with_port(pump, "therapy.alarm", bytes_max=largest)) == []
    found = findings(with_port(pump, "therapy.alarm", bytes_max=largest - 1))
    assert [finding.rule for finding in found] == ["message-fits-port"]


def test_a_queue_may_hold_just_one_frame(pump: Design) -> None:
    assert findings(with_port(pump, "world.alarm", depth=4)) == []
    assert [f.rule for f in findings(with_port(pump, "world.alarm", depth=3))] == ["queues-hold-a-frame"]


def test_a_budget_may_be_just_finite(pump: Design) -> None:
    for restarts_max, rules in ((11, []), (12, ["restart-budgets-are-finite"])):
        budget = replace(pump.partition("therapy").restart, restarts_max=restarts_max)
        assert [f.rule for f in findings(with_partition(pump, "therapy", restart=budget))] == rules


# --- labels ---


def test_a_label_follows_whatever_a_partition_reads(pump: Design) -> None:
    found = findings(with_partition(pump, "transfer", cleared_for=frozenset()))
    assert {finding.rule for finding in found} == {"labels-stay-cleared"}
    assert [finding.path_text for finding in found] == [
        "therapy.status -> transfer.status",
        "therapy.settings -> transfer.settings",
    ]


def test_an_output_may_declassify(pump: Design) -> None:
    uncleared = replace(pump, world=replace(pump.world, cleared_for=frozenset({"therapy_command"})))
    assert "therapy.pump_command" in {name for finding in findings(uncleared) for name in finding.path}
    promised = with_port(uncleared, "therapy.pump_command", declassifies=frozenset({"phi"}))
    assert "therapy.pump_command" not in {name for finding in findings(promised) for name in finding.path}


def test_a_networked_partition_cannot_declassify(pump: Design) -> None:
    uncleared = replace(pump, world=replace(pump.world, cleared_for=frozenset({"phi", "therapy_command"})))
    found = findings(with_port(uncleared, "transfer.upload", declassifies=frozenset({"phi"})))
    assert [(finding.rule, finding.where) for finding in found] == [
        ("labels-stay-cleared", "transfer.upload")
    ]
    assert "keeps no promise" in found[0].message


# --- health ---


def test_a_stale_input_can_happen_only_where_an_input_has_a_freshness_limit(pump: Design) -> None:
    transfer = pump.partition("transfer")
    assert events_of(pump, transfer) == frozenset(Event)
    for name in ("transfer.wearable", "transfer.status"):
        pump = with_port(pump, name, freshness_frames=0)
    assert frozenset(Event) - events_of(pump, transfer) == {Event.STALE_INPUT}
    assert [finding.rule for finding in findings(pump)] == ["every-row-can-fire"]


@pytest.mark.parametrize("event", list(Event))
def test_each_missing_row_is_named(pump: Design, event: Event) -> None:
    rows = {key: action for key, action in pump.partition("therapy").health.items() if key is not event}
    found = findings(with_partition(pump, "therapy", health=rows))
    assert [finding.rule for finding in found] == ["every-event-has-a-row"]
    assert f"{event} can happen to therapy" in found[0].message


@pytest.mark.parametrize("action", [Action.NOTE, Action.DROP])
@pytest.mark.parametrize(
    "event", [Event.PARTITION_EXIT, Event.FORBIDDEN_SYSCALL, Event.MEMORY_EXCEEDED, Event.GATE_DIED]
)
def test_each_death_needs_a_remedy(pump: Design, event: Event, action: Action) -> None:
    rows = pump.partition("transfer").health | {event: action}
    found = findings(with_partition(pump, "transfer", health=rows))
    assert [finding.rule for finding in found] == ["death-has-a-remedy"]


@pytest.mark.parametrize("wall", sorted(CLASS_C_WALLS))
def test_each_wall_that_class_c_must_require_is_missed(pump: Design, wall: str) -> None:
    found = findings(with_partition(pump, "therapy", walls=WALLS - {wall}))
    assert [finding.message for finding in found] == [f"class C therapy does not require {wall}"]


@pytest.mark.parametrize("wall", sorted(POLICING_WALLS))
def test_each_policing_wall_of_a_writer_is_missed(pump: Design, wall: str) -> None:
    found = findings(with_partition(pump, "transfer", walls=WALLS - {wall}))
    assert [finding.rule for finding in found] == ["writers-to-class-c-are-policed"]
    assert found[0].path_text == "transfer.target_request -> therapy.target_request"


# --- windows ---


@pytest.mark.parametrize(
    ("offset_ms", "budget_ms", "breaks"),
    [
        (1_000, 299_000, False),
        (1_000, 299_001, True),
        (999, 1, True),
        (299_999, 1, False),
        (300_000, 1, True),
    ],
)
def test_windows_may_touch_but_not_overlap_or_overrun(
    pump: Design, offset_ms: int, budget_ms: int, breaks: bool
) -> None:
    window = replace(pump.windows[1], offset_ms=offset_ms, budget_ms=budget_ms)
    found = findings(replace(pump, windows=(pump.windows[0], window)))
    assert [finding.rule for finding in found] == (["windows-fit-the-frame"] if breaks else [])


def test_the_worlds_budget_fits_the_frame(pump: Design) -> None:
    found = findings(replace(pump, world=replace(pump.world, budget_ms=300_001)))
    assert [(finding.rule, finding.where) for finding in found] == [("windows-fit-the-frame", "world")]


def test_the_worlds_budget_may_fill_the_frame(pump: Design) -> None:
    assert findings(replace(pump, world=replace(pump.world, budget_ms=300_000))) == []


@pytest.mark.parametrize(("safety_class", "is_critical"), [(SafetyClass.B, True), (SafetyClass.C, False)])
def test_a_critical_or_class_c_partition_may_ask_for_the_safe_state(
    pump: Design, safety_class: SafetyClass, is_critical: bool
) -> None:
    rows = pump.partition("therapy").health | {Event.GATE_LIED: Action.SAFE_STATE}
    changed = with_partition(pump, "therapy", safety_class=safety_class, is_critical=is_critical, health=rows)
    assert "safe-state-is-critical-only" not in {finding.rule for finding in findings(changed)}


def test_two_windows_of_one_partition_are_found(pump: Design) -> None:
    again = replace(pump.windows[1], offset_ms=5_000)
    found = findings(replace(pump, windows=(*pump.windows, again)))
    assert [(finding.rule, finding.message) for finding in found] == [
        ("one-window-each", "transfer has 2 windows in the frame")
    ]


# --- the largest encoding ---


class Part(msgspec.Struct, frozen=True, tag="part", tag_field="kind"):
    byte: Annotated[int, msgspec.Meta(ge=-5, le=255)]


class Other(msgspec.Struct, frozen=True, tag="another", tag_field="kind"):
    text: Annotated[str, msgspec.Meta(max_length=20)]


class Row(msgspec.Struct, frozen=True, array_like=True):
    wide: Annotated[int, msgspec.Meta(ge=-(2**40), le=2**40)]
    flag: bool | None


class Everything(msgspec.Struct, frozen=True, rename="camel"):
    part_or_other: Part | Other
    rows: Annotated[tuple[Row, ...], msgspec.Meta(max_length=17)]
    raw: Annotated[bytes, msgspec.Meta(max_length=300)]
    pair: tuple[Annotated[float, msgspec.Meta(ge=0, le=1)], Literal["on", "off_for_long"]]
    code: insulin_pump.AlarmCode


LARGEST = Everything(
    part_or_other=Other("\U0001f9e1" * 20),
    rows=(Row(2**40, True),) * 17,
    raw=bytes(300),
    pair=(0.5, "off_for_long"),
    code=insulin_pump.AlarmCode.DELIVERY_MISMATCH,
)


def test_the_largest_encoding_is_exact_for_the_largest_value() -> None:
    assert encoded_bytes_max(Everything) == len(codec.encode(LARGEST))


Values = st.builds(
    Everything,
    part_or_other=st.builds(Part, byte=st.integers(-5, 255)) | st.builds(Other, text=st.text(max_size=20)),
    rows=st.lists(st.builds(Row, wide=st.integers(-(2**40), 2**40)), max_size=17).map(tuple),
    raw=st.binary(max_size=300),
    pair=st.tuples(st.floats(0, 1), st.sampled_from(["on", "off_for_long"])),
)


@given(Values)
def test_no_value_encodes_to_more(value: Everything) -> None:
    largest = encoded_bytes_max(Everything)
    assert largest is not None
    encoding = codec.encode(value)
    assert codec.Codec(Everything).decode(encoding) == value  # the strategy draws only what the type admits
    assert len(encoding) <= largest


class Tree(msgspec.Struct):
    more: Tree | None = None


class Named(msgspec.Struct):
    name: str


class Endless(msgspec.Struct):
    items: tuple[bool, ...]


class EndlessInside(msgspec.Struct):
    items: Annotated[tuple[str, ...], msgspec.Meta(max_length=3)]


class HalfBounded(msgspec.Struct):
    number: Annotated[int, msgspec.Meta(ge=0)]


@pytest.mark.parametrize("message_type", [Tree, Named, Endless, EndlessInside, HalfBounded])
def test_an_unbounded_type_has_no_largest_encoding(message_type: type[msgspec.Struct]) -> None:
    assert encoded_bytes_max(message_type) is None


@pytest.mark.parametrize("low", [-(2**31) - 1, -(2**31), -(2**15) - 1, -(2**15), -129, -128, -33, -32, 0])
@pytest.mark.parametrize("high", [0, 127, 128, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32])
def test_the_size_of_a_number_is_that_of_its_wider_bound(low: int, high: int) -> None:
    number = msgspec.defstruct("Number", [("n", Annotated[int, msgspec.Meta(ge=low, le=high)])])
    assert encoded_bytes_max(number) == max(len(codec.encode(number(n))) for n in (low, high))


@pytest.mark.parametrize("length", [0, 7, 8, 63, 64, 16_383, 16_384])
def test_the_size_of_a_text_is_exact_at_each_head(length: int) -> None:
    text = msgspec.defstruct("Text", [("t", Annotated[str, msgspec.Meta(max_length=length)])])
    assert encoded_bytes_max(text) == len(codec.encode(text("\U0001f9e1" * length)))


@pytest.mark.parametrize("length", [0, 255, 256, 65_535, 65_536])
def test_the_size_of_a_byte_string_is_exact_at_each_head(length: int) -> None:
    raw = msgspec.defstruct("Raw", [("r", Annotated[bytes, msgspec.Meta(max_length=length)])])
    assert encoded_bytes_max(raw) == len(codec.encode(raw(bytes(length))))


@pytest.mark.parametrize("length", [0, 15, 16, 65_535, 65_536])
def test_the_size_of_a_sequence_is_exact_at_each_head(length: int) -> None:
    items = msgspec.defstruct("Items", [("i", Annotated[tuple[bool, ...], msgspec.Meta(max_length=length)])])
    assert encoded_bytes_max(items) == len(codec.encode(items((True,) * length)))
