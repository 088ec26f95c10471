"""Reads ``device.toml`` into the frozen values of ``monitor.design``, or says in one sentence why it cannot.

Whatever is missing, unknown, of the wrong type, too large or contradictory ends in ``DesignError``, whose
message names file, table, key, the offending value (shortened and stripped of control characters) and the
remedy. What the file *means* is judged elsewhere (``monitor.rules``); here it is only read. The schemas that
a design names are code of its author's, run with the monitor's rights: they are trusted.
"""

from __future__ import annotations

import difflib
import enum
import hashlib
import importlib
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NoReturn, TypeVar

import msgspec

import ipc_schemas
from monitor.design import (
    WORLD,
    Action,
    Channel,
    Design,
    DesignError,
    Event,
    Limits,
    OnStale,
    Partition,
    Port,
    PortKind,
    RestartBudget,
    SafetyClass,
    Window,
    WorldSide,
)

#: The name under which world and partition code import the message types that stand in a design's folder.
DESIGN_SCHEMAS = "design_schemas"

FILE_BYTES_MAX = 1_048_576
#: tomllib needs time that grows with the square of the dots in one key, and a key stands on one line.
LINE_CHARS_MAX = 1_024
PARTITIONS_MAX = 64
PORTS_MAX = 512
PORTS_PER_PARTITION_MAX = 128  # wire.Hello and wire.WindowOpen hold no more
NAMES_PER_LIST_MAX = 64
BATCH_BYTES_MAX = 16_777_000  # wire.Delivery holds 16 MiB, the head of the array included
DAY_MS = 86_400_000
FRAMES_MAX = 1_000_000

_NAME = re.compile(r"\A[a-z][a-z0-9_]{0,30}\Z")
_PORT = re.compile(r"\A[a-z][a-z0-9_]{0,30}\.[a-z][a-z0-9_]{0,30}\Z")
_MESSAGE = re.compile(r"\A[A-Z][A-Za-z0-9_]{0,63}\Z")
_PACKAGE = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
_SCHEMAS = re.compile(r"\A(ipc_schemas\.[a-z][a-z0-9_]{0,62}|[a-z][a-z0-9_]{0,62}\.py)\Z")
_ENTRY = re.compile(r"\A[A-Za-z_]\w{0,62}(\.[A-Za-z_]\w{0,62}){0,7}:[A-Za-z_]\w{0,62}\Z", re.ASCII)
_WORLD_ENTRY = re.compile(
    r"\A([A-Za-z_]\w{0,62}\.py|[A-Za-z_]\w{0,62}(\.[A-Za-z_]\w{0,62}){0,7}):[A-Za-z_]\w{0,62}\Z", re.ASCII
)
_PATH = re.compile(r"\A[^\x00-\x1f\x7f]{1,255}\Z")
_RESERVED = frozenset({WORLD, "monitor"})
_NO_TABLE: Mapping[str, Any] = MappingProxyType({})

Word = TypeVar("Word", bound=enum.StrEnum)


def load_design(folder: Path, known_walls: frozenset[str]) -> Design:
    """The device in ``folder/device.toml``, or in ``folder`` itself if that is a file.

    ``known_walls`` holds the names that ``walls`` may list, and what ``walls = "all"`` means. Raises
    ``DesignError`` and nothing else.
    """
    path = _file_of(folder)
    source = _read_bounded(path)
    root = _Table(path.name, "the top level", _parse(source, path.name))
    try:
        return _read_design(root, path, source, known_walls)
    except OSError as error:
        raise DesignError(
            f"{path.name}: {_text(str(error))}: check that every path in the file can be read"
        ) from None


def load_schemas(design: Design) -> ModuleType:
    """The module with the message types of ``design``: one of Bulkhead's own, or a file of the folder.

    A file is compiled and run under a module name of its own, so two designs never share one; the design read
    last also owns the name ``design_schemas``, under which a world beside the file imports it. Raises
    ``DesignError`` when it cannot be read or run, or lacks a type that a port names.
    """
    where = f"device.toml: [device] schemas = {_shown(design.schemas)}"
    try:
        module = (
            _import_own(design) if design.schemas.endswith(".py") else importlib.import_module(design.schemas)
        )
    except (Exception, SystemExit) as error:  # whatever the author's code raises is the author's to mend
        kind, said = type(error).__name__, _text(str(error), 160)
        raise DesignError(f"{where}: running it raised {kind} ({said}); mend that file") from None
    for port in design.ports:
        _check_message_type(
            getattr(module, port.message, None), f"{where}, port {port.full_name}", port.message
        )
    return module


