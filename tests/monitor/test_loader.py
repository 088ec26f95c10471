"""Reading device.toml: whatever is wrong with it ends in one sentence: what, where, remedy."""

from __future__ import annotations

import copy
import hashlib
import importlib
import os
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import channels, loader, toml_table
from monitor.design import WORLD, Design, DesignError, Event, OnStale, PortKind, SafetyClass
from monitor.loader import load_design, load_schemas

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PUMP_TOML = (REPOSITORY / "designs" / "insulin_pump" / "device.toml").read_text()
WALLS = frozenset({"pidns", "seccomp", "schema", "range"})

Step = str | int
Where = tuple[Step, ...]


def lay_out(root: Path) -> Path:
    """The folders that the reference design names, with empty images; the result is the design's folder."""
    folder = root / "designs" / "insulin_pump"
    folder.mkdir(parents=True)
    for name in ("therapy", "transfer"):
        (root / "partitions" / name).mkdir(parents=True)
        (root / "partitions" / name / "main.py").touch()
    (folder / "device.toml").write_text(PUMP_TOML)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reference design in a folder of its own, free to be broken."""
    return lay_out(tmp_path)


def refusal(folder: Path) -> str:
    """The one sentence with which the design in ``folder`` is refused."""
    with pytest.raises(DesignError) as caught:
        load_design(folder, WALLS)
    sentence = str(caught.value)
    assert sentence.isascii()
    assert sentence.isprintable(), sentence
    return sentence


def edit(folder: Path, old: str, new: str, count: int = 1) -> None:
    """Replace the first ``count`` places of ``old``, which must be there."""
    text = (folder / "device.toml").read_text()
    assert old in text
    (folder / "device.toml").write_text(text.replace(old, new, count))


# --- what is read ---


def test_the_reference_design_is_read_as_written(folder: Path) -> None:
    design = load_design(folder, WALLS)
    assert (design.name, design.frame_ms, design.folder) == ("insulin_pump", 300_000, folder)
    assert design.labels == {"phi", "therapy_command"} == design.world.cleared_for
    therapy, transfer = design.partitions
    assert (therapy.number, therapy.safety_class, therapy.is_critical) == (1, SafetyClass.C, True)
    assert (transfer.number, transfer.safety_class, transfer.is_networked) == (2, SafetyClass.A, True)
    assert therapy.image == folder.parent.parent / "partitions" / "therapy"
    assert therapy.limits.memory_bytes_max == 256 * 1024 * 1024
    assert (therapy.packages, therapy.config) == (("cryptography", "_cffi_backend"), "prescription")
    assert therapy.walls == WALLS
    assert (set(therapy.health), transfer.config) == (set(Event), None)
    assert design.window_of("transfer").offset_ms == 1_000


def test_ports_are_numbered_in_the_order_of_the_file_source_first(folder: Path) -> None:
    design = load_design(folder, WALLS)
    assert [port.number for port in design.ports] == list(range(1, 27))
    assert [port.full_name for port in design.ports[:4]] == [
        "world.cgm",
        "therapy.cgm",
        "world.pump_status",
        "therapy.pump_status",
    ]
    assert design.channels[0].source == "world.cgm"
    assert design.channels[0].sinks == ("therapy.cgm",)


def test_an_input_inherits_its_channels_contract(folder: Path) -> None:
    edit(folder, "{ freshness_frames = 2, ", '{ freshness_frames = 2, on_stale = "hold", ')
    design = load_design(folder, WALLS)
    source, sink = design.port("transfer.activity"), design.port("therapy.activity")
    assert (sink.message, sink.bytes_max, sink.messages_per_frame_max) == ("ActivityHint", 48, 8)
    assert (sink.rejections_per_frame_max, sink.kind, sink.labels) == (4, PortKind.SAMPLING, source.labels)
    assert (source.is_output, sink.is_output) == (True, False)
    assert (sink.freshness_frames, sink.on_stale, sink.from_networked) == (2, OnStale.HOLD, True)
    assert design.port("therapy.meals").depth == 4


def test_one_output_may_feed_several_inputs(folder: Path) -> None:
    edit(
        folder, '{ "therapy.cgm" = { freshness_frames = 3 } }', '{ "therapy.cgm" = {}, "transfer.cgm" = {} }'
    )
    design = load_design(folder, WALLS)
    assert design.channels[0].sinks == ("therapy.cgm", "transfer.cgm")
    assert [port.number for port in design.ports[:3]] == [1, 2, 3]


def test_the_file_itself_may_be_named(folder: Path) -> None:
    assert load_design(folder / "device.toml", WALLS) == load_design(folder, WALLS)


def test_the_digest_covers_the_file_and_the_schemas(folder: Path) -> None:
    pump_schemas = (REPOSITORY / "ipc_schemas" / "insulin_pump.py").read_bytes()
    expected = hashlib.sha256(PUMP_TOML.encode() + pump_schemas).hexdigest()
    assert load_design(folder, WALLS).digest == expected
    edit(folder, 'schemas = "ipc_schemas.insulin_pump"', 'schemas = "own.py"')
    (folder / "own.py").write_bytes(pump_schemas)
    before = load_design(folder, WALLS).digest
    (folder / "own.py").write_bytes(pump_schemas + b"#")
    assert load_design(folder, WALLS).digest != before


def test_walls_may_be_listed(folder: Path) -> None:
    edit(folder, 'walls = "all"', 'walls = ["seccomp", "range"]')
    assert load_design(folder, WALLS).partition("therapy").walls == {"seccomp", "range"}


def test_the_worlds_entry_may_be_a_file_of_the_folder(folder: Path) -> None:
    edit(folder, "world.insulin:InsulinWorld", "own_world.py:OwnWorld")
    assert "there is no file own_world.py in the design's folder" in refusal(folder)
    (folder / "own_world.py").touch()
    assert load_design(folder, WALLS).world.entry == "own_world.py:OwnWorld"


# --- the file ---


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path}/nowhere; name the folder" in refusal(tmp_path / "nowhere")


def test_a_folder_without_a_design(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"device.toml: there is none in {tmp_path}; write one, or name another folder"


def test_a_name_that_no_file_can_have() -> None:
    assert refusal(Path("a\0b")).startswith("device.toml: ")
    assert refusal(Path("x" * 5_000)).startswith("device.toml: ")


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "device.toml").mkdir()
    assert "not a regular file" in refusal(tmp_path)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "device.toml")
    assert "not a regular file" in refusal(tmp_path)
    assert "not a regular file" in refusal(tmp_path / "device.toml")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "[device] and its keys below it"),
        (b"this is prose", "is not valid TOML"),
        (b"\x7fELF\x02\x01\x01\x00\x00\xff\xfe", "byte 9 is not UTF-8 text; save the file as UTF-8"),
        (b"\xef\xbb\xbf[device]\n", "begins with a byte order mark; save the file as UTF-8 without one"),
        (b"a = " + b"[" * 1_000, "nested too deeply"),
        (b"a" + b".a" * 100_000 + b" = 1", "line 1 has 200005 characters; keep to 1024 a line"),
        (b"#\n" * 600_000, "holds more than 1048576 bytes"),
        (b"[device]\nname = 'a'\nname = 'b'\n", "is not valid TOML"),
        (b"[device]\n[device]\n", "is not valid TOML"),
        (b"[[device]]\n", "[device] and its keys below it"),
    ],
)
def test_what_is_no_design(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "device.toml").write_bytes(content)
    assert words in refusal(tmp_path)


# --- one sentence, with the value and the remedy ---


def test_the_sentence_names_file_table_key_value_and_remedy(folder: Path) -> None:
    edit(folder, "memory_mb = 256", "memory_mb = -3")
    assert refusal(folder) == (
        "device.toml: [partition.therapy.limits] memory_mb = -3: must be a whole number from 16 to 4096; "
        "write for example memory_mb = 256"
    )


def test_a_missing_key_is_named_with_an_example(folder: Path) -> None:
    edit(folder, "memory_mb = 256\n", "")
    assert refusal(folder) == (
        "device.toml: [partition.therapy.limits] memory_mb is missing: "
        "it must be a whole number from 16 to 4096; write for example memory_mb = 256"
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("memory_mb = 256", "memory_mb = true", "memory_mb = true: must be a whole number"),
        ("memory_mb = 256", "memory_mb = nan", "memory_mb = nan: must be"),
        ("memory_mb = 256", "memory_mb = 256.0", "memory_mb = 256.0: must be"),
        ("memory_mb = 256", "memory_mb = 0x" + "f" * 900, "memory_mb = a whole number of 3600 bits: must be"),
        ("memory_mb = 256", "memory_mb = 1979-05-27", "memory_mb = a date: must be"),
        ("memory_mb = 256", "memroy_mb = 256", "memroy_mb = 256: is not a key of this table"),
        ("memory_mb = 256", "memroy_mb = 256", 'did you mean "memory_mb"?'),
        ("critical = true", "is_critcal = true", "is_critcal = true: is not a key of this table"),
        ("critical = true", "is_critcal = true", 'did you mean "critical"?'),
        ("[schedule]", "[shedule]", "shedule = a table of 1: is not a key of this table"),
        ("[schedule]", "[shedule]", 'did you mean "schedule"?'),
        ('safety_class = "C"', 'safety_class = "c"', 'must be one of A, B, C; did you mean "C"?'),
        ('safety_class = "C"', 'safety_class = "4"', 'write for example safety_class = "C"'),
        ("files = 32", "files = 32\nfile = 3", "file = 3: is not a key of this table; its keys are cpu_ms"),
        ("files = 32", "files = 32\nfile = 3", 'did you mean "files"?'),
        ("critical = true", "critical = 1", "critical = 1: must be true or false"),
        ('safety_class = "C"', 'safety_class = "c"', 'safety_class = "c": must be one of A, B, C'),
        ('name = "insulin_pump"', 'name = "Pump"', 'name = "Pump": must be a name of a to z'),
        ('name = "insulin_pump"', 'name = "pump\\n"', 'name = "pump?": must be'),
        ('name = "insulin_pump"', 'name = "\\u202e\\u001b[31m"', 'name = "??[31m": must be'),
        ('name = "insulin_pump"', f'name = "{"p" * 500}"', f'name = "{"p" * 57}...": must be'),
        ("frame_ms = 300_000", "frame_ms = 0", "from 1 to 86400000"),
        ("[partition.therapy]", "[partition.world]", "is not world or monitor"),
        ("[partition.therapy]", "[partition.Therapy]", "[partition.<name>] Therapy"),
        ('image = "../../partitions/therapy"', 'image = "nowhere"', "there is no folder"),
        ('image = "../../partitions/therapy"', 'image = "a\\u0000b"', 'image = "a?b": must be the path'),
        ('entry = "main:Therapy"', 'entry = "main.Therapy"', 'must be "module:Class" inside the image'),
        ('entry = "main:Therapy"', 'entry = "other:Therapy"', "the image has no other.py"),
        ('entry = "main:Therapy"', 'entry = "../main:Therapy"', 'must be "module:Class" inside the image'),
        ("world.insulin:InsulinWorld", "insulin", '"file.py:Class" for a file in this folder'),
        ("world.insulin:InsulinWorld", "../world.py:W", '"file.py:Class" for a file in this folder'),
        ('walls = "all"', 'walls = "most"', 'walls = "most": must be a list of at most'),
        ('walls = "all"', 'walls = "most"', 'write for example walls = "all", for all of them'),
        ('walls = "all"', 'walls = ["secomp"]', 'holds "secomp", which is no wall; those are: pidns, range'),
        ('walls = "all"', 'walls = ["secomp"]', 'did you mean "seccomp"?'),
        ('walls = "all"', 'walls = ["seccomp", "seccomp"]', 'holds "seccomp" more than once'),
        ('labels = ["phi"]', 'labels = ["phy"]', "which is no label of [device] labels; those are: phi"),
        (
            'labels = ["phi", "therapy_command"]',
            "labels = [1]",
            "holds 1, which cannot be among names of a to z",
        ),
        ('bad_message = "restart"', 'bad_message = "kill"', "must be one of note, drop, restart, quarantine"),
        (
            'bad_message = "restart"',
            'bad_massage = "drop"',
            'bad_massage = "drop": is not an event; the events',
        ),
        ('bad_message = "restart"', 'bad_massage = "drop"', 'did you mean "bad_message"?'),
        ("restarts = 3", "restarts = inf", "restarts = inf: must be a whole number from 0 to 1000"),
        ('from = "world.cgm"', 'from = "world"', "must be an output port, as partition.port"),
        (
            'from = "world.cgm"',
            'from = "wrld.cgm"',
            '"wrld.cgm" names no partition; they are therapy, transfer, world',
        ),
        ('from = "world.cgm"', 'from = "wrld.cgm"', 'did you mean "world"?'),
        (
            '"therapy.cgm" = {',
            '"terapy.cgm" = {',
            'number 1 to terapy.cgm = a table of 1: "terapy.cgm" names no',
        ),
        ('"therapy.cgm" = {', '"therapy cgm" = {', '"therapy cgm" is not a port; write partition.port'),
        ('"therapy.cgm" = {', '"world.other" = {', "belong to one partition; a channel joins two"),
        (
            '"therapy.cgm" = {',
            '"therapy.pump_status" = {',
            '"therapy.pump_status" is fed by world.cgm already',
        ),
        (
            'from = "world.pump_status"',
            'from = "world.cgm"',
            "starts another channel already; to reach more inputs, name them in its `to`",
        ),
        ('from = "world.pump_status"', 'from = "therapy.cgm"', "is the end of another channel already"),
        ('"therapy.cgm" = {', '"therapy.alarm" = {', "is the end of another channel already"),
        ("{ freshness_frames = 3 }", "{ depth = 3 }", "depth = 3: belongs to a queuing channel"),
        ("{ depth = 4 }", "{ freshness_frames = 4 }", "freshness_frames = 4: belongs to a sampling channel"),
        ("{ depth = 4 }", '{ on_stale = "hold" }', 'on_stale = "hold": belongs to a sampling channel'),
        ("{ depth = 4 }", "{ depth = 65_537 }", "from 1 to 65536"),
        ("bytes = 64", "bytes = 0", "number 1 bytes = 0: must be a whole number from 1"),
        ('message = "CgmReading"', 'message = "cgm"', 'message = "cgm": must be the name of a message type'),
        ('kind = "sampling"', 'kind = "samplng"', 'did you mean "sampling"?'),
        ('"ipc_schemas.insulin_pump"', '"os.path"', "must be ipc_schemas.<module> or a file in this folder"),
        (
            '"ipc_schemas.insulin_pump"',
            '"ipc_schemas.nothing"',
            "there is no such file; name a module that exists",
        ),
        ('"ipc_schemas.insulin_pump"', '"own.py"', "there is no such file; write the message types there"),
        (
            '{ partition = "therapy", ',
            '{ partition = "terapy", ',
            "there is no such partition; they are therapy",
        ),
        (
            '{ partition = "therapy", ',
            '{ partition = "transfer", ',
            "has a window already; a partition has one",
        ),
        (
            "[schedule]",
            "[schedule]\nframe = 3",
            "frame = 3: is not a key of this table; its keys are windows",
        ),
        ("[device]", "colour = 3\n[device]", "the top level colour = 3: is not a key of this table"),
    ],
)
def test_each_mistake_gets_its_own_words(folder: Path, old: str, new: str, words: str) -> None:
    edit(folder, old, new)
    sentence = refusal(folder)
    assert words in sentence
    assert sentence.startswith("device.toml: ")


def documents_with(key: str, value: Any) -> Iterator[tuple[Where, str]]:
    """The reference design with ``value`` at ``key``, once for each kind of table that may hold that key."""
    holders: list[tuple[Where, tuple[str, ...]]] = [
        ((), loader.KEYS["the top level"]),
        (("device",), loader.KEYS["[device]"]),
        (("world",), loader.KEYS["[world]"]),
        (("partition", "therapy"), loader.KEYS["[partition.<name>]"]),
        (("partition", "therapy", "limits"), loader.KEYS["limits"]),
        (("partition", "therapy", "restart"), loader.KEYS["restart"]),
        (("schedule",), loader.KEYS["[schedule]"]),
        (("schedule", "windows", 0), loader.KEYS["windows"]),
        (("channel", 0), channels.CHANNEL_KEYS),
        (("channel", 0, "to", "therapy.cgm"), channels.SINK_KEYS[PortKind.SAMPLING]),
        (("channel", 3, "to", "therapy.meals"), channels.SINK_KEYS[PortKind.QUEUING]),
    ]
    for where, keys in holders:
        if key in keys:
            yield where, replaced((*where, key), lambda node, step: node.__setitem__(step, value))


@pytest.mark.parametrize(
    "key",
    sorted(
        {key for keys in (*loader.KEYS.values(), channels.CHANNEL_KEYS) for key in keys}
        | {key for keys in channels.SINK_KEYS.values() for key in keys}
    ),
)
def test_no_key_that_a_table_may_hold_is_left_unread(folder: Path, key: str) -> None:
    found = list(documents_with(key, Raw("1979-05-27")))
    assert found
    for where, text in found:
        (folder / "device.toml").write_text(text)
        assert f"{key} = a date: must be" in refusal(folder), where


def test_the_bounds_themselves_are_allowed(folder: Path) -> None:
    padding = "#" * toml_table.LINE_CHARS_MAX + "\n"
    (folder / "device.toml").write_text(padding + PUMP_TOML)
    load_design(folder, WALLS)
    (folder / "device.toml").write_text("#" + padding + PUMP_TOML)
    assert "line 1 has 1025 characters" in refusal(folder)
    fill = ("#" * 99 + "\n") * 20_000
    (folder / "device.toml").write_text((PUMP_TOML + fill)[: toml_table.FILE_BYTES_MAX])
    load_design(folder, WALLS)
    (folder / "device.toml").write_text((PUMP_TOML + fill)[: toml_table.FILE_BYTES_MAX + 1])
    assert "holds more than 1048576 bytes" in refusal(folder)


def test_sixty_characters_are_shown_whole_and_sixty_one_are_not(folder: Path) -> None:
    edit(folder, 'name = "insulin_pump"', f'name = "{"P" * 60}"')
    assert f'name = "{"P" * 60}": must be' in refusal(folder)
    edit(folder, f'name = "{"P" * 60}"', f'name = "{"P" * 61}"')
    assert f'name = "{"P" * 57}...": must be' in refusal(folder)


def test_a_list_holds_sixty_four_names(folder: Path) -> None:
    names = "".join(f'"package{number}",\n' for number in range(64))
    edit(folder, "packages = []", f"packages = [\n{names}]")
    assert len(load_design(folder, WALLS).partition("transfer").packages) == 64
    edit(folder, '"package0",', '"package0", "one_more",')
    assert "must be a list of at most 64 package names" in refusal(folder)


def test_a_queue_that_no_link_could_carry_is_refused(folder: Path) -> None:
    edit(folder, "bytes = 4_352", "bytes = 1_000_000")
    edit(folder, '"world.upload" = { depth = 8 }', '"world.upload" = { depth = 17 }')
    assert "depth = 17: at 1000000 bytes each that passes 16777000 bytes; write 16 or less" in refusal(folder)


def test_an_unreadable_file_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)  # root may read any file, so a mode of 000 would prove nothing
    assert refusal(folder) == "device.toml: cannot be read (Permission denied); check its permissions"


def grown(partitions: int, ports_each: int) -> str:
    """A design with many partitions of which each sends on many channels to the world."""
    head, body = PUMP_TOML.split("[partition.therapy]\n")[0], ""
    template = PUMP_TOML[PUMP_TOML.index("[partition.therapy]") : PUMP_TOML.index("[partition.transfer]")]
    windows = ""
    for number in range(partitions):
        body += template.replace("partition.therapy", f"partition.p{number}")
        windows += f'  {{ partition = "p{number}", offset_ms = {number}, budget_ms = 1 }},\n'
        for port in range(ports_each):
            body += f'[[channel]]\nfrom = "p{number}.out{port}"\nmessage = "Alarm"\nkind = "queuing"\n'
            body += "bytes = 64\nmessages_per_frame = 1\nto = {}\n"
    return f"{head}{body}[schedule]\nwindows = [\n{windows}]\n"


def test_sixty_four_partitions_and_512_ports_are_the_most(folder: Path) -> None:
    (folder / "device.toml").write_text(grown(64, 8))
    assert len(load_design(folder, WALLS).ports) == 512
    (folder / "device.toml").write_text(grown(65, 1))
    assert "[partition] holds 65 partitions: it must be from 1 to 64" in refusal(folder)
    (folder / "device.toml").write_text(grown(4, 129))
    assert "must be a list of 1 to 512 tables" in refusal(folder)
    (folder / "device.toml").write_text(grown(3, 129))
    assert "is a port too many; a partition has 128 at most" in refusal(folder)


# --- schemas ---

GOOD_SCHEMAS = (REPOSITORY / "ipc_schemas" / "insulin_pump.py").read_text()


def with_schemas(folder: Path, source: str) -> Design:
    """The reference design, with its message types in a file of the folder."""
    edit(folder, '"ipc_schemas.insulin_pump"', '"own.py"')
    (folder / "own.py").write_text(source)
    return load_design(folder, WALLS)


def test_schemas_of_our_own(folder: Path) -> None:
    assert load_schemas(load_design(folder, WALLS)).__name__ == "ipc_schemas.insulin_pump"


def test_schemas_from_the_folder_get_a_module_of_their_own(folder: Path, tmp_path: Path) -> None:
    first = load_schemas(with_schemas(folder, GOOD_SCHEMAS))
    other = lay_out(tmp_path / "other")
    second = load_schemas(with_schemas(other, GOOD_SCHEMAS + "\nSECOND = True\n"))
    assert first.__name__ != second.__name__
    assert importlib.import_module("design_schemas") is second
    assert not hasattr(first, "SECOND")
    assert not list(folder.glob("__pycache__"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "running it raised ZeroDivisionError in line 1 (division by zero); mend it there"),
        ("import nowhere_at_all", "running it raised ModuleNotFoundError"),
        ("raise SystemExit(0)", "running it raised SystemExit"),
        ("def f(:", "running it raised SyntaxError"),
        ("def f(): return f()\nf()", "running it raised RecursionError"),
        ("raise ValueError('two\\nlines \\x1b[31m')", "ValueError in line 1 (two?lines ?[31m)"),
        ("\x00", "SyntaxError (source code string cannot contain null bytes); mend it there"),
        ("x = 1\nraise MemoryError", "running it raised MemoryError in line 2; mend it there"),
        ("class CgmRaeding: pass", 'define it, or correct the name; did you mean "CgmRaeding"?'),
        ("", 'port world.cgm: there is no message type "CgmReading"; define it'),
        ("CgmReading = 3", '"CgmReading" is not a msgspec.Struct'),
        ("class CgmReading: pass", "write class CgmReading(msgspec.Struct, frozen=True"),
        (
            "import msgspec\nclass CgmReading(msgspec.Struct):\n    a: 'Nowhere'",
            'msgspec cannot read "CgmReading" (NameError',
        ),
    ],
)
def test_schemas_that_cannot_be_used(folder: Path, source: str, words: str) -> None:
    design = with_schemas(folder, source)
    with pytest.raises(DesignError) as caught:
        load_schemas(design)
    assert words in str(caught.value)
    assert str(caught.value).startswith('device.toml: [device] schemas = "own.py"')
    assert str(caught.value).isprintable()


def test_schemas_that_vanish_after_the_design_was_read(folder: Path) -> None:
    design = with_schemas(folder, GOOD_SCHEMAS)
    (folder / "own.py").unlink()
    with pytest.raises(DesignError, match="cannot be read"):
        load_schemas(design)


# --- any key missing, any value replaced ---


def places(node: Any, here: Where = ()) -> Iterator[Where]:
    """Every place of a parsed file, tables and lists included."""
    items: list[tuple[Step, Any]] = []
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    for step, below in items:
        yield (*here, step)
        yield from places(below, (*here, step))


class Raw(str):
    """TOML text that stands as it is."""


def written(value: Any) -> str:
    """One value as TOML. A table inside a list takes one line; the lists themselves may take several."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return (
            '"'
            + "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in value)
            + '"'
        )
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{written(key)} = {written(below)}" for key, below in value.items()) + " }"
    if isinstance(value, list):
        return "[" + "".join(f"\n{written(item)}," for item in value) + "]"
    return str(value)


