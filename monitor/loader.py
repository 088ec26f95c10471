"""Reads ``device.toml`` into the frozen values of ``monitor.design``, or says in one sentence why it cannot.

Whatever is missing, unknown, of the wrong type, too large or contradictory ends in ``DesignError``, whose
message names file, table, key, the offending value (shortened and stripped of control characters) and the
remedy. What the file *means* is judged elsewhere (``monitor.rules``); here it is only read. The schemas that
a design names are code of its author's, run with the monitor's rights: they are trusted.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

import msgspec

import ipc_schemas
from ipc_schemas.release import NAMES_TAKEN
from monitor.channels import FRAMES_MAX, labels_in, read_channels
from monitor.design import (
    WORLD,
    Action,
    Design,
    DesignError,
    Event,
    Limits,
    Partition,
    RestartBudget,
    SafetyClass,
    Window,
    WorldSide,
)
from monitor.toml_table import (
    NAME,
    Table,
    file_of,
    nearest,
    parse,
    plain,
    read_bounded,
    shown,
)

#: The name under which world and partition code import the message types that stand in a design's folder.
DESIGN_SCHEMAS = "design_schemas"

#: Every key that each table of device.toml may hold. [partition], [partition.<name>.health] and ``to`` have free
#: ones: the names of partitions, events and ports.
KEYS = {
    "the top level": ("device", "world", "partition", "channel", "schedule"),
    "[device]": ("name", "frame_ms", "schemas", "labels", "accepts"),
    "[world]": ("entry", "budget_ms", "cleared_for"),
    "[partition.<name>]": (
        *("safety_class", "critical", "networked", "image", "entry", "packages", "config", "walls", "lacks"),
        *("cleared_for", "limits", "restart", "health"),
    ),
    "limits": (
        *("memory_mb", "processes", "files", "scratch_kb", "cpu_ms_per_frame", "log_bytes_per_frame"),
    ),
    "restart": ("restarts", "within_frames"),
    "[schedule]": ("windows",),
    "windows": ("partition", "offset_ms", "budget_ms"),
}

PARTITIONS_MAX = 64
DAY_MS = 86_400_000

_PACKAGE = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
_SCHEMAS = re.compile(r"\A(ipc_schemas\.[a-z][a-z0-9_]{0,62}|[a-z][a-z0-9_]{0,62}\.py)\Z")
_ENTRY = re.compile(r"\A[A-Za-z_]\w{0,62}(\.[A-Za-z_]\w{0,62}){0,7}:[A-Za-z_]\w{0,62}\Z", re.ASCII)
_WORLD_ENTRY = re.compile(
    r"\A([A-Za-z_]\w{0,62}\.py|[A-Za-z_]\w{0,62}(\.[A-Za-z_]\w{0,62}){0,7}):[A-Za-z_]\w{0,62}\Z", re.ASCII
)
_PATH = re.compile(r"\A[^\x00-\x1f\x7f]{1,255}\Z")
_RULE = re.compile(r"\A[a-z][a-z-]{0,62}\Z")
_RESERVED = NAMES_TAKEN | {WORLD}
_ONE_OF_THEM = ", ".join(sorted(NAMES_TAKEN)) + f" or {WORLD}"


def load_design(folder: Path, known_walls: frozenset[str]) -> Design:
    """The device in ``folder/device.toml``, or in ``folder`` itself if that is a file.

    ``known_walls`` holds the names that ``walls`` may list, and what ``walls = "all"`` means. Raises
    ``DesignError`` and nothing else.
    """
    path = file_of(folder)
    source = read_bounded(path)
    root = Table(path.name, "the top level", parse(source, path.name), KEYS["the top level"])
    try:
        return _read_design(root, path.parent, source, None, known_walls)
    except OSError as error:
        raise DesignError(
            f"{path.name}: {plain(str(error))}: check that every path in the file can be read"
        ) from None


def design_in(files: Mapping[str, bytes], known_walls: frozenset[str]) -> Design:
    """The device in a design's image: ``device.toml`` and ``schemas.py``, whatever its schemas are called there.

    Nothing is looked for on the disk. Raises ``DesignError``.
    """
    for name in ("device.toml", "schemas.py"):
        if name not in files:
            raise DesignError(f"the design's image has no {name}; build it anew")
    source = files["device.toml"]
    root = Table("device.toml", "the top level", parse(source, "device.toml"), KEYS["the top level"])
    return _read_design(root, None, source, files["schemas.py"], known_walls)


def load_schemas(design: Design) -> ModuleType:
    """The module with the message types of ``design``: one of Bulkhead's own, or a file of the folder.

    A file is compiled and run under a module name of its own, so two designs never share one; the design read
    last also owns the name ``design_schemas``, under which a world beside the file imports it. Raises
    ``DesignError`` when it cannot be read or run, or lacks a type that a port names.
    """
    where = f"device.toml: [device] schemas = {shown(design.schemas)}"
    try:
        module = (
            _import_own(design) if design.schemas.endswith(".py") else importlib.import_module(design.schemas)
        )
    except (Exception, SystemExit) as error:  # whatever the author's code raises is the author's to mend
        raise DesignError(
            f"{where}: running it raised {_told(error, design.schemas)}; mend it there"
        ) from None
    for port in design.ports:
        _check_message_type(module, f"{where}, port {port.full_name}", port.message)
    return module


def _told(error: BaseException, file: str) -> str:
    """What was raised, and in which line of ``file``."""
    said = plain(str(error), 160)
    lines = [
        line for frame, line in walk_tb(error.__traceback__) if Path(frame.f_code.co_filename).name == file
    ]
    place = f" in line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{place}" + (f" ({said})" if said else "")


def _import_own(design: Design) -> ModuleType:
    path = str(design.folder / design.schemas)
    name = f"bulkhead_design_{design.name}_{design.digest[:16]}"
    module = ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module  # msgspec resolves annotations through it
    try:
        exec(compile(design.schemas_source, path, "exec"), module.__dict__)  # noqa: S102  trusted like the monitor
    except BaseException:
        del sys.modules[name]
        raise
    sys.modules[DESIGN_SCHEMAS] = module
    return module


def _check_message_type(module: ModuleType, where: str, message: str) -> None:
    found: Any = getattr(module, message, None)
    if found is None:
        types = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise DesignError(
            f"{where}: there is no message type {shown(message)}; define it, or correct the name"
            f"{plain(nearest(message, types), 100)}"
        )
    if not isinstance(found, type) or not issubclass(found, msgspec.Struct):
        raise DesignError(
            f"{where}: {shown(message)} is not a msgspec.Struct; "
            f"write class {message}(msgspec.Struct, frozen=True, forbid_unknown_fields=True)"
        )
    try:
        msgspec.msgpack.Decoder(found)
    except Exception as error:
        said = plain(f"{type(error).__name__}: {error}", 160)
        raise DesignError(
            f"{where}: msgspec cannot read {shown(message)} ({said}); mend its fields"
        ) from None


# --- the tables ---


def _read_design(
    root: Table,
    folder: Path | None,
    source: bytes,
    schemas_source: bytes | None,
    known_walls: frozenset[str],
) -> Design:
    """Without a ``folder`` there is nothing beside the file that could be looked for, and its images are elsewhere."""
    device = root.table("device", "[device]", KEYS["[device]"])
    name = device.name("name", "insulin_pump")
    frame_ms = device.whole("frame_ms", 1, DAY_MS, 300_000)
    schemas = device.text("schemas", _SCHEMAS, "ipc_schemas.<module> or a file in this folder", "schemas.py")
    labels = frozenset(device.names("labels", NAME, "names of a to z, 0 to 9 and _"))
    if schemas_source is None:
        assert folder is not None
        schemas_source = _read_schemas_source(device, folder, schemas)
    world = _read_world(root.table("world", "[world]", KEYS["[world]"]), folder, labels, frame_ms)
    partitions = _read_partitions(root, folder, labels, known_walls)
    ports, channels = read_channels(root, frozenset(p.name for p in partitions), labels)
    windows = _read_schedule(root, [p.name for p in partitions], frame_ms)
    return Design(
        name=name,
        folder=folder or Path(),
        frame_ms=frame_ms,
        schemas=schemas,
        schemas_source=schemas_source,
        world=world,
        partitions=partitions,
        ports=ports,
        channels=channels,
        windows=windows,
        digest=hashlib.sha256(source + schemas_source).hexdigest(),
        labels=labels,
        accepts=frozenset(
            device.names("accepts", _RULE, "names of rules", example='["every-field-bounded"]')
        ),
    )


def _read_schemas_source(device: Table, folder: Path, schemas: str) -> bytes:
    if schemas.endswith(".py"):
        path, remedy = folder / schemas, "write the message types there, or name another file"
    else:
        own = Path(ipc_schemas.__path__[0])
        path, remedy = (
            own / f"{schemas.partition('.')[2]}.py",
            "name a module that exists, or a file in this folder",
        )
    if not path.is_file():
        device.refuse("schemas", f"there is no such file; {remedy}")
    return read_bounded(path)


def _read_world(table: Table, folder: Path | None, labels: frozenset[str], frame_ms: int) -> WorldSide:
    entry = table.text(
        "entry",
        _WORLD_ENTRY,
        '"module:Class", or "file.py:Class" for a file in this folder',
        "world.py:MyWorld",
    )
    file = entry.partition(":")[0]
    if folder is not None and file.endswith(".py") and not (folder / file).is_file():
        table.refuse(
            "entry", f"there is no file {plain(file)} in the design's folder; write it, or correct the name"
        )
    budget_ms = table.whole("budget_ms", 1, DAY_MS, min(5_000, frame_ms))
    cleared_for = labels_in(table, "cleared_for", labels)
    return WorldSide(entry=entry, folder=folder or Path(), budget_ms=budget_ms, cleared_for=cleared_for)


def _read_partitions(
    root: Table, folder: Path | None, labels: frozenset[str], known_walls: frozenset[str]
) -> tuple[Partition, ...]:
    section = root.table("partition", "[partition.<name>]")
    names = section.all_keys()
    if not 1 <= len(names) <= PARTITIONS_MAX:
        raise DesignError(
            f"{root.file}: [partition] holds {len(names)} partitions: it must be from 1 to {PARTITIONS_MAX}; "
            "write for example [partition.therapy]"
        )
    found = []
    for number, name in enumerate(names, start=1):
        if NAME.match(name) is None or name in _RESERVED:
            section.refuse(
                name,
                f"a partition's name has a to z, 0 to 9 and _, at most 31, and is not {_ONE_OF_THEM}; "
                "write for example [partition.therapy]",
            )
        table = section.table(name, f"[partition.{name}]", KEYS["[partition.<name>]"])
        found.append(_read_partition(table, number, name, folder, labels, known_walls))
    return tuple(found)


def _read_partition(
    table: Table,
    number: int,
    name: str,
    folder: Path | None,
    labels: frozenset[str],
    known_walls: frozenset[str],
) -> Partition:
    image = _read_image(table, folder)
    is_networked = table.flag("networked")
    walls, lacks = _read_walls(table, known_walls)
    return Partition(
        number=number,
        name=name,
        safety_class=table.choice("safety_class", SafetyClass, "A" if is_networked else "C"),
        is_critical=table.flag("critical"),
        is_networked=is_networked,
        image=image,
        entry=_read_entry(table, None if folder is None else image),
        packages=table.names("packages", _PACKAGE, "package names"),
        config=table.optional_name("config", "prescription"),
        limits=_read_limits(table.table("limits", f"[partition.{name}.limits]", KEYS["limits"])),
        walls=walls,
        lacks=lacks,
        cleared_for=labels_in(table, "cleared_for", labels),
        restart=_read_restart(table.table("restart", f"[partition.{name}.restart]", KEYS["restart"])),
        health=_read_health(table.table("health", f"[partition.{name}.health]")),
    )


def _read_image(table: Table, folder: Path | None) -> Path:
    text = table.text("image", _PATH, "the path of a folder, from this file", "images/therapy")
    if folder is None:
        return Path(text)
    image = (folder / text).resolve()
    if not image.is_dir():
        table.refuse(
            "image",
            f"there is no folder {plain(str(image), 120)}; make it, or correct the path, "
            "which starts at this file's folder (a copy of a design needs its images, too)",
        )
    return image


def _read_entry(table: Table, image: Path | None) -> str:
    entry = table.text("entry", _ENTRY, '"module:Class" inside the image', "main:Therapy")
    if image is None:
        return entry
    module = Path(*entry.partition(":")[0].split("."))
    if not (image / module).with_suffix(".py").is_file() and not (image / module / "__init__.py").is_file():
        table.refuse("entry", f"the image has no {plain(str(module))}.py; write it, or correct the name")
    return entry


def _read_walls(table: Table, known_walls: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The walls that a partition requires, and those that it lacks: no wall is both."""
    lacks = frozenset(table.names("lacks", NAME, "wall names", among=known_walls, kind="wall"))
    if table.value("walls", 'a list of walls or "all"', 'walls = "all"') == "all":
        return known_walls - lacks, lacks
    walls = frozenset(
        table.names(
            "walls", NAME, "wall names", among=known_walls, kind="wall", example='"all", for all of them'
        )
    )
    if walls & lacks:
        table.refuse("lacks", f"{min(walls & lacks)} is among its walls, too; take it out of one of the two")
    return walls, lacks