def _import_own(design: Design) -> ModuleType:
    path = design.folder / design.schemas
    name = f"bulkhead_design_{design.name}_{design.digest[:16]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # msgspec resolves annotations through it
    try:
        exec(compile(_read_bounded(path), str(path), "exec"), module.__dict__)  # noqa: S102  trusted like the monitor
    except BaseException:
        del sys.modules[name]
        raise
    sys.modules[DESIGN_SCHEMAS] = module
    return module


def _check_message_type(found: Any, where: str, message: str) -> None:
    if found is None:
        raise DesignError(
            f"{where}: there is no message type {_shown(message)}; define it, or correct the name"
        )
    if not isinstance(found, type) or not issubclass(found, msgspec.Struct):
        raise DesignError(
            f"{where}: {_shown(message)} is not a msgspec.Struct; write class {message}(msgspec.Struct)"
        )
    try:
        msgspec.msgpack.Decoder(found)
    except Exception as error:
        said = _text(f"{type(error).__name__}: {error}", 160)
        raise DesignError(
            f"{where}: msgspec cannot read {_shown(message)} ({said}); mend its fields"
        ) from None


# --- the file ---


def _file_of(folder: Path) -> Path:
    shown = _text(str(folder), 120)
    try:
        if folder.is_dir():
            folder = folder / "device.toml"
            if folder.exists() and not folder.is_file():
                raise DesignError(f"device.toml: in {shown} it is not a regular file; write one there")
            if not folder.exists():
                raise DesignError(f"device.toml: there is none in {shown}; write one, or name another folder")
        elif not folder.exists():
            raise DesignError(f"device.toml: there is no folder {shown}; name the folder that holds it")
        elif not folder.is_file():
            raise DesignError(f"device.toml: {shown} is not a regular file; name the folder that holds it")
        return folder.resolve()
    except (OSError, ValueError) as error:
        raise DesignError(
            f"device.toml: {shown}: {_text(str(error))}; name the folder that holds it"
        ) from None


def _read_bounded(path: Path) -> bytes:
    name = _text(path.name)
    try:
        with path.open("rb") as file:
            source = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise DesignError(
            f"{name}: cannot be read ({_text(str(error.strerror))}); check its permissions"
        ) from None
    if len(source) > FILE_BYTES_MAX:
        raise DesignError(f"{name}: holds more than {FILE_BYTES_MAX} bytes; a design is smaller: shorten it")
    return source


