"""A recorded journal judged again under another design: which verdicts would differ.

Every message that the journal holds goes through the judge once more, with the new design's contracts, and every
event through the new health tables, in the recording's order and with the walls of the recording. No process is
started and nothing is written. What cannot be told is said, never guessed:

* a refused message whose bytes were not kept counts as refused again, and is counted in ``untold``;
* where a verdict changes what somebody does or hears, the recording is no evidence of what that one does later: it
  has a *horizon*, and so have, a frame later, all who read what it sends. What is judged behind a sender's horizon
  holds only if it had sent the same.

Not judged again, because a journal does not hold what was used: the bounds of window, processor, memory and log.
Their recorded events get their actions anew. Stale inputs are judged as on the virtual clock, where nobody misses a
window because it is still starting.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from ipc_schemas import codec
from monitor import journal, judge
from monitor.design import WORLD, Action, Design, Event
from monitor.exchange import Exchange
from monitor.health import Health, UnknownEvent
from monitor.rehearing import ADMITTED, DISCARDED, Heard, Hearing
from sandbox import walls

__all__ = ["ADMITTED", "DISCARDED", "NOTHING", "Horizon", "NothingInCommon", "Rejudged", "rejudge"]

#: What an event has come to where it has not happened.
NOTHING = "nothing"
#: Events that stand for messages: they are found anew. The others are taken from the recording.
_OF_MESSAGES = judge.EVENTS - {judge.WINDOW_OVERRUN}
_ACTING = frozenset(action.value for action in Action) - {Action.NOTE.value, Action.DROP.value}


class MessageChange(NamedTuple):
    """Messages of one frame on one port whose verdict would differ: what they were and would be, and for what event."""

    frame: int
    partition: str
    port: str
    then: str
    now: str
    event: str
    messages: int
    is_sure: bool  # False: behind the sender's horizon


class ActionChange(NamedTuple):
    """An event that would come to another action; ``NOTHING`` where it did not, or would not, happen."""

    frame: int
    partition: str
    event: str
    then: str
    now: str
    is_sure: bool


class Untold(NamedTuple):
    """Refused messages of one frame that were not kept."""

    frame: int
    partition: str
    port: str
    reason: str
    messages: int


class Horizon(NamedTuple):
    """From ``frame`` on the recording is no evidence of what ``partition`` does; ``why`` is a clause."""

    partition: str
    frame: int
    why: str


class Missing(NamedTuple):
    """A partition or port (``what``) that only one of the two has, and how many recorded messages were sent on it."""

    what: str
    name: str
    is_new: bool
    messages: int


@dataclass(slots=True)
class Rejudged:
    """All that would differ, and all that cannot be told."""

    messages: list[MessageChange] = field(default_factory=list)
    actions: list[ActionChange] = field(default_factory=list)
    untold: list[Untold] = field(default_factory=list)
    horizons: list[Horizon] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    overflows: Counter[str] = field(
        default_factory=Counter
    )  # input port -> messages lost under the new design
    unsent: Counter[str] = field(default_factory=Counter)  # partition that would be off -> its later messages
    judged_messages: int = 0
    judged_events: int = 0

    @property
    def differs(self) -> bool:
        """Whether anything recorded would be decided otherwise."""
        return bool(self.messages or self.actions) or any(not each.is_new for each in self.missing)

    @property
    def is_told(self) -> bool:
        """Whether nothing is left that might differ and that the recording cannot tell."""
        return not self.untold and not any(each.is_new for each in self.missing)


class NothingInCommon(ValueError):
    """The journal is of a device that shares no partition with the design."""


def rejudge(reading: journal.Reading, design: Design, types: dict[str, type[msgspec.Struct]]) -> Rejudged:
    """Judge ``reading`` again under ``design``. Pure. Raises ``NothingInCommon``."""
    header = reading.entries[0]
    assert isinstance(header, journal.Header)
    names = {partition.name for partition in design.partitions}
    if not names & set(header.images):
        raise NothingInCommon(
            f"the journal is of {header.design}, which has no partition in common with {design.name}"
        )
    again = _Again(header, design, types)
    for entry in reading.entries:
        if isinstance(entry, journal.Frame):
            again.frame(entry)
    return again.result()


class _Again:
    """The state of the recorded device, as the new design would have it."""

    def __init__(
        self, header: journal.Header, design: Design, types: dict[str, type[msgspec.Struct]]
    ) -> None:
        self.found = Rejudged()
        self._is_over = False
        self._design = design
        self._is_same = design.digest == header.design_digest
        up = walls.standing(frozenset(header.without), is_root=True)
        self._health = Health(design, up)
        self._exchange = Exchange(design)
        names = dict(header.ports)
        self._recorded = frozenset(header.images) | {WORLD}
        self._seats = [n for n in (WORLD, *(p.name for p in design.partitions)) if n in self._recorded]
        self._hearings = {name: Hearing(design, types, up, name, names) for name in self._seats}
        self._alive: dict[str, bool] = dict.fromkeys(self._seats, False)
        self._stale: dict[str, frozenset[str]] = dict.fromkeys(self._seats, frozenset())
        self._horizons: dict[str, Horizon] = {}
        self._off: set[str] = set()
        self._missing: Counter[str] = Counter()
        self._readers = {
            channel.source: [design.port(sink).partition for sink in channel.sinks]
            for channel in design.channels
        }
        self._compare_shapes(names)

    # -- shapes -----------------------------------------------------------------------------------------------

    def _compare_shapes(self, names: dict[int, str]) -> None:
        """Partitions and ports that only one of the two has. Who has other ports is another from the start."""
        ports = {port.full_name for port in self._design.ports}
        for name in sorted({*names.values()} ^ ports):
            owner = name.partition(".")[0]
            is_new = name in ports
            self.found.missing.append(Missing("port", name, is_new, 0))
            where = "in this design only" if is_new else "in the recording only"
            self._lose(owner, 0, f"it has the port {name} {where}")
        mine = {WORLD, *(partition.name for partition in self._design.partitions)}
        for name in sorted(mine ^ self._recorded):
            self.found.missing.append(Missing("partition", name, name in mine, 0))

    def _lose(self, partition: str, frame: int, why: str) -> None:
        known = self._horizons.get(partition)
        if known is None or frame < known.frame:
            self._horizons[partition] = Horizon(partition, frame, why)

    def _is_sure(self, partition: str, frame: int) -> bool:
        horizon = self._horizons.get(partition)
        return horizon is None or frame < horizon.frame

    def result(self) -> Rejudged:
        """What was found, once all frames were heard."""
        self.found.missing = [each._replace(messages=self._missing[each.name]) for each in self.found.missing]
        order = {name: place for place, name in enumerate(self._seats)}
        self.found.horizons = sorted(
            (each for each in self._horizons.values() if each.partition in order),
            key=lambda each: (each.frame, order[each.partition]),
        )
        return self.found

    # -- frames -----------------------------------------------------------------------------------------------

    def frame(self, entry: journal.Frame) -> None:
        """One recorded frame."""
        passed: list[tuple[int, list[bytes]]] = []
        for name in self._seats:
            if self._is_over or name in self._off:
                self.found.unsent[name] += sum(b.count for b in entry.admitted if b.sender == name)
            else:
                passed += sorted(self._seat(name, entry).items())
        for batch in entry.admitted:
            if batch.sender not in self._seats:
                self._missing[batch.sender] += batch.count
        for number, payloads in passed:
            batch_bytes = codec.join_batch(payloads)
            for lost in self._exchange.publish(entry.frame, number, len(payloads), batch_bytes):
                self.found.overflows[lost.port] += lost.lost
        self._spread(entry.frame)

    def _spread(self, frame: int) -> None:
        """Who reads what somebody behind its horizon sends is behind its own from the next frame on."""
        lost = [name for name in self._seats if not self._is_sure(name, frame)]
        for source, readers in self._readers.items():
            sender = source.partition(".")[0]
            if sender in lost:
                for reader in readers:
                    self._lose(reader, frame + 1, f"it reads what {sender} sends")

    def _seat(self, name: str, entry: journal.Frame) -> dict[int, list[bytes]]:
        """One partition's window, or the world's. Returns what would be admitted, by port."""
        frame, sure = entry.frame, self._is_sure(name, entry.frame)
        rulings = [row for row in entry.rulings if row.partition == name]
        ended_then = next((row.event for row in rulings if row.action in _ACTING), "")
        opens, stale = self._opening(name, entry, rulings)
        heard = self._hearings[name].hear(
            frame,
            [batch for batch in entry.admitted if batch.sender == name],
            [row for row in entry.refusals if row.partition == name],
            ended_then,
        )
        if opens and self._exchange.holds(name, frame):
            heard.discard()
            heard.events, heard.ended_by, opens = {}, "", False
        if ended_then:
            self._hearings[name].begin_life()
        if name != WORLD and self._rule(name, frame, _due(rulings, stale, heard), sure):
            heard.discard()
        if opens:
            self._exchange.take(name, frame)
        self._note(name, frame, heard, sure)
        return heard.passed

    def _opening(self, name: str, entry: journal.Frame, rulings: list[journal.Ruling]) -> tuple[bool, int]:
        """Whether the window opens, and how many inputs have become stale by then."""
        whats = [life.what for life in entry.lives if life.partition == name]
        was_alive = self._alive[name]
        if whats:
            self._alive[name] = whats[-1] == "up"
        if not was_alive:
            self._hearings[name].begin_life()
        if name == WORLD:
            return True, 0
        if not entry.frame or not (was_alive or "up" in whats):
            return was_alive or "up" in whats, 0
        stale = frozenset(port.name for port in self._exchange.stale(name, entry.frame))
        fresh_ones = stale - self._stale[name]
        if not was_alive and fresh_ones and not any(row.event == Event.STALE_INPUT for row in rulings):
            return True, 0  # it may not have been ready: on other clocks that takes its time
        self._stale[name] = stale
        return True, len(fresh_ones)

    # -- events -----------------------------------------------------------------------------------------------

    def _rule(self, name: str, frame: int, due: list[_Due], sure: bool) -> bool:
        """Put a frame's events to the new health table. Returns whether the partition is ended and was not then."""
        is_ended = False
        for event, then, happens in due:
            if is_ended or not happens:
                if then != NOTHING:
                    self.found.actions.append(ActionChange(frame, name, event, then, NOTHING, sure))
                if then in _ACTING and not is_ended:
                    self._lose(name, frame, f"its {then} for {event} in frame {frame} would not have been")
                continue
            now = self._decide(name, event, frame)
            self.found.judged_events += 1
            if now == then:
                continue
            self.found.actions.append(ActionChange(frame, name, event, then, now, sure))
            if (
                now in _ACTING or then in _ACTING
            ):  # who was ended then, and lives on, has more to say in this frame
                since = frame + (now in _ACTING)
                self._lose(name, since, f"{event} in frame {frame} would have come to {now}, not {then}")
            is_ended = now in _ACTING and (then not in _ACTING or now != Action.RESTART)
            self._end(name, frame, then, now)
        return is_ended

    def _end(self, name: str, frame: int, then: str, now: str) -> None:
        """What a partition's end means for the rest of the recording."""
        if now == Action.QUARANTINE:
            self._off.add(name)
        if Action.SAFE_STATE in (then, now):
            self._is_over = now == Action.SAFE_STATE
            for each in self._seats:
                self._lose(
                    each,
                    frame + 1,
                    f"the device {'would have gone' if self._is_over else 'went'} into its safe state",
                )

    def _decide(self, name: str, event: str, frame: int) -> str:
        try:
            return self._health.on(name, Event(event), frame).action.value
        except (UnknownEvent, ValueError):  # as the monitor does: the partition goes, the device stays
            return Action.QUARANTINE.value

    # -- messages ---------------------------------------------------------------------------------------------

    def _note(self, name: str, frame: int, heard: Heard, sure: bool) -> None:
        """Put down which messages would be judged otherwise, and who would hear something else for it."""
        self._missing += heard.missing
        if not self._is_same:
            for (port, reason), count in heard.unkept.items():
                self.found.untold.append(Untold(frame, name, port, reason, count))
        for (port, then, now, event), count in heard.verdicts.items():
            self.found.judged_messages += count
            if then == now:
                continue
            self.found.messages.append(MessageChange(frame, name, port, then, now, event, count, sure))
            if ADMITTED in (then, now):
                would = "would have come" if now == ADMITTED else "would not have come"
                for reader in self._readers.get(port, ()):
                    self._lose(reader, frame + 1, f"a message on {port} in frame {frame} {would}")


