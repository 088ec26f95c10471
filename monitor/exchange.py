"""What lies in the ports between frames. Pure: holds bytes, decodes nothing but the borders between messages.

What a partition sends in frame k is published when k ends and visible from the start of frame k+1, in the design's
order (logical execution time). A sampling input keeps the newest message and the frame it was sent in; a queuing
input keeps at most its depth, the oldest giving way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ipc_schemas import codec, wire
from monitor.design import Design, OnStale, Port, PortKind


class Overflow(NamedTuple):
    """A queuing input had to let its oldest messages go."""

    port: str
    lost: int


class Exchange:
    """The contents of all input ports of one device."""

    def __init__(self, design: Design) -> None:
        self._inputs: dict[str, tuple[Port, ...]] = {}
        self._sinks: dict[int, tuple[Port, ...]] = {}
        self._samples: dict[int, tuple[int, bytes]] = {}
        self._queues: dict[int, list[tuple[int, int, bytes]]] = {}
        for port in design.ports:
            if not port.is_output:
                self._inputs[port.partition] = (*self._inputs.get(port.partition, ()), port)
        for channel in design.channels:
            self._sinks[design.port(channel.source).number] = tuple(
                design.port(sink) for sink in channel.sinks
            )

    def publish(self, frame: int, port: int, count: int, messages: bytes) -> list[Overflow]:
        """Hand a batch sent in ``frame`` to the port's readers. Returns what overflowed."""
        overflows = []
        for sink in self._sinks.get(port, ()):
            if sink.kind is PortKind.SAMPLING:
                self._samples[sink.number] = (frame, messages if count == 1 else _last(messages, 1))
                continue
            queue = self._queues.setdefault(sink.number, [])
            queue.append((frame, count, messages))
            lost = _shorten(queue, sink.depth)
            if lost:
                overflows.append(Overflow(sink.full_name, lost))
        return overflows

    def take(self, partition: str, frame: int) -> tuple[wire.Delivery, ...]:
        """What ``partition`` sees in its window of ``frame``; queues are emptied."""
        return tuple(self._deliveries(partition, frame))

    def _deliveries(self, partition: str, frame: int) -> Iterator[wire.Delivery]:
        for port in self._inputs.get(partition, ()):
            if port.kind is PortKind.SAMPLING:
                sample = self._samples.get(port.number)
                if sample is not None:
                    yield wire.Delivery(port.number, frame - sample[0], sample[1])
                continue
            queue = self._queues.pop(port.number, None)
            if queue:
                messages = queue[0][2] if len(queue) == 1 else _joined(queue)
                yield wire.Delivery(port.number, frame - queue[-1][0], messages)

    def stale(self, partition: str, frame: int) -> tuple[Port, ...]:
        """Sampling inputs with a freshness limit whose newest message is older, or that never had one."""
        found = []
        for port in self._inputs.get(partition, ()):
            if port.kind is not PortKind.SAMPLING or not port.freshness_frames:
                continue
            sample = self._samples.get(port.number)
            age_frames = frame - sample[0] if sample is not None else frame + 1
            if age_frames > port.freshness_frames:
                found.append(port)
        return tuple(found)

    def holds(self, partition: str, frame: int) -> bool:
        """Whether a stale input that says ``hold`` keeps this window shut."""
        return any(port.on_stale is OnStale.HOLD for port in self.stale(partition, frame))


def _joined(queue: list[tuple[int, int, bytes]]) -> bytes:
    return codec.join_batches([(count, messages) for _, count, messages in queue])


def _last(messages: bytes, count: int) -> bytes:
    return codec.join_batch(codec.split_any_batch(messages)[-count:])


def _shorten(queue: list[tuple[int, int, bytes]], depth: int) -> int:
    """Drop the oldest messages until at most ``depth`` are left. Returns how many went."""
    surplus = sum(count for _, count, _ in queue) - depth
    lost = max(surplus, 0)
    while surplus > 0:
        frame, count, messages = queue[0]
        if count <= surplus:
            queue.pop(0)
            surplus -= count
        else:
            queue[0] = (frame, count - surplus, _last(messages, count - surplus))
            surplus = 0
    return lost
