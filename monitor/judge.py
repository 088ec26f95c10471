"""The judge: what becomes of one message. Pure: no clock, no randomness, no operating system.

A gate asks it about every message of its partition; the monitor asks it again, in bulk, about what a gate hands
over. The rules, in the order in which they are tried:

1. ``size``       the message is no longer than the largest of the partition's ports allows, header included
2. ``stamp``      the header's source is the partition that owns the channel
3. ``route``      the port is one of its own output ports
4. ``size``       the payload is no longer than the port allows
5. ``sequence``   epoch and frame are the present ones, and the sequence number is the next
6. ``rate``       the port's messages of this frame are within its contract
7. ``schema``, ``range``, ``canonical``   the payload is the one canonical encoding of a value of the port's type

A batch goes through the same rules as its messages would one by one, but stands or falls as one.

A refusal names the event it stands for and a reason. Whoever asked acts on it; nothing here does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from ipc_schemas import bounds, codec, links, wire

# Names of monitor.design.Event, as they travel in a refusal. A test holds the two together.
BAD_MESSAGE = "bad_message"
BAD_SEQUENCE = "bad_sequence"
SPOOFED_SENDER = "spoofed_sender"
RATE_EXCEEDED = "rate_exceeded"
REJECTIONS_EXCEEDED = "rejections_exceeded"
WINDOW_OVERRUN = "window_overrun"
GATE_LIED = "gate_lied"
#: The events that a gate may report.
EVENTS = frozenset(
    (BAD_MESSAGE, BAD_SEQUENCE, SPOOFED_SENDER, RATE_EXCEEDED, REJECTIONS_EXCEEDED, WINDOW_OVERRUN)
)


class Admitted(NamedTuple):
    """A message to pass on, in its canonical bytes, on ``port``."""

    port: int
    payload: bytes


class Run(NamedTuple):
    """The messages of a batch to pass on, all on ``port``, in their canonical bytes and in order."""

    port: int
    payloads: list[bytes]


class Refused(NamedTuple):
    """A message not to pass on. ``port`` is 0 where none of the sender's ports was named."""

    port: int
    event: str
    reason: str
    detail: str


class Closed(NamedTuple):
    """The partition has closed its window."""


Verdict = Admitted | Run | Refused | Closed
_CLOSED = Closed()
#: The walls behind rules 4 and 7: while they stand, a batch is read as one.
_READING = frozenset(("size", "schema", "range", "canonical"))


class _PortState:
    __slots__ = ("contract", "decode", "messages", "refusals", "split")

    def __init__(
        self, contract: links.PortContract, message_type: type[msgspec.Struct], walls: frozenset[str]
    ) -> None:
        self.contract = contract
        self.decode = reader(message_type, walls)
        self.split = batch_reader(message_type, walls)
        self.messages = 0
        self.refusals = 0


def reader(message_type: type[msgspec.Struct], walls: frozenset[str]) -> Any:
    """A function from payload to the bytes to pass on that raises ``codec.Refused``, as strict as ``walls``.

    Without ``canonical`` the sender's own bytes go on, as a forwarder would do that decodes and checks but does not
    encode again.
    """
    if "schema" not in walls:
        return _any_reencoded if "canonical" in walls else _any_whole
    loose = bounds.without_bounds(message_type) if "range" not in walls else message_type
    one = codec.Codec(loose)
    if "canonical" not in walls:
        return lambda payload: (one.decode_loosely(payload), payload)[1]
    return lambda payload: (one.decode(payload), payload)[1]


def batch_reader(message_type: type[msgspec.Struct], walls: frozenset[str]) -> Any:
    """As ``reader``, from the payload of a batch to the list of what to pass on."""
    if walls >= _READING:
        return codec.Codec(message_type).split_batch
    decode = reader(message_type, walls)

    def split(batch: bytes) -> list[bytes]:
        try:
            payloads = codec.split_any_batch(batch)
        except Exception as error:
            raise codec.Refused("schema", f"not an array of messages ({type(error).__name__})") from None
        return [decode(payload) for payload in payloads]

    return split