def file_of(node: dict[str, Any], header: str = "") -> str:
    """A parsed file as TOML, with a header for each table, so that no line grows long."""
    lines = [
        f"{written(key)} = {written(value)}" for key, value in node.items() if not isinstance(value, dict)
    ]
    text = "\n".join(lines) + "\n"
    for key, value in node.items():
        if isinstance(value, dict):
            name = f"{header}{written(key)}"
            text += f"[{name}]\n" + file_of(value, f"{name}.")
    return text


PUMP = tomllib.loads(PUMP_TOML)
PLACES = list(places(PUMP))
WRONG: list[Any] = [
    -1,
    0,
    10**30,
    True,
    "",
    "x",
    "\x00",
    "\u202e",
    "a.b",
    "p" * 200,
    [],
    {},
    [[]],
    [{}],
    [1, "a", {}],
    {"a": {"b": 1}},
    {"": 1},
    *(Raw(text) for text in ("nan", "-inf", "1e308", "1979-05-27T07:32:00Z", "0x" + "f" * 500, "07:32:00")),
    Raw("[" * 350 + "]" * 350),
    Raw("[" * 50 + "]" * 50),
    Raw("9" * 500),
]


def replaced(where: Where, change: Callable[[Any, Step], None]) -> str:
    """The reference design as TOML, with ``change`` done to one place."""
    root = copy.deepcopy(PUMP)
    node: Any = root
    for step in where[:-1]:
        node = node[step]
    change(node, where[-1])
    return file_of(root)