def _read_limits(table: Table) -> Limits:
    return Limits(
        memory_bytes_max=table.whole("memory_mb", 16, 4_096, 256) * 1_048_576,
        processes_max=table.whole("processes", 1, 256, 1),
        files_max=table.whole("files", 8, 4_096, 32),
        scratch_bytes_max=table.whole("scratch_kb", 0, 1_048_576, 0) * 1_024,
        cpu_ms_per_frame_max=table.whole("cpu_ms_per_frame", 1, DAY_MS, 500),
        log_bytes_per_frame_max=table.whole("log_bytes_per_frame", 0, 1_048_576, 4_096),
    )


def _read_restart(table: Table) -> RestartBudget:
    return RestartBudget(
        restarts_max=table.whole("restarts", 0, 1_000, 3),
        within_frames=table.whole("within_frames", 1, FRAMES_MAX, 12),
    )


def _read_health(table: Table) -> dict[Event, Action]:
    rows: dict[Event, Action] = {}
    events = [event.value for event in Event]
    for key in table.all_keys():
        if key not in events:
            table.refuse(key, f"is not an event; the events are {', '.join(events)}{nearest(key, events)}")
        rows[Event(key)] = table.choice(key, Action, "note" if key == Event.STALE_INPUT else "restart")
    return rows


