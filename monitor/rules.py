"""What a design must satisfy before the device boots: named rules, each with the path that breaks it.

``RULES`` is the table; a rule states itself in one sentence and says where it comes from. ``check`` runs all.
What flows where is judged in ``monitor.flows``; messages, health and time here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple

from ipc_schemas.bounds import unbounded_fields
from monitor import flows
from monitor.design import WORLD, Action, Design, Event, Partition, PortKind
from monitor.encoded_size import encoded_bytes_max
from monitor.flows import CLASS_C_WALLS, POLICING_WALLS, REMEDIES, Flaw, PortPath, View

__all__ = [
    "CLASS_C_WALLS",
    "DETECTORS",
    "POLICING_WALLS",
    "RULES",
    "Finding",
    "Rule",
    "check",
    "events_of",
    "unaccepted",
]

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


def check(design: Design, schemas: ModuleType) -> tuple[Finding, ...]:
    """All findings, in the order of ``RULES``. Empty means that the design may boot."""
    view = View(design, schemas)
    return tuple(Finding(rule.name, *flaw) for rule in RULES for flaw in rule.find(view))


def unaccepted(design: Design, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings that keep a design from booting: those of rules which it does not say that it breaks."""
    return tuple(finding for finding in findings if finding.rule not in design.accepts)


def events_of(design: Design, partition: Partition) -> frozenset[Event]:
    """The events that can happen to ``partition`` in ``design``: its health table needs exactly these rows.

    A partition without any output port can still send garbage to its gate, and flood it while an experiment
    has the ``route`` wall down. A stale input needs a sampling input with a freshness limit.
    """
    can_be_stale = any(
        not port.is_output and port.freshness_frames for port in design.ports_of(partition.name)
    )
    return frozenset(Event) if can_be_stale else frozenset(Event) - {Event.STALE_INPUT}


# --- messages ---


def _every_field_bounded(view: View) -> Iterator[Flaw]:
    seen: set[str] = set()
    for port, message_type in view.message_types():
        if port.message in seen:
            continue
        seen.add(port.message)
        for field in unbounded_fields(message_type):
            problem, _, remedy = field.rpartition("; ")
            yield Flaw(port.full_name, problem, (port.full_name,), remedy)


def _message_fits_port(view: View) -> Iterator[Flaw]:
    for port, message_type in view.message_types():
        largest = encoded_bytes_max(message_type)
        if largest is not None and largest > port.bytes_max:
            most = flows.bytes_most(view, port)
            yield Flaw(
                port.full_name,
                f"a {port.message} can take {largest} bytes, the port allows {port.bytes_max}",
                (port.full_name,),
                f"write bytes = {largest} or more, or tighten the type's bounds"
                if largest <= most
                else f"tighten the type's bounds to {most} bytes or less, which is all that this port may have",
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


# --- health and time ---


def _every_event_has_a_row(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        for event in Event:
            if event in events_of(view.design, partition) and event not in partition.health:
                yield Flaw(
                    partition.name,
                    f"{event} can happen to {partition.name} ({DETECTORS[event]}), but has no row",
                    (),
                    # A stale input is no death, and of class C nobody's silence may end a life.
                    f'write for example {event} = "{"note" if event is Event.STALE_INPUT else "restart"}" '
                    f"in [partition.{partition.name}.health]",
                )


def _every_row_can_fire(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        for event, row in partition.health.items():
            if event not in events_of(view.design, partition):
                is_bare = view.is_class_c(partition.name) and row in REMEDIES
                noted = f' and write {event} = "note"' if is_bare else ""
                yield Flaw(
                    partition.name,
                    f"{event} cannot happen to {partition.name}: none of its inputs has a freshness limit",
                    (),
                    f"remove {event} from [partition.{partition.name}.health], or set freshness_frames "
                    f"on an input{noted}",
                )


def _death_has_a_remedy(view: View) -> Iterator[Flaw]:
    for partition in view.design.partitions:
        for event in _DEATHS:
            row = partition.health.get(event)
            if row is not None and row not in REMEDIES:
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
            flows.networked_reaches_class_c,
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
            flows.labels_stay_cleared,
        ),
        (
            "command-ports-come-from-class-c",
            "Only a class C partition sends messages labelled therapy_command.",
            "IEC 62304:2006+A1:2015 4.3 (safety classification)",
            flows.commands_come_from_class_c,
        ),
        (
            "critical-is-not-networked",
            "A critical or class C partition is not networked.",
            "IEC 62304:2006+A1:2015 5.3.5 (segregation)",
            flows.critical_is_not_networked,
        ),
        (
            "class-c-never-waits",
            "No class C partition holds its window for an input from the world or from a lower class.",
            "IEC 62304:2006+A1:2015 5.3.5 (segregation); ARINC 653 part 1 (temporal partitioning)",
            flows.class_c_never_waits,
        ),
        (
            "silence-cannot-stop-class-c",
            "A lower class or the world cannot restart or stop a class C partition by falling silent.",
            "ARINC 653 part 1 (health monitoring); IEC 62304:2006+A1:2015 5.3.5 (segregation)",
            flows.silence_cannot_stop_class_c,
        ),
        (
            "class-c-requires-all-walls",
            "A class C partition requires every wall that an unprivileged user can raise.",
            "IEC 62304:2006+A1:2015 5.3.5 (state how segregation is made effective)",
            flows.class_c_requires_all_walls,
        ),
        (
            "writers-to-class-c-are-policed",
            "A partition that writes to a class C partition requires every policing wall.",
            "IEC 62443-3-3 SR 5.2 (zone boundary protection)",
            flows.writers_to_class_c_are_policed,
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