def _parse(source: bytes, name: str) -> dict[str, Any]:
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DesignError(f"{name}: byte {error.start} is not UTF-8 text; save the file as UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LINE_CHARS_MAX:
            raise DesignError(
                f"{name}: line {number} has {len(line)} characters; keep to {LINE_CHARS_MAX} a line"
            )
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise DesignError(f"{name}: its values are nested too deeply; a design needs three levels") from None
    except ValueError as error:  # TOMLDecodeError, and the interpreter's limit on digits
        raise DesignError(f"{name}: is not valid TOML ({_text(str(error), 120)}); correct it there") from None


# --- what an error shows ---


def _text(text: str, chars_max: int = 60) -> str:
    """``text`` on one line, in printable ASCII, shortened."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[: chars_max + 1])
    return plain if len(text) <= chars_max else plain[: chars_max - 3] + "..."


def _shown(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 200:  # str() of a large one raises, or takes seconds
            return f"a whole number of {value.bit_length()} bits"
        case int() | float():
            return str(value)
        case str():
            return f'"{_text(value)}"'
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"a table of {len(value)}"
    return f"a {type(value).__name__}"


def _nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean "x"?`` or nothing."""
    close = difflib.get_close_matches(name[:64], sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


class _Table:
    """One table of the file, read key by key. ``close`` refuses whatever key nobody asked for."""

    def __init__(self, file: str, where: str, values: Mapping[str, Any]) -> None:
        self.file = file
        self.where = where
        self._values = values
        self._asked: set[str] = set()

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Raises ``DesignError`` about the value of ``key``."""
        value = f" = {_shown(self._values[key])}" if key in self._values else ""
        raise DesignError(f"{self.file}: {self.where} {_text(key)}{value}: {problem}")

    def value(self, key: str, expected: str, example: str) -> Any:
        """Whatever stands at ``key``; a missing one is refused."""
        self._asked.add(key)
        if key not in self._values:
            raise DesignError(
                f"{self.file}: {self.where} {_text(key)} is missing: it must be {expected}; "
                f"write for example {example}"
            )
        return self._values[key]

    def whole(self, key: str, low: int, high: int, example: int, *, default: int | None = None) -> int:
        """A whole number from ``low`` to ``high``."""
        expected, example_text = f"a whole number from {low} to {high}", f"{key} = {example}"
        if default is not None and key not in self._values:
            self._asked.add(key)
            return default
        value = self.value(key, expected, example_text)
        if type(value) is not int or not low <= value <= high:
            self.refuse(key, f"must be {expected}; write for example {example_text}")
        return value

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """``true`` or ``false``."""
        if default is not None and key not in self._values:
            self._asked.add(key)
            return default
        value = self.value(key, "true or false", f"{key} = false")
        if type(value) is not bool:
            self.refuse(key, f"must be true or false; write for example {key} = false")
        return value

    def text(self, key: str, pattern: re.Pattern[str], expected: str, example: str) -> str:
        """A text of the given form."""
        value = self.value(key, expected, f'{key} = "{example}"')
        if type(value) is not str or pattern.match(value) is None:
            self.refuse(key, f'must be {expected}; write for example {key} = "{example}"')
        return value

    def name(self, key: str, example: str) -> str:
        """A name as partitions, ports and labels have it."""
        return self.text(key, _NAME, "a name of a to z, 0 to 9 and _, at most 31 long", example)

    def optional_name(self, key: str, example: str) -> str | None:
        """As ``name``, or ``None`` when the key is absent."""
        self._asked.add(key)
        return self.name(key, example) if key in self._values else None

    def choice(self, key: str, kind: type[Word], example: str, *, default: Word | None = None) -> Word:
        """One of the words of ``kind``."""
        words = ", ".join(member.value for member in kind)
        if default is not None and key not in self._values:
            self._asked.add(key)
            return default
        value = self.value(key, f"one of {words}", f'{key} = "{example}"')
        if type(value) is not str or value not in {member.value for member in kind}:
            nearest = _nearest(value, [member.value for member in kind]) if type(value) is str else ""
            self.refuse(key, f'must be one of {words}; write for example {key} = "{example}"{nearest}')
        return kind(value)

    def names(
        self,
        key: str,
        pattern: re.Pattern[str],
        expected: str,
        *,
        among: frozenset[str] | None = None,
        kind: str = "",
    ) -> tuple[str, ...]:
        """A list of distinct texts, empty when absent. ``among`` are those allowed, ``kind`` their kind."""
        self._asked.add(key)
        value = self._values.get(key, [])
        if type(value) is not list or len(value) > NAMES_PER_LIST_MAX:
            self.refuse(
                key,
                f"must be a list of at most {NAMES_PER_LIST_MAX} {expected}; write for example {key} = []",
            )
        for item in value:
            if type(item) is not str or pattern.match(item) is None:
                self.refuse(
                    key,
                    f"holds {_shown(item)}, but every entry must be one of {expected}; correct that entry",
                )
            if among is not None and item not in among:
                listed = ", ".join(sorted(among)) or "none"
                nearest = _nearest(item, among)
                self.refuse(
                    key, f'holds "{item}", which is no {kind}; those are: {_text(listed, 400)}{nearest}'
                )
        repeated = [item for item, count in Counter(value).items() if count > 1]
        if repeated:
            self.refuse(key, f'holds "{repeated[0]}" more than once; write it once')
        return tuple(value)

    def table(self, key: str, where: str, example: str | None = None) -> _Table:
        """A table inside this one, shown as ``where``; ``example`` when it is not written as a header."""
        value = self.value(key, "a table", example or f"{where} and its keys below it")
        if type(value) is not dict:
            self.refuse(
                key, f"must be a table; write for example {example or f'{where} and its keys below it'}"
            )
        return _Table(self.file, where, value)

    def tables(self, key: str, count_max: int, example: str) -> list[dict[str, Any]]:
        """A list of 1 to ``count_max`` tables."""
        expected = f"a list of 1 to {count_max} tables"
        value = self.value(key, expected, example)
        if (
            type(value) is not list
            or not 1 <= len(value) <= count_max
            or any(type(v) is not dict for v in value)
        ):
            self.refuse(key, f"must be {expected}; write for example {example}")
        return value

    def all_keys(self) -> list[str]:
        """The keys in the order of the file; asking makes each of them known."""
        self._asked.update(self._values)
        return list(self._values)

    def close(self, *, not_here: Mapping[str, str] = MappingProxyType({})) -> None:
        """Refuse an unknown key. ``not_here`` explains keys that are known elsewhere."""
        for key in self._values:
            if key in self._asked:
                continue
            if key in not_here:
                self.refuse(key, f"{not_here[key]}; remove it")
            known = ", ".join(sorted(self._asked))
            self.refuse(key, f"is not a key of this table; its keys are {known}{_nearest(key, self._asked)}")


# --- the tables ---


def _read_design(root: _Table, path: Path, source: bytes, known_walls: frozenset[str]) -> Design:
    device = root.table("device", "[device]")
    name = device.name("name", "insulin_pump")
    frame_ms = device.whole("frame_ms", 1, DAY_MS, 300_000)
    schemas = device.text("schemas", _SCHEMAS, "ipc_schemas.<module> or a file in this folder", "schemas.py")
    labels = frozenset(device.names("labels", _NAME, "names of a to z, 0 to 9 and _"))
    schemas_source = _read_schemas_source(device, path.parent, schemas)
    device.close()
    world = _read_world(root.table("world", "[world]"), path.parent, labels)
    partitions = _read_partitions(root, path.parent, labels, known_walls)
    ports, channels = _read_channels(root, frozenset(p.name for p in partitions), labels)
    windows = _read_schedule(root, [p.name for p in partitions])
    root.close()
    return Design(
        name=name,
        folder=path.parent,
        frame_ms=frame_ms,
        schemas=schemas,
        world=world,
        partitions=partitions,
        ports=ports,
        channels=channels,
        windows=windows,
        digest=hashlib.sha256(source + schemas_source).hexdigest(),
        labels=labels,
    )


def _read_schemas_source(device: _Table, folder: Path, schemas: str) -> bytes:
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
    return _read_bounded(path)


def _read_world(table: _Table, folder: Path, labels: frozenset[str]) -> WorldSide:
    entry = table.text(
        "entry",
        _WORLD_ENTRY,
        '"module:Class", or "file.py:Class" for a file in this folder',
        "world.py:MyWorld",
    )
    file = entry.partition(":")[0]
    if file.endswith(".py") and not (folder / file).is_file():
        table.refuse(
            "entry", f"there is no file {_text(file)} in the design's folder; write it, or correct the name"
        )
    budget_ms = table.whole("budget_ms", 1, DAY_MS, 5_000)
    cleared_for = _labels(table, "cleared_for", labels)
    table.close()
    return WorldSide(entry=entry, folder=folder, budget_ms=budget_ms, cleared_for=cleared_for)


def _labels(table: _Table, key: str, labels: frozenset[str]) -> frozenset[str]:
    return frozenset(table.names(key, _NAME, "label names", among=labels, kind="label of [device] labels"))


def _read_partitions(
    root: _Table, folder: Path, labels: frozenset[str], known_walls: frozenset[str]
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
        if _NAME.match(name) is None or name in _RESERVED:
            section.refuse(
                name, "a partition's name has a to z, 0 to 9 and _, at most 31, and is not world or monitor"
            )
        found.append(
            _read_partition(
                section.table(name, f"[partition.{name}]"), number, name, folder, labels, known_walls
            )
        )
    return tuple(found)


def _read_partition(
    table: _Table, number: int, name: str, folder: Path, labels: frozenset[str], known_walls: frozenset[str]
) -> Partition:
    image = _read_image(table, folder)
    partition = Partition(
        number=number,
        name=name,
        safety_class=table.choice("safety_class", SafetyClass, "A"),
        is_critical=table.flag("critical"),
        is_networked=table.flag("networked"),
        image=image,
        entry=_read_entry(table, image),
        packages=table.names("packages", _PACKAGE, "package names"),
        config=table.optional_name("config", "prescription"),
        limits=_read_limits(table.table("limits", f"[partition.{name}.limits]")),
        walls=_read_walls(table, known_walls),
        cleared_for=_labels(table, "cleared_for", labels),
        restart=_read_restart(table.table("restart", f"[partition.{name}.restart]")),
        health=_read_health(table.table("health", f"[partition.{name}.health]")),
    )
    table.close()
    return partition


def _read_image(table: _Table, folder: Path) -> Path:
    text = table.text("image", _PATH, "the path of a folder, from this file", "images/therapy")
    image = (folder / text).resolve()
    if not image.is_dir():
        table.refuse(
            "image", f"there is no folder {_text(str(image), 120)}; paths start at this file's folder"
        )
    return image


def _read_entry(table: _Table, image: Path) -> str:
    entry = table.text("entry", _ENTRY, '"module:Class" inside the image', "main:Therapy")
    module = Path(*entry.partition(":")[0].split("."))
    if not (image / module).with_suffix(".py").is_file() and not (image / module / "__init__.py").is_file():
        table.refuse("entry", f"the image has no {_text(str(module))}.py; write it, or correct the name")
    return entry


def _read_walls(table: _Table, known_walls: frozenset[str]) -> frozenset[str]:
    if table.value("walls", 'a list of walls or "all"', 'walls = "all"') == "all":
        return known_walls
    return frozenset(
        table.names("walls", _NAME, 'wall names (or write walls = "all")', among=known_walls, kind="wall")
    )


def _read_limits(table: _Table) -> Limits:
    limits = Limits(
        memory_bytes_max=table.whole("memory_mb", 16, 4_096, 256) * 1_048_576,
        processes_max=table.whole("processes", 1, 256, 1),
        files_max=table.whole("files", 8, 4_096, 32),
        scratch_bytes_max=table.whole("scratch_kb", 0, 1_048_576, 0) * 1_024,
        cpu_ms_per_frame_max=table.whole("cpu_ms_per_frame", 1, DAY_MS, 500),
        log_bytes_per_frame_max=table.whole("log_bytes_per_frame", 0, 1_048_576, 4_096),
    )
    table.close()
    return limits


def _read_restart(table: _Table) -> RestartBudget:
    budget = RestartBudget(
        restarts_max=table.whole("restarts", 0, 1_000, 3),
        within_frames=table.whole("within_frames", 1, FRAMES_MAX, 12),
    )
    table.close()
    return budget


def _read_health(table: _Table) -> dict[Event, Action]:
    rows: dict[Event, Action] = {}
    events = [event.value for event in Event]
    for key in table.all_keys():
        if key not in events:
            table.refuse(key, f"is not an event; the events are {', '.join(events)}{_nearest(key, events)}")
        rows[Event(key)] = table.choice(key, Action, "restart")
    return rows


# --- ports and channels ---

_SAMPLING_ONLY = {
    "freshness_frames": "belongs to a sampling channel, and this one is queuing",
    "on_stale": "belongs to a sampling channel, and this one is queuing",
}
_QUEUING_ONLY = {"depth": "belongs to a queuing channel, and this one is sampling"}


class _Ports:
    """All ports read so far, numbered in the order of the file."""

    def __init__(self, partitions: frozenset[str], labels: frozenset[str]) -> None:
        self.partitions = partitions
        self.labels = labels
        self.ports: list[Port] = []
        self.source_of: dict[str, str] = {}  # full name of each port -> full name of its channel's output

    def claim(self, table: _Table, key: str, full_name: str, source: str) -> tuple[str, str]:
        """Take ``full_name`` for one end of a channel that starts at ``source``: partition and port name."""
        shown = f'"{_text(full_name)}"'
        if _PORT.match(full_name) is None:
            table.refuse(key, f'{shown} is not a port; write partition.port, for example "therapy.cgm"')
        partition, _, name = full_name.partition(".")
        if partition != WORLD and partition not in self.partitions:
            known = sorted([*self.partitions, WORLD])
            listed = _text(", ".join(known), 400)
            table.refuse(key, f"{shown} names no partition; they are {listed}{_nearest(partition, known)}")
        if full_name != source and partition == source.partition(".")[0]:
            table.refuse(key, f"{shown} and {source} belong to one partition; a channel joins two: remove it")
        if full_name in self.source_of:
            other = self.source_of[full_name]
            if other == full_name or full_name == source:
                table.refuse(
                    key, f"{shown} is the end of another channel already; a port has one channel: rename one"
                )
            table.refuse(
                key, f"{shown} is fed by {other} already; an input has one source: declare a second port"
            )
        if len(self.ports) >= PORTS_MAX:
            table.refuse(
                key, f"{shown} would be port {PORTS_MAX + 1}; a design has at most {PORTS_MAX}: merge some"
            )
        if sum(port.partition == partition for port in self.ports) >= PORTS_PER_PARTITION_MAX:
            table.refuse(
                key,
                f"{shown} is a port too many; a partition has {PORTS_PER_PARTITION_MAX} at most: merge some",
            )
        self.source_of[full_name] = source
        return partition, name


def _read_channels(
    root: _Table, partitions: frozenset[str], labels: frozenset[str]
) -> tuple[tuple[Port, ...], tuple[Channel, ...]]:
    ports = _Ports(partitions, labels)
    channels = []
    tables = root.tables("channel", PORTS_MAX, '[[channel]] with from = "therapy.alarm"')
    for number, values in enumerate(tables, start=1):
        channels.append(_read_channel(_Table(root.file, f"[[channel]] number {number}", values), ports))
    return tuple(ports.ports), tuple(channels)


def _read_channel(table: _Table, ports: _Ports) -> Channel:
    source = table.text("from", _PORT, "an output port, as partition.port", "therapy.alarm")
    partition, name = ports.claim(table, "from", source, source)
    output = Port(
        number=len(ports.ports) + 1,
        partition=partition,
        name=name,
        is_output=True,
        message=table.text("message", _MESSAGE, "the name of a message type", "CgmReading"),
        kind=table.choice("kind", PortKind, "sampling"),
        bytes_max=table.whole("bytes", 1, FILE_BYTES_MAX, 64),
        messages_per_frame_max=table.whole("messages_per_frame", 1, 4_096, 1),
        rejections_per_frame_max=table.whole("rejections_per_frame", 0, 4_096, 4, default=0),
        labels=_labels(table, "labels", ports.labels),
        declassifies=_labels(table, "declassifies", ports.labels),
    )
    _check_batch(table, "messages_per_frame", output, output.messages_per_frame_max)
    ports.ports.append(output)
    to = table.table("to", f"{table.where} to", 'to = { "therapy.cgm" = { freshness_frames = 3 } }')
    sinks = to.all_keys()
    for full_name in sinks:
        ports.claim(to, full_name, full_name, source)
        sink = to.table(full_name, f'{table.where} to."{full_name}"', f'"{full_name}" = {{}}')
        ports.ports.append(_read_sink(sink, full_name, output, len(ports.ports) + 1))
    table.close()
    return Channel(source=source, sinks=tuple(sinks))


def _read_sink(table: _Table, full_name: str, output: Port, number: int) -> Port:
    partition, _, name = full_name.partition(".")
    is_sampling = output.kind is PortKind.SAMPLING
    sink = Port(
        number=number,
        partition=partition,
        name=name,
        is_output=False,
        message=output.message,
        kind=output.kind,
        bytes_max=output.bytes_max,
        messages_per_frame_max=output.messages_per_frame_max,
        rejections_per_frame_max=output.rejections_per_frame_max,
        freshness_frames=table.whole("freshness_frames", 0, FRAMES_MAX, 3, default=0) if is_sampling else 0,
        depth=1 if is_sampling else table.whole("depth", 1, 65_536, 4, default=1),
        on_stale=table.choice("on_stale", OnStale, "run", default=OnStale.RUN)
        if is_sampling
        else OnStale.RUN,
        labels=output.labels,
        from_networked=table.flag("from_networked", default=False),
    )
    _check_batch(table, "depth", sink, sink.depth)
    table.close(not_here=_QUEUING_ONLY if is_sampling else _SAMPLING_ONLY)
    return sink


def _check_batch(table: _Table, key: str, port: Port, messages: int) -> None:
    """What one window may carry over one port has to fit the monitor's own link."""
    most = BATCH_BYTES_MAX // port.bytes_max
    if messages > most:
        table.refuse(
            key, f"at {port.bytes_max} bytes each that passes {BATCH_BYTES_MAX} bytes; write {most} or less"
        )


# --- the schedule ---


def _read_schedule(root: _Table, partitions: list[str]) -> tuple[Window, ...]:
    schedule = root.table("schedule", "[schedule]")
    example = 'windows = [{ partition = "therapy", offset_ms = 0, budget_ms = 1_000 }]'
    windows: list[Window] = []
    for number, values in enumerate(schedule.tables("windows", PARTITIONS_MAX, example), start=1):
        table = _Table(root.file, f"[schedule] windows number {number}", values)
        name = table.name("partition", "therapy")
        if name not in partitions:
            known = _text(", ".join(partitions), 400)
            table.refuse(
                "partition", f"there is no such partition; they are {known}{_nearest(name, partitions)}"
            )
        if any(window.partition == name for window in windows):
            table.refuse(
                "partition", "has a window already; a partition has one window a frame: remove this one"
            )
        offset_ms = table.whole("offset_ms", 0, DAY_MS, 0)
        windows.append(
            Window(name, offset_ms=offset_ms, budget_ms=table.whole("budget_ms", 1, DAY_MS, 1_000))
        )
        table.close()
    schedule.close()
    return tuple(windows)