# --- the schedule ---


def _read_schedule(root: Table, partitions: list[str], frame_ms: int) -> tuple[Window, ...]:
    """The examples in what is refused are such that following them keeps windows apart and within the frame."""
    schedule = root.table("schedule", "[schedule]", KEYS["[schedule]"])
    example = 'windows = [{ partition = "therapy", offset_ms = 0, budget_ms = 1_000 }]'
    windows: list[Window] = []
    for number, values in enumerate(schedule.tables("windows", PARTITIONS_MAX, example), start=1):
        table = Table(root.file, f"[schedule] windows number {number}", values, KEYS["windows"])
        name = table.name("partition", "therapy")
        if name not in partitions:
            known = plain(", ".join(partitions), 400)
            table.refuse(
                "partition", f"there is no such partition; they are {known}{nearest(name, partitions)}"
            )
        if any(window.partition == name for window in windows):
            table.refuse(
                "partition", "has a window already; a partition has one window a frame: remove this one"
            )
        taken_ms = max((window.offset_ms + window.budget_ms for window in windows), default=0)
        offset_ms = table.whole("offset_ms", 0, DAY_MS, min(taken_ms, DAY_MS))
        left_ms = max(frame_ms - offset_ms, 1)
        budget_ms = table.whole("budget_ms", 1, DAY_MS, min(1_000, left_ms))
        windows.append(Window(name, offset_ms=offset_ms, budget_ms=budget_ms))
    return tuple(windows)