def _any_reencoded(payload: bytes) -> bytes:
    try:
        return codec.encode_as_decoded(codec.decode_any(payload))
    except Exception as error:  # whatever the library raises on hostile bytes is a refusal
        raise codec.Refused("schema", f"not MessagePack ({type(error).__name__})") from None


def _any_whole(payload: bytes) -> bytes:
    """One MessagePack value of any kind, its insides unread; without that much the link's framing would break."""
    try:
        codec.skip_one(payload)
    except Exception as error:
        raise codec.Refused("schema", f"not one MessagePack value ({type(error).__name__})") from None
    return payload


class Judge:
    """The state of one partition's channel in one life. Call ``open_window`` each frame, then ``judge``."""

    def __init__(self, contract: links.GateContract, message_types: dict[str, type[msgspec.Struct]]) -> None:
        self._walls = frozenset(contract.walls)
        self._partition = contract.partition
        self._epoch = contract.epoch
        self._ports = {
            port.number: _PortState(port, message_types[port.message], self._walls) for port in contract.ports
        }
        own = [port for port in contract.ports if port.owner == contract.partition]
        self._own = frozenset(port.number for port in own)
        self._message_bytes_max = wire.HEADER_BYTES + max(
            (links.payload_bytes_max(port) for port in own), default=0
        )
        self._strays_max = max((port.rejections_max for port in own), default=0)
        self._strays = 0
        self._frame = 0
        self._sequence = 0
        self._lost_since: int | None = None

    def open_window(self, frame: int, *, was_lost: bool = False) -> None:
        """Start a frame: the counters of messages and refusals begin again.

        ``was_lost`` says that the window before was taken away: its late messages, and those of the lost windows
        right before it, are dropped without blame.
        """
        if not was_lost:
            self._lost_since = None
        elif self._lost_since is None:
            self._lost_since = self._frame
        self._frame = frame
        self._strays = 0
        for state in self._ports.values():
            state.messages = 0
            state.refusals = 0

    @property
    def next_sequence(self) -> int:
        """The sequence number that the next message must bear."""
        return self._sequence

    def count_unseen(self, port: int, messages: int) -> None:
        """Count messages of this window that are known of, but not at hand: a recording is judged again."""
        self._ports[port].messages += messages

    def judge(self, message: bytes) -> Verdict:
        """Admit, refuse or note the end of the window. Never raises, whatever the bytes."""
        walls = self._walls
        if len(message) > self._message_bytes_max and "size" in walls:
            return Refused(0, BAD_MESSAGE, "size", f"{len(message)} bytes, at most {self._message_bytes_max}")
        if len(message) < wire.HEADER_BYTES:
            return Refused(0, BAD_MESSAGE, "schema", f"{len(message)} bytes are no header")
        source, number, epoch, frame, sequence = wire.HEADER.unpack_from(message)
        if source != self._partition and "stamp" in walls:
            return Refused(0, SPOOFED_SENDER, "stamp", f"claims to be partition {source}")
        if self._lost_since is not None and self._lost_since <= frame < self._frame and epoch == self._epoch:
            self._sequence = sequence + 1
            return Refused(0, "", "late", f"of the lost window of frame {frame}")
        if "sequence" in walls and (epoch, frame, sequence) != (self._epoch, self._frame, self._sequence):
            return self._out_of_line(epoch, frame, sequence)
        self._sequence += 1
        if number == wire.PORT_CLOSE and len(message) == wire.HEADER_BYTES:
            return _CLOSED
        is_batch = number >= wire.BATCH
        number &= ~wire.BATCH
        state = self._ports.get(number)
        if state is None or (number not in self._own and "route" in walls):
            return Refused(0, BAD_MESSAGE, "route", f"port {number} is no output port of this partition")
        judge_payload = self._judge_batch if is_batch else self._judge_payload
        return judge_payload(state, message[wire.HEADER_BYTES :])

    def _judge_payload(self, state: _PortState, payload: bytes) -> Verdict:
        contract = state.contract
        if len(payload) > contract.bytes_max and "size" in self._walls:
            detail = f"{len(payload)} bytes, at most {contract.bytes_max}"
            return Refused(contract.number, BAD_MESSAGE, "size", detail)
        state.messages += 1
        if state.messages > contract.messages_max and "rate" in self._walls:
            detail = f"message {state.messages} of a frame, at most {contract.messages_max}"
            return Refused(contract.number, RATE_EXCEEDED, "rate", detail)
        try:
            return Admitted(contract.number, state.decode(payload))
        except codec.Refused as refusal:
            return Refused(contract.number, BAD_MESSAGE, refusal.reason, refusal.detail)

    def _judge_batch(self, state: _PortState, batch: bytes) -> Verdict:
        contract, walls = state.contract, self._walls
        if contract.messages_max <= wire.SINGLES_MAX and "rate" in walls:
            detail = f"a batch on a port for at most {contract.messages_max} messages of a frame"
            return Refused(contract.number, RATE_EXCEEDED, "rate", detail)
        if len(batch) > wire.BATCH_BYTES_MAX and "size" in walls:
            detail = f"{len(batch)} bytes in a batch, at most {wire.BATCH_BYTES_MAX}"
            return Refused(contract.number, BAD_MESSAGE, "size", detail)
        try:
            payloads = state.split(batch)
        except codec.Refused as refusal:
            state.messages += 1
            return Refused(contract.number, BAD_MESSAGE, refusal.reason, refusal.detail)
        largest = max(map(len, payloads), default=0)
        if largest > contract.bytes_max and "size" in walls:
            detail = f"{largest} bytes, at most {contract.bytes_max}"
            return Refused(contract.number, BAD_MESSAGE, "size", detail)
        state.messages += len(payloads)
        if state.messages > contract.messages_max and "rate" in walls:
            detail = f"message {state.messages} of a frame, at most {contract.messages_max}"
            return Refused(contract.number, RATE_EXCEEDED, "rate", detail)
        return Run(contract.number, payloads)

    def _out_of_line(self, epoch: int, frame: int, sequence: int) -> Refused:
        if epoch != self._epoch:
            return Refused(0, BAD_SEQUENCE, "epoch", f"of life {epoch}, this is life {self._epoch}")
        if frame != self._frame:
            return Refused(0, BAD_SEQUENCE, "frame", f"of frame {frame}, this is frame {self._frame}")
        return Refused(0, BAD_SEQUENCE, "sequence", f"number {sequence}, the next is {self._sequence}")

    def exceeds_rejections(self, refusal: Refused) -> bool:
        """Count a refusal; true when the port (or the partition, for strays) has more than its contract allows."""
        if not refusal.event or "rate" not in self._walls:
            return False
        state = self._ports.get(refusal.port)
        if state is None:
            self._strays += 1
            return self._strays > self._strays_max
        state.refusals += 1
        return state.refusals > state.contract.rejections_max