def named(where: Where) -> list[str]:
    """The names by which a sentence may point at a place: its key, or that of the list around it."""
    return [str(step) for step in where if isinstance(step, str)][-2:]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A laid-out design that many examples overwrite."""
    return lay_out(tmp_path_factory.mktemp("scratch"))


def judge(scratch: Path, text: str | None, where: Where) -> str | None:
    """Load ``text``, or the file as it is: ``None`` for a design, else the sentence about ``where``."""
    if text is not None:
        (scratch / "device.toml").write_text(text)
    try:
        load_design(scratch, WALLS)
    except DesignError as error:
        sentence = str(error)
        assert sentence.isascii()
        assert sentence.isprintable()
        assert len(sentence) < 1_200
        assert (
            where == () or any(name in sentence for name in named(where)) or "nested too deeply" in sentence
        ), (
            where,
            sentence,
        )
        return sentence
    return None


def test_the_writer_of_this_test_writes_the_same_design(scratch: Path) -> None:
    assert tomllib.loads(file_of(PUMP)) == PUMP
    assert judge(scratch, file_of(PUMP), ()) is None


OPTIONAL = {"labels", "cleared_for", "packages", "config", "rejections_per_frame"}
OPTIONAL |= {"freshness_frames", "depth", "from_networked"}


@pytest.mark.parametrize("part", range(4))
def test_any_one_key_may_be_missing_and_is_named(scratch: Path, part: int) -> None:
    for where in PLACES[part::4]:
        sentence = judge(scratch, replaced(where, lambda node, step: node.__delitem__(step)), where)
        key = where[-1]
        is_plain_key = isinstance(key, str) and "to" not in where[-2:] and "health" not in where[-2:]
        if is_plain_key and key not in OPTIONAL and where[:-1] != ("partition",):
            assert sentence is not None
            assert f"{key} is missing" in sentence


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(PLACES), st.sampled_from(WRONG))
def test_any_one_value_may_be_wrong(scratch: Path, where: Where, value: Any) -> None:
    judge(scratch, replaced(where, lambda node, step: node.__setitem__(step, value)), where)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.integers(0, len(PUMP_TOML.encode())), st.integers(0, 300))
def test_any_bytes_in_the_file_are_a_design_or_refused(
    scratch: Path, noise: bytes, at: int, cut: int
) -> None:
    source = PUMP_TOML.encode()
    (scratch / "device.toml").write_bytes(source[:at] + noise + source[at + cut :])
    judge(scratch, None, ())


def test_the_limits_of_this_test_are_those_of_the_loader() -> None:
    assert (loader.PARTITIONS_MAX, channels.PORTS_MAX, channels.PORTS_PER_PARTITION_MAX) == (64, 512, 128)
    assert WORLD == "world"
