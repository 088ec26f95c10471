"""A device design as frozen values. ``monitor.loader`` reads them from ``device.toml``.

Nothing in here acts. Every number is bounded by the loader; names are unique; ``Design`` holds partitions,
ports and channels in the order of the file, which is the order in which the monitor delivers.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

#: The name under which ports of the world (sensor, pump hardware, network) are declared.
WORLD = "world"


class SafetyClass(enum.StrEnum):
    """IEC 62304 section 4.3: A no injury, B non-serious injury, C death or serious injury is possible."""

    A = "A"
    B = "B"
    C = "C"


class Event(enum.StrEnum):
    """Everything the monitor can detect about a partition. Each has a detector and a row."""

    BAD_MESSAGE = "bad_message"  # a message refused: size, schema, range, canonical form, direction
    BAD_SEQUENCE = "bad_sequence"  # replayed, reordered, gapped, stale epoch or stale frame
    SPOOFED_SENDER = "spoofed_sender"  # the header claims another source
    RATE_EXCEEDED = "rate_exceeded"  # more messages or bytes than the port's contract
    REJECTIONS_EXCEEDED = "rejections_exceeded"  # more refused messages in a frame than the port allows
    WINDOW_OVERRUN = "window_overrun"  # the window did not close within its wall-clock budget
    PARTITION_EXIT = "partition_exit"  # the process ended by itself, any status
    FORBIDDEN_SYSCALL = "forbidden_syscall"  # seccomp killed it (SIGSYS)
    MEMORY_EXCEEDED = "memory_exceeded"  # over its memory limit (cgroup or MemoryError exit)
    CPU_EXCEEDED = "cpu_exceeded"  # partition and gate used more CPU time in a frame than budgeted
    GATE_DIED = "gate_died"  # the gate process ended
    GATE_LIED = "gate_lied"  # what the gate handed over fails the monitor's own check
    LOG_FLOOD = "log_flood"  # more standard error than its bound per frame
    STALE_INPUT = "stale_input"  # a sampling input with a freshness limit is older than that


class Action(enum.StrEnum):
    """What the monitor does about an event, mildest first. ``RESTART`` escalates to ``QUARANTINE``."""

    NOTE = "note"  # journal it
    DROP = "drop"  # journal it and discard the message (or the window's remaining output)
    RESTART = "restart"  # kill, confirm, start again from the verified image with a new channel epoch
    QUARANTINE = "quarantine"  # kill, confirm, never start again in this run
    SAFE_STATE = "safe_state"  # kill all partitions; the hardware's watchdog takes over


class PortKind(enum.StrEnum):
    """ARINC 653 part 1: sampling keeps the latest message, queuing a bounded FIFO."""

    SAMPLING = "sampling"
    QUEUING = "queuing"


class OnStale(enum.StrEnum):
    """Whether a window opens although a sampling input is stale."""

    RUN = "run"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Port:
    """One typed, one-way end of a channel. Limits hold per frame; rejections are refused messages."""

    number: int
    partition: str
    name: str
    is_output: bool
    message: str
    kind: PortKind
    bytes_max: int
    messages_per_frame_max: int
    rejections_per_frame_max: int = 0
    freshness_frames: int = 0  # sampling inputs; 0 means no limit
    depth: int = 1  # queuing inputs
    on_stale: OnStale = OnStale.RUN
    labels: frozenset[str] = frozenset()
    from_networked: bool = False  # class C inputs: the author declares that networked data may arrive here
    declassifies: frozenset[str] = frozenset()  # outputs: labels that the sender promises not to pass on

    @property
    def full_name(self) -> str:
        """``partition.port``."""
        return f"{self.partition}.{self.name}"


@dataclass(frozen=True, slots=True)
class Channel:
    """One output port joined to its input ports, by full name."""

    source: str
    sinks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a partition may use. The kernel enforces each, ``log_bytes_per_frame_max`` the monitor."""

    memory_bytes_max: int
    processes_max: int
    files_max: int
    scratch_bytes_max: int
    cpu_ms_per_frame_max: int
    log_bytes_per_frame_max: int


@dataclass(frozen=True, slots=True)
class RestartBudget:
    """At most ``restarts_max`` restarts within any ``within_frames`` frames; one more event quarantines."""

    restarts_max: int
    within_frames: int


