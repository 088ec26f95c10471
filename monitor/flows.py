"""Rules about who can reach whom: what may flow into a class C partition, and where a label may go.

``View`` holds the look-ups that all rules share; each rule is a function from a view to the flaws it finds.
``monitor.rules`` lists them. Data may flow from any input of a partition to any of its outputs: nothing is
assumed about code. The world is not followed as a way from one of its inputs to one of its outputs: it is
outside the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import msgspec

from ipc_schemas.bounds import unbounded_fields
from monitor.channels import BATCH_BYTES_MAX
from monitor.design import WORLD, Action, Channel, Design, Event, OnStale, Port, SafetyClass
from monitor.encoded_size import encoded_bytes_max
from monitor.toml_table import FILE_BYTES_MAX

#: The label of a message that makes hardware act on a patient.
THERAPY_COMMAND = "therapy_command"

#: What "narrow" means for a class C input that networked data can reach, per frame.
NARROW_MESSAGES_MAX = 16
NARROW_BYTES_MAX = 4_096
NARROW_REJECTIONS_MAX = 64

#: The walls around a sender's messages. Whoever writes to a class C partition must require them.
POLICING_WALLS = frozenset(
    (
        "gate",
        "peer",
        "size",
        "route",
        "stamp",
        "sequence",
        "rate",
        "schema",
        "range",
        "canonical",
        "recheck",
        "escape",
        "window",
    )
)
#: The walls that a class C partition must require: all that an unprivileged user can raise.
CLASS_C_WALLS = POLICING_WALLS.union(
    ("budget",),
    ("userns", "pidns", "mntns", "netns", "ipcns", "utsns", "cgroupns", "procfs", "caps", "nnp", "seccomp"),
    ("landlock", "rlimits", "fds", "session", "lifeline", "dumpable"),
)

#: Actions after which a partition that is gone comes back, or stays away on purpose.
REMEDIES = (Action.RESTART, Action.QUARANTINE, Action.SAFE_STATE)

PortPath = tuple[str, ...]


class Flaw(NamedTuple):
    """What one rule found: ``path`` lists full port names from source to sink, or is empty."""

    where: str
    message: str
    path: PortPath
    remedy: str


class View:
    """A design and its message types, with the look-ups that several rules share."""

    def __init__(self, design: Design, schemas: ModuleType) -> None:
        self.design = design
        self.schemas = schemas
        self.ports = {port.full_name: port for port in design.ports}
        self.partitions = {partition.name: partition for partition in design.partitions}

    def message_types(self) -> Iterator[tuple[Port, type[msgspec.Struct]]]:
        """Each output port with its message type, in the order of the file."""
        for port in self.design.ports:
            if port.is_output:
                yield port, getattr(self.schemas, port.message)

    def joins(self) -> Iterator[tuple[Channel, Port, Port]]:
        """Each pair of an output and an input that a channel joins, in the order of the file."""
        for channel in self.design.channels:
            for sink in channel.sinks:
                yield channel, self.ports[channel.source], self.ports[sink]

    def is_class_c(self, partition: str) -> bool:
        """Whether it is a partition of class C; the world is not."""
        return partition != WORLD and self.partitions[partition].safety_class is SafetyClass.C

    def cleared_for(self, partition: str) -> frozenset[str]:
        """The labels that ``partition``, or the world, may hold."""
        if partition == WORLD:
            return self.design.world.cleared_for
        return self.partitions[partition].cleared_for

    def paths_from(self, start: str) -> dict[str, PortPath]:
        """For each input port that data of partition ``start`` can reach, a shortest path to it.

        A class C partition ends a path: it is built to check what it is sent. The world ends one too.
        """
        found: dict[str, PortPath] = {}
        reached, todo = {start}, [(start, PortPath())]
        while todo:
            partition, so_far = todo.pop(0)
            for _, source, sink in self.joins():
                if source.partition != partition or sink.full_name in found:
                    continue
                found[sink.full_name] = (*so_far, source.full_name, sink.full_name)
                onward = sink.partition != WORLD and not self.is_class_c(sink.partition)
                if onward and sink.partition not in reached:
                    reached.add(sink.partition)
                    todo.append((sink.partition, found[sink.full_name]))
        return found


# --- what reaches a class C partition ---


def networked_reaches_class_c(view: View) -> Iterator[Flaw]:
    reported: set[str] = set()
    for partition in view.design.partitions:
        if not partition.is_networked or partition.safety_class is SafetyClass.C:
            continue
        for full_name, path in view.paths_from(partition.name).items():
            sink = view.ports[full_name]
            if not view.is_class_c(sink.partition) or full_name in reported:
                continue
            problems = list(_why_not_narrow(view, sink, path))
            if problems:
                reported.add(full_name)
                why = "; ".join(problem for problem, _ in problems)
                yield Flaw(
                    full_name,
                    f"networked {partition.name} reaches class C {sink.partition}: {why}",
                    path,
                    f"remove the path, or {', and '.join(remedy for _, remedy in problems)}",
                )


def _why_not_narrow(view: View, sink: Port, path: PortPath) -> Iterator[tuple[str, str]]:
    """Each problem with its remedy."""
    if not sink.from_networked:
        yield "the port does not declare from_networked = true", f"declare it in `to` at {sink.full_name}"
    if unbounded_fields(getattr(view.schemas, sink.message)):
        yield f"{sink.message} is not bounded", f"bound {sink.message} as every-field-bounded says"
    messages, rejections = sink.messages_per_frame_max, sink.rejections_per_frame_max
    size = messages * sink.bytes_max
    if messages > NARROW_MESSAGES_MAX:
        yield (
            f"{messages} messages per frame are more than {NARROW_MESSAGES_MAX}",
            f"write messages_per_frame = {NARROW_MESSAGES_MAX} or less",
        )
    if size > NARROW_BYTES_MAX:
        yield f"{size} bytes per frame are more than {NARROW_BYTES_MAX}", _fewer_bytes(view, sink)
    if rejections > NARROW_REJECTIONS_MAX:
        yield (
            f"{rejections} rejections per frame are more than {NARROW_REJECTIONS_MAX}",
            f"write rejections_per_frame = {NARROW_REJECTIONS_MAX} or less",
        )
    if any(THERAPY_COMMAND in view.ports[name].labels for name in path):
        yield (
            f"the path carries a message labelled {THERAPY_COMMAND}",
            f"send the {THERAPY_COMMAND} over a path of its own",
        )


def _fewer_bytes(view: View, sink: Port) -> str:
    """What to write so that the port is narrow and its largest message still fits."""
    least = encoded_bytes_max(getattr(view.schemas, sink.message)) or 1
    if least > NARROW_BYTES_MAX:
        return f"tighten the bounds of {sink.message}, which takes up to {least} bytes, to {NARROW_BYTES_MAX} or less"
    messages = min(sink.messages_per_frame_max, NARROW_MESSAGES_MAX)
    if least * messages > NARROW_BYTES_MAX:
        return f"write bytes = {least} and messages_per_frame = {NARROW_BYTES_MAX // least} or less"
    return (
        f"let bytes times messages_per_frame be {NARROW_BYTES_MAX} or less, "
        f"with bytes = {least} or more, as {sink.message} needs"
    )


def bytes_most(view: View, port: Port) -> int:
    """The largest ``bytes`` that an output port may declare, with as many messages as it has."""
    ends = [sink for _, source, sink in view.joins() if source is port]
    messages = max([port.messages_per_frame_max, *(sink.depth for sink in ends)])
    most = min(BATCH_BYTES_MAX // messages, FILE_BYTES_MAX)
    if any(sink.from_networked and view.is_class_c(sink.partition) for sink in ends):
        return min(most, NARROW_BYTES_MAX // port.messages_per_frame_max)
    return most


def class_c_never_waits(view: View) -> Iterator[Flaw]:
    for _, source, sink in view.joins():
        waits = view.is_class_c(sink.partition) and sink.on_stale is OnStale.HOLD
        if waits and not view.is_class_c(source.partition):
            yield Flaw(
                sink.full_name,
                f"class C {sink.partition} does not run while {source.full_name} is silent",
                (source.full_name, sink.full_name),
                'write on_stale = "run" and let the partition fall back',
            )


def silence_cannot_stop_class_c(view: View) -> Iterator[Flaw]:
    for _, source, sink in view.joins():
        if (
            not view.is_class_c(sink.partition)
            or not sink.freshness_frames
            or view.is_class_c(source.partition)
        ):
            continue
        row = view.partitions[sink.partition].health.get(Event.STALE_INPUT)
        if row in REMEDIES:
            yield Flaw(
                sink.full_name,
                f"when {source.partition} falls silent, class C {sink.partition} gets {row}",
                (source.full_name, sink.full_name),
                f'write stale_input = "note" in [partition.{sink.partition}.health]',
            )


def critical_is_not_networked(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        if partition.is_networked and (partition.is_critical or partition.safety_class is SafetyClass.C):
            kind = "critical" if partition.is_critical else "class C"
            yield Flaw(
                partition.name,
                f"{partition.name} is {kind} and networked",
                (),
                "move the networking into a partition of its own",
            )


def commands_come_from_class_c(view: View) -> Iterator[Flaw]:
    for channel in view.design.channels:
        source = view.ports[channel.source]
        if THERAPY_COMMAND in source.labels and not view.is_class_c(source.partition):
            owner = "the world" if source.partition == WORLD else f"{source.partition}, which is not class C,"
            yield Flaw(
                source.full_name,
                f"{owner} sends {source.message}, labelled {THERAPY_COMMAND}",
                (source.full_name, *channel.sinks[:1]),
                f"send it from a class C partition, or remove the label {THERAPY_COMMAND}",
            )


def class_c_requires_all_walls(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        missing = sorted(CLASS_C_WALLS - partition.walls)
        if partition.safety_class is SafetyClass.C and missing:
            yield Flaw(
                partition.name,
                f"class C {partition.name} does not require {', '.join(missing)}",
                (),
                f'write walls = "all" in [partition.{partition.name}]',
            )


def writers_to_class_c_are_policed(view: View) -> Iterator[Flaw]:
    reported: set[str] = set()
    for _, source, sink in view.joins():
        writer = source.partition
        if (
            writer == WORLD
            or view.is_class_c(writer)
            or not view.is_class_c(sink.partition)
            or writer in reported
        ):
            continue
        missing = sorted(POLICING_WALLS - view.partitions[writer].walls)
        if missing:
            reported.add(writer)
            yield Flaw(
                writer,
                f"{writer} writes to class C {sink.partition} but does not require {', '.join(missing)}",
                (source.full_name, sink.full_name),
                f'write walls = "all" in [partition.{writer}], or add the missing walls',
            )


# --- labels ---


def labels_stay_cleared(view: View) -> Iterator[Flaw]:
    for port in view.design.ports:
        if port.declassifies and port.partition != WORLD and view.partitions[port.partition].is_networked:
            yield Flaw(
                port.full_name,
                f"networked {port.partition} promises to strip {', '.join(sorted(port.declassifies))}, "
                "but an intruder keeps no promise",
                (port.full_name,),
                "declassify in a partition that is not networked",
            )
    for label in sorted(view.design.labels):
        for path in _uncleared_paths(view, label):
            reader = view.ports[path[-1]].partition
            yield Flaw(
                path[-1],
                f"{label} can reach {reader}, which is not cleared for it",
                path,
                f'clear {reader} for "{label}", remove the path, or let a trusted output declare '
                f'declassifies = ["{label}"]',
            )


def _uncleared_paths(view: View, label: str) -> list[PortPath]:
    """A path to each input where ``label`` arrives and must not. A partition passes on whatever it reads."""
    holders: dict[str, PortPath] = {}  # partition -> how the label came in
    broken: dict[str, PortPath] = {}
    has_changed = True
    while has_changed:
        has_changed = False
        for _, source, sink in view.joins():
            if label in source.labels:
                so_far: PortPath | None = ()
            elif source.partition in holders and not _strips(view, source, label):
                so_far = holders[source.partition]
            else:
                so_far = None
            if so_far is None or sink.full_name in broken:
                continue
            path = (*so_far, source.full_name, sink.full_name)
            if label not in view.cleared_for(sink.partition):
                broken[sink.full_name] = path
            elif sink.partition != WORLD and sink.partition not in holders:
                holders[sink.partition] = path
                has_changed = True
    return list(broken.values())


def _strips(view: View, source: Port, label: str) -> bool:
    return label in source.declassifies and not view.partitions[source.partition].is_networked