class _Due(NamedTuple):
    """An event of a frame: what it came to then (``NOTHING`` where it is new), and whether it would happen now."""

    event: str
    then: str
    happens: bool


def _due(rulings: list[journal.Ruling], stale: int, heard: Heard) -> list[_Due]:
    """The events of a partition's frame: those recorded, in their order, and those that are new."""
    of_messages = _events_now(rulings, heard)
    due = []
    for row in rulings:
        happens = True
        if row.event == Event.STALE_INPUT:
            happens = stale > 0
            stale -= happens
        elif row.event in _OF_MESSAGES:
            happens = row.event in of_messages
            of_messages = [event for event in of_messages if event != row.event]
        due.append(_Due(row.event, row.action, happens))
    first = next((place for place, each in enumerate(due) if each.event != Event.STALE_INPUT), len(due))
    due[first:first] = [_Due(event, NOTHING, True) for event in of_messages]
    return [_Due(Event.STALE_INPUT.value, NOTHING, True)] * stale + due


def _events_now(rulings: list[journal.Ruling], heard: Heard) -> list[str]:
    """The events that the gate's last report would stand for.

    A report that names what ended the window stands for that alone; and a window that is reported in several pieces
    raises what its last one holds, which is why an event that was not raised then is raised only if it is new.
    """
    if heard.ended_by:
        return [heard.ended_by]
    recorded = {row.event for row in rulings}
    if judge.WINDOW_OVERRUN in recorded:
        return []
    if any(row.event in _OF_MESSAGES and row.action in _ACTING for row in rulings):
        return list(heard.events)
    return [event for event, is_new in heard.events.items() if is_new or event in recorded]
