"""What partition code sees of one window: inputs to read and outputs to send. No sockets, no clock.

The world's hardware sees the same thing: both ends of a channel read one description.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from ipc_schemas import codec, wire


class Sample(NamedTuple):
    """The latest value of a sampling port. ``is_fresh`` compares its age with the port's freshness limit."""

    value: Any
    age_frames: int
    is_fresh: bool


class Setup(NamedTuple):
    """What a partition is given once, before its first window: its name and its configuration bytes."""

    partition: str
    config: bytes
    frame_ms: int


class PortEnd(NamedTuple):
    """A port as its owner holds it: the card, and how to read what arrives there."""

    card: wire.PortCard
    decode_batch: Callable[[bytes], list[Any]]


class PortMisused(Exception):
    """Partition code named a port that it does not have, or used one against its direction."""


class Ports:
    """All ports of one partition, by name, with the types of their messages.

    ``recheck`` makes the receiver decode against the port's type again although a gate has done so already;
    only experiments turn it off.
    """

    def __init__(self, hello: wire.Hello, schemas: ModuleType, *, recheck: bool = True) -> None:
        self.hello = hello
        self.inputs: dict[str, PortEnd] = {}
        self.outputs: dict[str, wire.PortCard] = {}
        for card in hello.ports:
            if card.is_output:
                self.outputs[card.name] = card
                continue
            message_type = getattr(schemas, card.message)
            decode = _strict_reader(card.name, message_type) if recheck else _loose_reader(message_type)
            self.inputs[card.name] = PortEnd(card, decode)


def _strict_reader(port: str, message_type: type[msgspec.Struct]) -> Callable[[bytes], list[Any]]:
    """A reader that takes a batch whole or not at all: one bad message, and it is as if nothing had come."""
    decode_batch = codec.Codec(message_type).decode_batch

    def read(batch: bytes) -> list[Any]:
        try:
            return decode_batch(batch)
        except codec.Refused as refusal:
            sys.stderr.write(f"port {port}: what arrived is not what the port carries ({refusal})\n")
            return []

    return read


def _loose_reader(message_type: type[msgspec.Struct]) -> Callable[[bytes], list[Any]]:
    """A reader that checks nothing: missing fields come out as ``None``, wrong types as they are."""
    names = message_type.__struct_fields__

    def read(batch: bytes) -> list[Any]:
        values: list[Any] = codec.decode_any(batch)
        return [
            message_type(**{name: value.get(name) for name in names}) if isinstance(value, dict) else value
            for value in values
        ]

    return read


class Window:
    """One window. ``frame`` and ``time_ms`` are logical (frame x frame length), however fast it runs."""

    def __init__(self, ports: Ports, opened: wire.WindowOpen, emit: Callable[[int, bytes], None]) -> None:
        self.frame = opened.frame
        self.time_ms = opened.frame * ports.hello.frame_ms
        self._ports = ports
        self._emit = emit
        self._inputs = {delivery.port: delivery for delivery in opened.deliveries}

    @property
    def time_min(self) -> float:
        """Logical minutes since power-on."""
        return self.time_ms / 60_000

    def latest(self, port: str) -> Sample | None:
        """The sampling port's value, or ``None`` when nothing has ever arrived. Raises ``PortMisused``."""
        end = self._input(port)
        delivery = self._inputs.get(end.card.number)
        if delivery is None:
            return None
        values = end.decode_batch(delivery.batch)
        if not values:
            return None
        return Sample(values[-1], delivery.age_frames, delivery.age_frames <= end.card.freshness_frames)

    def received(self, port: str) -> tuple[Any, ...]:
        """The queuing port's messages that are new in this window, oldest first. Raises ``PortMisused``."""
        end = self._input(port)
        delivery = self._inputs.get(end.card.number)
        return () if delivery is None else tuple(end.decode_batch(delivery.batch))

    def send(self, port: str, message: msgspec.Struct) -> None:
        """Send one message. It becomes visible to its readers at the start of the next frame.

        Raises ``PortMisused``. A gate judges the message: a value out of range costs the sender.
        """
        self.send_encoded(port, codec.encode(message))

    def send_encoded(self, port: str, payload: bytes) -> None:
        """Send a message that is encoded already. Raises ``PortMisused``."""
        card = self._ports.outputs.get(port)
        if card is None:
            raise PortMisused(f"no output port {port!r}; the outputs are {sorted(self._ports.outputs)}")
        self._emit(card.number, payload)

    def _input(self, port: str) -> PortEnd:
        end = self._ports.inputs.get(port)
        if end is None:
            raise PortMisused(f"no input port {port!r}; the inputs are {sorted(self._ports.inputs)}")
        return end
