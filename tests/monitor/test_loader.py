"""Reading device.toml: whatever is wrong with it ends in one sentence: what, where, remedy."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path

import pytest

from monitor import channels, loader, toml_table
from monitor.design import WORLD, Design, DesignError, Event, OnStale, PortKind, SafetyClass
from monitor.loader import load_design, load_schemas
from tests.support.pump_design import PUMP_TOML, REPOSITORY, lay_out

WALLS = frozenset({"pidns", "seccomp", "schema", "range"})


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


def test_a_partition_may_lack_walls_and_then_does_not_require_them(folder: Path) -> None:
    edit(folder, 'walls = "all"', 'walls = "all"\nlacks = ["seccomp"]')
    design = load_design(folder, WALLS)
    assert design.partition("therapy").walls == WALLS - {"seccomp"}
    assert (design.lacking, design.partition("transfer").lacks) == (("therapy.seccomp",), frozenset())
    assert design.label == "DEGRADED: without seccomp around therapy"
    restored = design.with_walls({"therapy.seccomp"})
    assert (restored.partition("therapy").walls, restored.lacking, restored.label) == (WALLS, (), "")
    with pytest.raises(DesignError, match=r"does not lack transfer\.seccomp; it lacks therapy\.seccomp"):
        design.with_walls({"transfer.seccomp"})


def test_a_design_may_say_which_rules_it_breaks(folder: Path) -> None:
    edit(folder, "[world]", 'accepts = ["every-field-bounded"]\n\n[world]')
    design = load_design(folder, WALLS)
    assert design.accepts == {"every-field-bounded"}
    assert design.label == "DEGRADED: breaks every-field-bounded"


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
        *(
            (
                "[partition.therapy]",
                f"[partition.{taken}]",
                "is not bootloader, design, monitor, release or world",
            )
            for taken in ("world", "bootloader", "design", "monitor", "release")
        ),
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
        ('walls = "all"', 'walls = "all"\nlacks = ["moat"]', 'holds "moat", which is no wall'),
        (
            'walls = "all"',
            'walls = ["range"]\nlacks = ["range"]',
            "range is among its walls, too; take it out",
        ),
        ("[world]", 'accepts = ["Every Rule"]\n[world]', "which cannot be among names of rules"),
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
        ("\x00", "Error (source code string cannot contain null bytes); mend it there"),
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


def test_what_becomes_of_the_schemas_file_after_the_design_was_read_changes_nothing(folder: Path) -> None:
    design = with_schemas(folder, GOOD_SCHEMAS)
    (folder / "own.py").write_text("raise SystemExit")
    before = vars(load_schemas(design)).keys()
    (folder / "own.py").unlink()
    assert vars(load_schemas(design)).keys() == before


def test_the_limits_of_this_test_are_those_of_the_loader() -> None:
    assert (loader.PARTITIONS_MAX, channels.PORTS_MAX, channels.PORTS_PER_PARTITION_MAX) == (64, 512, 128)
    assert WORLD == "world"