class Recheck:
    """The monitor's own check of a gate's report: cheap, in bulk, and complete as long as ``recheck`` stands."""

    def __init__(self, contract: links.GateContract, message_types: dict[str, type[msgspec.Struct]]) -> None:
        self._walls = frozenset(contract.walls)
        self._own = {port.number: port for port in contract.ports if port.owner == contract.partition}
        self._types = {port.number: codec.Codec(message_types[port.message]) for port in contract.ports}
        self._all = frozenset(self._types)

    def problem(self, batch: links.Batch, messages_before: int) -> str:
        """What is wrong with a batch, in one sentence; empty when nothing is.

        ``messages_before`` is how many messages of this port the gate has handed over in this frame already.
        """
        if batch.count < 1:
            return f"a batch of {batch.count} messages on port {batch.port}"
        if "recheck" not in self._walls:
            return "" if batch.port in self._all else f"port {batch.port} does not exist"
        contract = self._own.get(batch.port)
        if contract is None:
            return f"port {batch.port} is no output port of this partition"
        if messages_before + batch.count > contract.messages_max:
            return f"{messages_before + batch.count} messages on port {batch.port}, at most {contract.messages_max}"
        if len(batch.messages) > batch.count * contract.bytes_max + 5:
            return f"{len(batch.messages)} bytes in {batch.count} messages on port {batch.port}"
        try:
            values = self._types[batch.port].decode_batch(batch.messages)
        except codec.Refused as refusal:
            return f"a message on port {batch.port} is refused: {refusal}"
        if len(values) != batch.count:
            return f"{len(values)} messages on port {batch.port}, said to be {batch.count}"
        return ""