@dataclass(frozen=True, slots=True)
class Partition:
    """One isolated process. ``number`` counts from 1 in the order of the file."""

    number: int
    name: str
    safety_class: SafetyClass
    is_critical: bool
    is_networked: bool
    image: Path
    entry: str  # "module:Class" inside the image
    packages: tuple[str, ...]
    config: str | None  # the name of a configuration that the world provides
    limits: Limits
    walls: frozenset[str]  # walls that must hold, or the device does not boot
    cleared_for: frozenset[str]
    restart: RestartBudget
    health: dict[Event, Action] = field(hash=False)
    lacks: frozenset[str] = frozenset()  # walls that its author leaves out for it alone: labelled degraded


@dataclass(frozen=True, slots=True)
class Window:
    """A partition's slice of the major frame. ``budget_ms`` is wall-clock time on every clock."""

    partition: str
    offset_ms: int
    budget_ms: int


@dataclass(frozen=True, slots=True)
class WorldSide:
    """The harness on the other end of the device's hardware ports.

    ``entry`` is ``"module:Class"`` (a dotted module of ours) or ``"file.py:Class"`` (a file in ``folder``).
    """

    entry: str
    folder: Path
    budget_ms: int
    cleared_for: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Design:
    """One device. ``digest`` is the SHA-256 of device.toml and the schemas' source, in hex."""

    name: str
    folder: Path
    frame_ms: int
    schemas: str  # dotted module, or a file name inside the folder
    world: WorldSide
    partitions: tuple[Partition, ...]
    ports: tuple[Port, ...]
    channels: tuple[Channel, ...]
    windows: tuple[Window, ...]
    digest: str
    labels: frozenset[str] = frozenset()
    accepts: frozenset[str] = frozenset()  # names of rules that its author knows it breaks
    schemas_source: bytes = field(default=b"", repr=False)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The walls that partitions lack by their author's word, each as ``partition.wall``, in order."""
        return tuple(f"{p.name}.{wall}" for p in self.partitions for wall in sorted(p.lacks))

    @property
    def admitted(self) -> tuple[str, ...]:
        """What its author says it lacks or breaks, in words; with any of it, whatever it runs in is degraded."""
        lacks = [f"without {', '.join(sorted(p.lacks))} around {p.name}" for p in self.partitions if p.lacks]
        return (*lacks, *(f"breaks {name}" for name in sorted(self.accepts)))

    @property
    def label(self) -> str:
        """``DEGRADED: without seccomp around transfer``, or nothing: for every output about it."""
        return f"DEGRADED: {'; '.join(self.admitted)}" if self.admitted else ""

    def with_walls(self, restored: Iterable[str]) -> Design:
        """The same device with some of what it is ``lacking`` put up after all. Raises ``DesignError``."""
        wanted = frozenset(restored)
        unknown = sorted(wanted - frozenset(self.lacking))
        if unknown:
            said = f"it lacks {', '.join(self.lacking)}" if self.lacking else "it lacks none, so name none"
            raise DesignError(f"{self.name} does not lack {unknown[0]}; {said}")
        partitions = []
        for partition in self.partitions:
            back = frozenset(wall for wall in partition.lacks if f"{partition.name}.{wall}" in wanted)
            partitions.append(replace(partition, lacks=partition.lacks - back, walls=partition.walls | back))
        return replace(self, partitions=tuple(partitions))

    def partition(self, name: str) -> Partition:
        """Raises ``KeyError``."""
        return _first((p for p in self.partitions if p.name == name), name)

    def port(self, full_name: str) -> Port:
        """Raises ``KeyError``."""
        return _first((p for p in self.ports if p.full_name == full_name), full_name)

    def ports_of(self, partition: str) -> tuple[Port, ...]:
        """In the order of the file."""
        return tuple(p for p in self.ports if p.partition == partition)

    def window_of(self, partition: str) -> Window:
        """Raises ``KeyError``."""
        return _first((w for w in self.windows if w.partition == partition), partition)


Item = TypeVar("Item")


def _first(found: Iterator[Item], key: str) -> Item:
    for item in found:
        return item
    raise KeyError(key)


class DesignError(Exception):
    """A design that cannot be read. The message names file, table, key, value and remedy in one sentence."""
