"""Shapes on the monitor's own links: to the launcher, to gates, and to whoever switched the device on."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ipc_schemas import wire

_Meta = msgspec.Meta
Count = Annotated[int, _Meta(ge=0, le=0xFFFF_FFFF)]
Size = Annotated[int, _Meta(ge=0, le=1 << 40)]
Name = Annotated[str, _Meta(max_length=64)]
Path = Annotated[str, _Meta(max_length=4096)]
Text = Annotated[str, _Meta(max_length=4096)]
Blob = Annotated[bytes, _Meta(max_length=1 << 24)]
Names = Annotated[tuple[Name, ...], _Meta(max_length=128)]


#: What a monitor may be started as: one device's, or one that forks a monitor for each of many runs.
MONITOR, NURSERY = "monitor", "nursery"
#: The exit status by which a stage asks the power supply to start the device again, from ROM.
EXIT_RESET = 75


#: Exit status of a confined process that ran out of memory (its own limit made Python raise MemoryError).
EXIT_MEMORY = 86
#: Exit status of one after an exception in partition code.
EXIT_CRASH = 70


class Link(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of the shapes on a link: positional, immutable, nothing unknown."""


class LaunchOrder(Link, frozen=True):
    """Monitor to launcher: start one confined process. Descriptors travel beside it: life, log, payload, link."""

    name: Name
    role: Name  # "partition" or "gate"
    walls: Names
    packages: Names
    outer_uid: Count
    staging: Path  # an empty folder on which the process builds its root
    channel: Path  # the folder of the channel's socket
    unwalled_image: Path  # where the image is written if it has no mount namespace
    cgroups: Annotated[tuple[Path, ...], _Meta(max_length=8)]
    memory_bytes_max: Size
    files_max: Count
    scratch_bytes_max: Size


class Payload(Link, frozen=True):
    """What a confined process is given in a sealed memory file.

    ``program`` is the module whose ``main`` runs (the gate, or the partitions' runner), ``entry`` the partition
    author's ``module:Class``, ``config`` the partition's configuration or the gate's contract.
    """

    image: dict[str, bytes]
    program: Name
    entry: Text
    config: Blob


class Born(Link, frozen=True, tag="born"):
    """The process exists; its pidfd comes beside this message."""

    pid: Count


class Stage(Link, frozen=True, tag="stage"):
    """The process has reached a stage: ``bound`` (a gate's socket exists) or ``sealed``."""

    name: Name


class Failed(Link, frozen=True, tag="failed"):
    """The process could not be started; the sentence says why."""

    why: Text


LifeSign = Born | Stage | Failed


class PortContract(Link, frozen=True):
    """What a gate enforces on one output port."""

    number: Count
    owner: Count
    message: Name
    bytes_max: Count
    messages_max: Count
    rejections_max: Count


def payload_bytes_max(port: PortContract) -> int:
    """The largest payload of one ZeroMQ message on ``port``: a message or, where they are allowed, a batch."""
    return (
        port.bytes_max if port.messages_max <= wire.SINGLES_MAX else max(port.bytes_max, wire.BATCH_BYTES_MAX)
    )


class GateContract(Link, frozen=True):
    """All that a gate is told. ``fatal`` names the events that end the partition, so a gate stops at the first."""

    partition: Count
    epoch: Count
    walls: Names
    schemas: Text  # module name inside the gate's image
    ports: Annotated[tuple[PortContract, ...], _Meta(max_length=512)]
    fatal: Names
    hello: Blob
    budget_ms: Count
    endpoint_bytes_max: Count


class Open(Link, frozen=True):
    """Monitor to gate: open the window of a frame.

    ``opened`` is the encoded ``wire.WindowOpen``, or a piece of it when it is larger than ``PIECE_BYTES_MAX``; the
    last piece ``is_last``.
    """

    frame: Count
    opened: Blob
    is_last: bool


class Batch(Link, frozen=True):
    """Messages that a gate admitted on one port in one window: a canonical array of ``count`` messages."""

    port: Count
    count: Count
    messages: Blob


#: What a gate keeps of what it refuses: of each row the first few messages, and so many bytes in a window.
EXHIBITS_PER_ROW_MAX = 8
EXHIBIT_BYTES_PER_WINDOW_MAX = 16 << 10


class Exhibit(Link, frozen=True):
    """One refused message as it came, header included: hostile bytes, kept and never acted upon.

    ``place`` is how many messages the gate had admitted on the row's port in that window before it.
    """

    place: Count
    message: Annotated[bytes, _Meta(max_length=EXHIBIT_BYTES_PER_WINDOW_MAX)]


def exhibit_bytes(message: bytes) -> int:
    """What keeping ``message`` counts for; an empty one is not free."""
    return wire.HEADER_BYTES + len(message)


class Refusal(Link, frozen=True):
    """Messages that a gate refused, alike in port, event and reason; ``detail`` is the first one's.

    ``exhibits`` are those of them that it kept, in order.
    """

    port: Count
    event: Name
    reason: Name
    detail: Text
    count: Count
    exhibits: Annotated[tuple[Exhibit, ...], _Meta(max_length=EXHIBITS_PER_ROW_MAX)] = ()


class GateReport(Link, frozen=True):
    """Gate to monitor, once or more per window; the one with ``is_last`` closes it.

    ``ended_by`` names the event that ended the window; it is empty when the partition closed it.
    """

    frame: Count
    batches: Annotated[tuple[Batch, ...], _Meta(max_length=512)]
    refusals: Annotated[tuple[Refusal, ...], _Meta(max_length=512)]
    is_last: bool
    ended_by: Name


#: The frame of a gate's first report, which says that its partition is ready for its first window.
READY_FRAME = 0xFFFF_FFFF
#: How long a partition may take from "go" to its first window: its imports and its constructor. On the virtual
#: clock all others wait for it, in each of its lives.
START_BUDGET_MS = 3_000
#: The largest piece of a window's inputs in one message to a gate.
PIECE_BYTES_MAX = 96 << 10
#: The largest report a gate sends in one piece; a larger window goes in several.
REPORT_BYTES_MAX = 96 << 10


class PowerOn(Link, frozen=True):
    """Console to monitor: switch on the device whose release lies in slot ``slot`` of ``flash``.

    Both are empty when it is the one that was booted from.

    ``configs`` has the configurations of partitions, by partition. ``clock`` is ``virtual``, ``real`` or a factor such
    as ``60x``. ``without`` names the walls to leave out. ``accept_degraded`` lets the device run although this host
    lacks a wall that the design requires. ``restored`` are walls that a partition lacks by its design and that are put
    up for it all the same, each as ``partition.wall``. ``priority`` is ``rt`` where what is critical shall have
    real-time priority and processors of its own, as far as the host grants it. ``nonce`` is a verifier's challenge,
    empty when nobody asks. ``successor`` is the register of a release that may open the settings that this one seals,
    empty for none.
    """

    flash: Path
    slot: Name
    run_folder: Path
    frames: Count
    clock: Name
    without: Names
    configs: dict[str, bytes]
    accept_degraded: bool
    restored: Names = ()
    priority: Name = ""
    nonce: Annotated[bytes, _Meta(max_length=64)] = b""
    successor: Annotated[bytes, _Meta(max_length=32)] = b""


class Note(Link, frozen=True):
    """Monitor to console: something happened. ``facts`` are numbers and words of the host, never hashed."""

    frame: Count
    kind: Name
    partition: Name
    text: Text
    facts: dict[str, str | int | float | bool | list[str] | None]
