"""One recorded window of one partition, heard again under the contract of another design. Pure.

Messages are taken port by port, each port's in the order in which they came; between ports the journal keeps no
order, so the port whose message ended the window then comes last. What a header said is put in the terms of the new
design: ports by full name, life, frame and sequence number in line where they were in line, and out of it where they
were not. What was refused and not kept counts as refused again for the same reason, and is told apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from ipc_schemas import codec, links, wire
from monitor import contract, journal, judge
from monitor.design import Design

#: What a message is then, or now, beside the reasons of a refusal.
ADMITTED = "admitted"
DISCARDED = "discarded"
#: No design has so many ports: the number of one that is not there.
_NO_PORT = 0x7FFF
#: No partition has this number.
_NOBODY = 0
#: Reasons that a gate gives of itself, without asking the judge.
_EARLY, _LATE = "early", "late"
#: Reasons of refusals after which the judge still waits for the same sequence number: always, and where no port is
#: named. A sender counts on, so what it sends next is out of line.
_OUT_OF_LINE = frozenset(("epoch", "frame", "sequence"))
_BEFORE_SEQUENCE = frozenset(("size", "schema", "stamp"))
#: No port puts up with more refused messages in a frame (``monitor.channels``).
_REJECTIONS_MAX = 4_096


class Verdict(NamedTuple):
    """What a message on a port was, and would be now: ``ADMITTED``, ``DISCARDED`` or the reason of a refusal.

    ``event`` is what it would stand for now. ``port`` is a full name, empty where none is named then or now.
    """

    port: str
    then: str
    now: str
    event: str


class Unkept(NamedTuple):
    """Refused messages whose bytes were not kept, so that nobody can tell what they would be now."""

    port: str
    reason: str


@dataclass(slots=True)
class Heard:
    """What became of a window. ``ended_by`` is the event that would end it, and its partition; or empty."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    unkept: Counter[Unkept] = field(default_factory=Counter)
    ended_by: str = ""
    events: dict[str, bool] = field(
        default_factory=dict
    )  # what was refused -> whether it was not, for that, then
    passed: dict[int, list[bytes]] = field(default_factory=dict)  # by port number of the new design
    missing: Counter[str] = field(default_factory=Counter)  # messages on ports that the new design has not

    def discard(self) -> None:
        """The partition is ended: nothing of its window goes on."""
        self.passed.clear()
        for verdict, count in list(self.verdicts.items()):
            if verdict.now == ADMITTED:
                del self.verdicts[verdict]
                self.verdicts[verdict._replace(now=DISCARDED)] += count


class _Item(NamedTuple):
    """An admitted message: its port and payload. A refused one: its row and all of it, in its place. Or, without
    ``message``, the ``messages`` of a row that were not kept.
    """

    port: int = 0
    payload: bytes = b""
    row: journal.Refusal | None = None
    message: bytes | None = None
    place: int = 0
    messages: int = 1


