"""What a design must satisfy before the device boots: named rules, each with the path that breaks it.

``RULES`` is the table; a rule states itself in one sentence and says where it comes from. ``check`` runs all.
Data may flow from any input of a partition to any of its outputs: nothing is assumed about code. The world is
not followed as a way from one of its inputs to one of its outputs: it is outside the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple

import msgspec

from ipc_schemas.bounds import unbounded_fields
from monitor.design import (
    WORLD,
    Action,
    Channel,
    Design,
    Event,
    OnStale,
    Partition,
    Port,
    PortKind,
    SafetyClass,
)
from monitor.encoded_size import encoded_bytes_max

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
        "size",
        "route",
        "stamp",
        "sequence",
        "rate",
        "schema",
        "range",
        "canonical",
        "recheck",
        "window",
    )
)
#: The walls that a class C partition must require: all that an unprivileged user can raise.
CLASS_C_WALLS = POLICING_WALLS.union(
    ("userns", "pidns", "mntns", "netns", "ipcns", "utsns", "cgroupns", "procfs", "caps", "nnp", "seccomp"),
    ("landlock", "rlimits", "fds", "session", "dumpable"),
)

#: Where each event is detected: the judge runs in each gate, the core is the monitor's own loop.
DETECTORS: dict[Event, str] = {
    Event.BAD_MESSAGE: "judge: size, direction, decoding and canonical form of each message",
    Event.BAD_SEQUENCE: "judge: epoch, frame and sequence number of each header",
    Event.SPOOFED_SENDER: "judge: the header's source beside the channel's owner",
    Event.RATE_EXCEEDED: "judge: messages per port and frame",
    Event.REJECTIONS_EXCEEDED: "judge: refused messages per port and frame",
    Event.WINDOW_OVERRUN: "gate and core: wall-clock time from opening a window to its close",
    Event.PARTITION_EXIT: "core: the process's end as the launcher reports it",
    Event.FORBIDDEN_SYSCALL: "core: an end by SIGSYS",
    Event.MEMORY_EXCEEDED: "core: an end by the memory limit, or the exit status for MemoryError",
    Event.CPU_EXCEEDED: "core: processor time of partition and gate per frame",
    Event.GATE_DIED: "core: the gate's end, or its silence",
    Event.GATE_LIED: "core: the monitor's own check of what a gate hands over",
    Event.LOG_FLOOD: "core: bytes of standard error per frame",
    Event.STALE_INPUT: "core: age of each sampling input with a freshness limit",
}

#: Events after which no process is left, so that noting or dropping them would leave a hole nobody fills.
_DEATHS = (Event.PARTITION_EXIT, Event.FORBIDDEN_SYSCALL, Event.MEMORY_EXCEEDED, Event.GATE_DIED)
_REMEDIES = (Action.RESTART, Action.QUARANTINE, Action.SAFE_STATE)

PortPath = tuple[str, ...]


class Flaw(NamedTuple):
    """What one rule found: ``path`` lists full port names from source to sink, or is empty."""

    where: str
    message: str
    path: PortPath
    remedy: str


class Finding(NamedTuple):
    """One way in which a design breaks a rule: its name, and the flaw."""

    rule: str
    where: str
    message: str
    path: PortPath
    remedy: str

    @property
    def path_text(self) -> str:
        """``transfer.activity -> therapy.activity``, or nothing."""
        return " -> ".join(self.path)


@dataclass(frozen=True, slots=True)
class Rule:
    """``statement`` is one sentence; ``source`` the clause or the paper behind it."""

    name: str
    statement: str
    source: str
    find: Callable[[View], Iterator[Flaw]]


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


def check(design: Design, schemas: ModuleType) -> tuple[Finding, ...]:
    """All findings, in the order of ``RULES``. Empty means that the design may boot."""
    view = View(design, schemas)
    return tuple(Finding(rule.name, *flaw) for rule in RULES for flaw in rule.find(view))


def events_of(design: Design, partition: Partition) -> frozenset[Event]:
    """The events that can happen to ``partition`` in ``design``: its health table needs exactly these rows.

    A partition without any output port can still send garbage to its gate, and flood it while an experiment
    has the ``route`` wall down. A stale input needs a sampling input with a freshness limit.
    """
    can_be_stale = any(
        not port.is_output and port.freshness_frames for port in design.ports_of(partition.name)
    )
    return frozenset(Event) if can_be_stale else frozenset(Event) - {Event.STALE_INPUT}


# --- what reaches a class C partition ---


def _networked_reaches_class_c(view: View) -> Iterator[Flaw]:
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
                yield Flaw(
                    full_name,
                    f"networked {partition.name} reaches class C {sink.partition}: {'; '.join(problems)}",
                    path,
                    "remove the path, or make that port narrow and declare from_networked = true there",
                )


def _why_not_narrow(view: View, sink: Port, path: PortPath) -> Iterator[str]:
    if not sink.from_networked:
        yield "the port does not declare from_networked = true"
    if unbounded_fields(getattr(view.schemas, sink.message)):
        yield f"{sink.message} has a field without bounds"
    if sink.messages_per_frame_max > NARROW_MESSAGES_MAX:
        yield f"{sink.messages_per_frame_max} messages per frame are more than {NARROW_MESSAGES_MAX}"
    bytes_per_frame = sink.messages_per_frame_max * sink.bytes_max
    if bytes_per_frame > NARROW_BYTES_MAX:
        yield f"{bytes_per_frame} bytes per frame are more than {NARROW_BYTES_MAX}"
    if sink.rejections_per_frame_max > NARROW_REJECTIONS_MAX:
        yield f"{sink.rejections_per_frame_max} rejections per frame are more than {NARROW_REJECTIONS_MAX}"
    if any(THERAPY_COMMAND in view.ports[name].labels for name in path):
        yield f"the path carries a message labelled {THERAPY_COMMAND}"


def _class_c_never_waits(view: View) -> Iterator[Flaw]:
    for _, source, sink in view.joins():
        waits = view.is_class_c(sink.partition) and sink.on_stale is OnStale.HOLD
        if waits and not view.is_class_c(source.partition):
            yield Flaw(
                sink.full_name,
                f"class C {sink.partition} does not run while {source.full_name} is silent",
                (source.full_name, sink.full_name),
                'write on_stale = "run" and let the partition fall back',
            )


def _silence_cannot_stop_class_c(view: View) -> Iterator[Flaw]:
    for _, source, sink in view.joins():
        if (
            not view.is_class_c(sink.partition)
            or not sink.freshness_frames
            or view.is_class_c(source.partition)
        ):
            continue
        row = view.partitions[sink.partition].health.get(Event.STALE_INPUT)
        if row in _REMEDIES:
            yield Flaw(
                sink.full_name,
                f"when {source.partition} falls silent, class C {sink.partition} gets {row}",
                (source.full_name, sink.full_name),
                f'write stale_input = "note" in [partition.{sink.partition}.health]',
            )


def _critical_is_not_networked(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        if partition.is_networked and (partition.is_critical or partition.safety_class is SafetyClass.C):
            kind = "critical" if partition.is_critical else "class C"
            yield Flaw(
                partition.name,
                f"{partition.name} is {kind} and networked",
                (),
                "move the networking into a partition of its own",
            )


def _commands_come_from_class_c(view: View) -> Iterator[Flaw]:
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


def _class_c_requires_all_walls(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        missing = sorted(CLASS_C_WALLS - partition.walls)
        if partition.safety_class is SafetyClass.C and missing:
            yield Flaw(
                partition.name,
                f"class C {partition.name} does not require {', '.join(missing)}",
                (),
                f'write walls = "all" in [partition.{partition.name}]',
            )


def _writers_to_class_c_are_policed(view: View) -> Iterator[Flaw]:
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


# --- messages ---


def _every_field_bounded(view: View) -> Iterator[Flaw]:
    seen: set[str] = set()
    for port, message_type in view.message_types():
        if port.message in seen:
            continue
        seen.add(port.message)
        for field in unbounded_fields(message_type):
            yield Flaw(
                port.full_name,
                field,
                (port.full_name,),
                "give the field both bounds, or a max_length, with msgspec.Meta",
            )


def _message_fits_port(view: View) -> Iterator[Flaw]:
    for port, message_type in view.message_types():
        largest = encoded_bytes_max(message_type)
        if largest is not None and largest > port.bytes_max:
            yield Flaw(
                port.full_name,
                f"a {port.message} can take {largest} bytes, the port allows {port.bytes_max}",
                (port.full_name,),
                f"write bytes = {largest} or more, or tighten the type's bounds",
            )


def _queues_hold_a_frame(view: View) -> Iterator[Flaw]:
    for _, source, sink in view.joins():
        if sink.kind is PortKind.QUEUING and sink.depth < source.messages_per_frame_max:
            sent = source.messages_per_frame_max
            yield Flaw(
                sink.full_name,
                f"{source.full_name} may send {sent} messages a frame, {sink.full_name} holds {sink.depth}",
                (source.full_name, sink.full_name),
                f"write depth = {sent} or more",
            )


def _no_port_without_a_peer(view: View) -> Iterator[Flaw]:
    joined = {
        name for channel in view.design.channels if channel.sinks for name in (channel.source, *channel.sinks)
    }
    for port in view.design.ports:
        if port.full_name not in joined:
            yield Flaw(
                port.full_name,
                f"{port.full_name} is joined to no other port",
                (port.full_name,),
                "name an input port in `to`, or remove the channel",
            )


# --- labels ---


def _labels_stay_cleared(view: View) -> Iterator[Flaw]:
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


# --- health and time ---


def _every_event_has_a_row(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        for event in Event:
            if event in events_of(view.design, partition) and event not in partition.health:
                yield Flaw(
                    partition.name,
                    f"{event} can happen to {partition.name} ({DETECTORS[event]}), but has no row",
                    (),
                    f'write for example {event} = "restart" in [partition.{partition.name}.health]',
                )


def _every_row_can_fire(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        for event in partition.health:
            if event not in events_of(view.design, partition):
                yield Flaw(
                    partition.name,
                    f"{event} cannot happen to {partition.name}: none of its inputs has a freshness limit",
                    (),
                    f"remove {event} from [partition.{partition.name}.health], or set freshness_frames",
                )


def _death_has_a_remedy(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        for event in _DEATHS:
            row = partition.health.get(event)
            if row is not None and row not in _REMEDIES:
                yield Flaw(
                    partition.name,
                    f"after {event} nothing of {partition.name} runs, yet its row only says {row}",
                    (),
                    f'write {event} = "restart" or "quarantine" in [partition.{partition.name}.health]',
                )


def _safe_state_is_critical(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        for event, row in partition.health.items():
            if row is Action.SAFE_STATE and not (partition.is_critical or view.is_class_c(partition.name)):
                yield Flaw(
                    partition.name,
                    f"{partition.name} is not critical, yet its {event} stops the whole device",
                    (),
                    f'write {event} = "quarantine" in [partition.{partition.name}.health]',
                )


def _restart_budgets_are_finite(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        budget = partition.restart
        if budget.restarts_max >= budget.within_frames:
            yield Flaw(
                partition.name,
                f"with {budget.restarts_max} restarts within {budget.within_frames} frames, {partition.name} "
                "would restart for ever if it failed in every frame",
                (),
                f"write restarts = {budget.within_frames - 1} or less, or a longer within_frames",
            )


def _windows_fit_the_frame(view: View) -> Iterator[Flaw]:
    frame_ms = view.design.frame_ms
    windows = sorted(view.design.windows, key=lambda window: window.offset_ms)
    for window in windows:
        end_ms = window.offset_ms + window.budget_ms
        if end_ms > frame_ms:
            yield _window_flaw(window.partition, f"ends at {end_ms} ms, the frame at {frame_ms} ms")
    for before, after in pairwise(windows):
        end_ms = before.offset_ms + before.budget_ms
        if end_ms > after.offset_ms:
            yield _window_flaw(
                after.partition,
                f"starts at {after.offset_ms} ms, before {before.partition}'s ends at {end_ms} ms",
            )
    if view.design.world.budget_ms > frame_ms:
        yield _window_flaw(WORLD, f"takes {view.design.world.budget_ms} ms, the frame only {frame_ms} ms")


def _window_flaw(partition: str, problem: str) -> Flaw:
    remedy = "shorten budget_ms or move offset_ms, or lengthen frame_ms"
    return Flaw(partition, f"the window of {partition} {problem}", (), remedy)


def _one_window_each(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        count = sum(window.partition == partition.name for window in view.design.windows)
        if count != 1:
            yield Flaw(
                partition.name,
                f"{partition.name} has {count} windows in the frame",
                (),
                f"write exactly one window for {partition.name} in [schedule]",
            )


# --- the table ---


def _rules(rows: Iterable[tuple[str, str, str, Callable[[View], Iterator[Flaw]]]]) -> tuple[Rule, ...]:
    return tuple(Rule(*row) for row in rows)


RULES: tuple[Rule, ...] = _rules(
    (
        (
            "networked-reaches-class-c",
            (
                "No path leads from a networked partition into a class C partition but through a port that "
                "declares it, with a bounded type and few messages, bytes and rejections per frame; "
                "never for a therapy_command."
            ),
            "IEC 62304:2006+A1:2015 5.3.5 (segregation); IEC 62443-3-3 SR 5.2 (zone boundary protection)",
            _networked_reaches_class_c,
        ),
        (
            "every-field-bounded",
            "Every number has both bounds, every text, byte string and sequence a largest length.",
            "IEC 62443-3-3 SR 3.5 (input validation)",
            _every_field_bounded,
        ),
        (
            "message-fits-port",
            "The largest message of a port's type fits the port's bytes.",
            "ARINC 653 part 1 (MAX_MESSAGE_SIZE of a port)",
            _message_fits_port,
        ),
        (
            "queues-hold-a-frame",
            "A queuing input holds at least what its source may send in one frame.",
            "ARINC 653 part 1 (MAX_NB_MESSAGE of a queuing port)",
            _queues_hold_a_frame,
        ),
        (
            "no-port-without-a-peer",
            "Every port is joined to another one.",
            "ARINC 653 part 1 (channels are configured whole)",
            _no_port_without_a_peer,
        ),
        (
            "labels-stay-cleared",
            (
                "A label reaches only partitions cleared for it; a partition passes on whatever it reads, "
                "but for outputs that declassify the label, in partitions that are not networked."
            ),
            "Denning 1976 (lattice model of information flow); IEC 62443-3-3 SR 4.1 (confidentiality)",
            _labels_stay_cleared,
        ),
        (
            "command-ports-come-from-class-c",
            "Only a class C partition sends messages labelled therapy_command.",
            "IEC 62304:2006+A1:2015 4.3 (safety classification)",
            _commands_come_from_class_c,
        ),
        (
            "critical-is-not-networked",
            "A critical or class C partition is not networked.",
            "IEC 62304:2006+A1:2015 5.3.5 (segregation)",
            _critical_is_not_networked,
        ),
        (
            "class-c-never-waits",
            "No class C partition holds its window for an input from the world or from a lower class.",
            "IEC 62304:2006+A1:2015 5.3.5 (segregation); ARINC 653 part 1 (temporal partitioning)",
            _class_c_never_waits,
        ),
        (
            "silence-cannot-stop-class-c",
            "A lower class or the world cannot restart or stop a class C partition by falling silent.",
            "ARINC 653 part 1 (health monitoring); IEC 62304:2006+A1:2015 5.3.5 (segregation)",
            _silence_cannot_stop_class_c,
        ),
        (
            "class-c-requires-all-walls",
            "A class C partition requires every wall that an unprivileged user can raise.",
            "IEC 62304:2006+A1:2015 5.3.5 (state how segregation is made effective)",
            _class_c_requires_all_walls,
        ),
        (
            "writers-to-class-c-are-policed",
            "A partition that writes to a class C partition requires every policing wall.",
            "IEC 62443-3-3 SR 5.2 (zone boundary protection)",
            _writers_to_class_c_are_policed,
        ),
        (
            "every-event-has-a-row",
            "Every event that can happen to a partition has a row in its health table.",
            "ARINC 653 part 1 (health monitoring tables)",
            _every_event_has_a_row,
        ),
        (
            "every-row-can-fire",
            "Every row of a health table is for an event that can happen to that partition.",
            "ARINC 653 part 1 (health monitoring tables)",
            _every_row_can_fire,
        ),
        (
            "death-has-a-remedy",
            "An event that ends a partition's process restarts or quarantines it, or stops the device.",
            "ARINC 653 part 1 (health monitoring: recovery actions)",
            _death_has_a_remedy,
        ),
        (
            "safe-state-is-critical-only",
            "Only an event of a critical or class C partition puts the whole device in its safe state.",
            "IEC 62304:2006+A1:2015 5.3.5 (segregation)",
            _safe_state_is_critical,
        ),
        (
            "restart-budgets-are-finite",
            "A partition that fails in every frame runs out of restarts.",
            "ARINC 653 part 1 (health monitoring: escalation)",
            _restart_budgets_are_finite,
        ),
        (
            "windows-fit-the-frame",
            "Windows end within the frame and do not overlap; the world's budget fits the frame.",
            "ARINC 653 part 1 (partition windows in the major time frame)",
            _windows_fit_the_frame,
        ),
        (
            "one-window-each",
            "Every partition has exactly one window in the frame.",
            "ARINC 653 part 1 (partition windows in the major time frame)",
            _one_window_each,
        ),
    )
)