class Hearing:
    """Hears one partition's windows again. ``names`` are the ports of the recording by number."""

    def __init__(
        self,
        design: Design,
        types: dict[str, type[msgspec.Struct]],
        walls: frozenset[str],
        partition: str,
        names: dict[int, str],
    ) -> None:
        self._names = names
        self._own = contract.number_of(design, partition)
        self._fatal = frozenset(contract.fatal_in(design, partition))
        self._outputs = {port.full_name: port.number for port in design.ports if port.is_output}
        self._numbers = {port.full_name: port.number for port in design.ports}
        self._full_names = {number: name for name, number in self._numbers.items()}
        ports = contract.ports_in(design)
        terms = links.GateContract(self._own, 0, tuple(sorted(walls)), "", ports, (), b"", 0, 0)
        self._judge = judge.Judge(terms, types)
        self._frame = 0
        self._heard = Heard()
        self._lag = 0  # by how much the judge of then has counted more sequence numbers than the judge of now
        self._next_then: int | None = (
            None  # the number that the judge of then waited for, as far as it is known
        )

    def begin_life(self) -> None:
        """Sequence numbers begin again."""
        self._lag, self._next_then = 0, None

    def hear(
        self,
        frame: int,
        admitted: Iterable[journal.Admitted],
        refusals: Sequence[journal.Refusal],
        ended_then: str,
    ) -> Heard:
        """Judge a window again, up to what would end it. ``ended_then`` is the event that ended it, if any."""
        heard = self._heard = Heard()
        rows = [row for row in refusals if row.reason != _LATE]
        if len(rows) < len(refusals):
            self.begin_life()  # late messages put the numbers in line again
        self._open(0)
        self._hear([item for row in rows if row.reason == _EARLY for item in _items_of(row)])
        self._open(frame)
        ports: dict[int, list[_Item]] = {}
        for batch in admitted:
            ports.setdefault(batch.port, []).extend(
                _Item(batch.port, payload) for payload in _split(batch.messages)
            )
        is_ending = {row.port for row in rows if ended_then in (row.event, judge.REJECTIONS_EXCEEDED)}
        for number in sorted({*ports, *(row.port for row in rows)}, key=lambda n: (n in is_ending, n)):
            refused = [i for r in rows if r.port == number and r.reason != _EARLY for i in _items_of(r)]
            self._hear_port(number, ports.get(number, []), refused)
        if heard.ended_by:
            heard.discard()
        return heard

    def _open(self, frame: int) -> None:
        self._frame = frame
        self._judge.open_window(frame)

    def _hear_port(self, number: int, admitted: list[_Item], refused: list[_Item]) -> None:
        """All of one port, each refused message behind the admitted ones that came before it."""
        name = self._names.get(number, "")
        if number and name not in self._outputs:
            self._heard.missing[name] += sum(item.messages for item in (*admitted, *refused))
            return
        done = 0
        for item in sorted((item for item in refused if item.message is not None), key=_order):
            self._hear(admitted[done : item.place])
            # Those that went with their window are in no journal; the rate has counted them.
            unseen = item.place - max(done, len(admitted))
            if number and unseen > 0:
                self._judge.count_unseen(self._outputs[name], unseen)
            done = max(done, item.place)
            self._hear([item])
        self._hear(admitted[done:])
        self._hear([item for item in refused if item.message is None])

    def _hear(self, items: list[_Item]) -> None:
        for item in items:
            if item.row is None:
                self._hear_admitted(self._names[item.port], item.payload)
            elif self._heard.ended_by:
                name = self._names.get(item.row.port, "")
                self._heard.verdicts[Verdict(name, item.row.reason, DISCARDED, "")] += item.messages
            else:
                self._hear_refused(item.row, item)

    def _hear_admitted(self, name: str, payload: bytes) -> None:
        if self._heard.ended_by:
            self._heard.verdicts[Verdict(name, ADMITTED, DISCARDED, "")] += 1
            return
        number = self._judge.next_sequence + self._lag
        header = wire.Header(self._own, self._outputs[name], 0, self._frame, number)
        if self._next_then is not None:
            self._next_then += 1
        self._note(name, ADMITTED, "", self._judged(wire.pack(header, payload), was_counted=True))

    def _judged(self, message: bytes, *, was_counted: bool) -> judge.Verdict:
        """What the judge says. ``was_counted``: the judge of then took its sequence number."""
        before = self._judge.next_sequence
        verdict = self._judge.judge(message)
        self._lag += was_counted - (self._judge.next_sequence - before)
        return verdict

    def _hear_refused(self, row: journal.Refusal, item: _Item) -> None:
        name = self._names.get(row.port, "")
        if item.message is None:
            self._heard.unkept[Unkept(name, row.reason)] += item.messages
            again = judge.Refused(self._numbers.get(name, 0), row.event, row.reason, "")
            for _ in range(min(item.messages, _REJECTIONS_MAX + 1)):
                if not self._heard.ended_by:
                    self._note(name, row.reason, row.event, again)
            return
        was_counted = row.reason not in _OUT_OF_LINE and (row.port > 0 or row.reason not in _BEFORE_SEQUENCE)
        message = self._translated(row.reason, item.message, was_counted=was_counted)
        verdict = self._judged(message, was_counted=was_counted)
        if row.reason == _EARLY and isinstance(verdict, judge.Admitted | judge.Run):
            verdict = judge.Refused(verdict.port, judge.BAD_SEQUENCE, _EARLY, "")
        self._note(name, row.reason, row.event, verdict)

    def _translated(self, reason: str, message: bytes, *, was_counted: bool) -> bytes:
        """A refused message in the terms of the new design."""
        if len(message) < wire.HEADER_BYTES:
            return message
        header, payload = wire.unpack(message)
        gap = 0
        if reason == "sequence":
            gap = 1 if self._next_then is None else header.sequence - self._next_then or 1
        elif reason not in _OUT_OF_LINE and reason != "stamp":
            self._next_then = header.sequence + was_counted
        number = header.port
        if number != wire.PORT_CLOSE:
            name = self._names.get(number & ~wire.BATCH, "")
            number = self._numbers.get(name, _NO_PORT) | (number & wire.BATCH)
        return wire.pack(
            wire.Header(
                _NOBODY if reason == "stamp" else self._own,
                number,
                int(reason == "epoch"),
                self._frame + int(reason == "frame"),
                max(self._judge.next_sequence + self._lag + gap, 0) & 0xFFFF_FFFF,
            ),
            payload,
        )

    def _note(self, name: str, then: str, event_then: str, verdict: judge.Verdict) -> None:
        heard = self._heard
        if not isinstance(verdict, judge.Refused):
            if isinstance(verdict, judge.Admitted | judge.Run):
                name = name or self._full_names[verdict.port]
                payloads = [verdict.payload] if isinstance(verdict, judge.Admitted) else verdict.payloads
                heard.passed.setdefault(verdict.port, []).extend(payloads)
            heard.verdicts[Verdict(name, then, ADMITTED, "")] += 1
            return
        event = verdict.event
        heard.verdicts[Verdict(name, then, verdict.reason, event)] += 1
        heard.events[event] = heard.events.get(event, False) or event != event_then
        if event in self._fatal:
            heard.ended_by = event
        elif self._judge.exceeds_rejections(verdict) and judge.REJECTIONS_EXCEEDED in self._fatal:
            heard.ended_by = judge.REJECTIONS_EXCEEDED


def _items_of(row: journal.Refusal) -> list[_Item]:
    kept = [_Item(row=row, message=each.message, place=each.place) for each in row.exhibits]
    left = row.count - len(kept)
    return [*kept, _Item(row=row, messages=left)] if left > 0 else kept


def _order(item: _Item) -> tuple[int, int]:
    message = item.message or b""
    is_whole = len(message) >= wire.HEADER_BYTES
    return item.place, wire.unpack(message)[0].sequence if is_whole else 0


def _split(messages: bytes) -> list[bytes]:
    """The messages of a batch; without the walls that read them one may be anything, and counts as one."""
    try:
        return codec.split_any_batch(messages)
    except Exception:  # whatever the library raises on hostile bytes
        return [messages]
