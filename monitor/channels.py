"""Reads the ``[[channel]]`` tables of ``device.toml`` into ports and channels, or raises ``DesignError``."""

from __future__ import annotations

import re

from monitor.design import WORLD, Channel, OnStale, Port, PortKind
from monitor.toml_table import FILE_BYTES_MAX, NAME, Table, nearest, plain

PORTS_MAX = 512
PORTS_PER_PARTITION_MAX = 128  # wire.Hello and wire.WindowOpen hold no more
BATCH_BYTES_MAX = 16_777_000  # wire.Delivery holds 16 MiB, the head of the array included
FRAMES_MAX = 1_000_000

_PORT = re.compile(r"\A[a-z][a-z0-9_]{0,30}\.[a-z][a-z0-9_]{0,30}\Z")
_MESSAGE = re.compile(r"\A[A-Z][A-Za-z0-9_]{0,63}\Z")
#: What a channel may hold, and each input below its ``to``, by the channel's kind.
CHANNEL_KEYS = (
    *("from", "message", "kind", "bytes", "messages_per_frame", "rejections_per_frame", "labels"),
    *("declassifies", "to"),
)
SINK_KEYS = {
    PortKind.SAMPLING: ("freshness_frames", "on_stale", "from_networked"),
    PortKind.QUEUING: ("depth", "from_networked"),
}

_SAMPLING_ONLY = {
    "freshness_frames": "belongs to a sampling channel, and this one is queuing",
    "on_stale": "belongs to a sampling channel, and this one is queuing",
}
_QUEUING_ONLY = {"depth": "belongs to a queuing channel, and this one is sampling"}


class _Ports:
    """All ports read so far, numbered in the order of the file."""

    def __init__(self, partitions: frozenset[str], labels: frozenset[str]) -> None:
        self.partitions = partitions
        self.labels = labels
        self.ports: list[Port] = []
        self.source_of: dict[str, str] = {}  # full name of each port -> full name of its channel's output

    def claim(self, table: Table, key: str, full_name: str, source: str) -> tuple[str, str]:
        """Take ``full_name`` for one end of a channel that starts at ``source``: partition and port name."""
        problem = self._why_not(full_name, source)
        if problem:
            table.refuse(key, f'"{plain(full_name)}" {problem}')
        self.source_of[full_name] = source
        partition, _, name = full_name.partition(".")
        return partition, name

    def _why_not(self, full_name: str, source: str) -> str:
        """Why no port of that name can be one end of that channel, and the remedy; or nothing."""
        if _PORT.match(full_name) is None:
            return 'is not a port; write partition.port, for example "therapy.cgm"'
        partition = full_name.partition(".")[0]
        if partition != WORLD and partition not in self.partitions:
            known = sorted([*self.partitions, WORLD])
            return f"names no partition; they are {plain(', '.join(known), 400)}{nearest(partition, known)}"
        if full_name != source and partition == source.partition(".")[0]:
            return f"and {source} belong to one partition; a channel joins two: remove it"
        other = self.source_of.get(full_name)
        if other == full_name == source:
            return "starts another channel already; to reach more inputs, name them in its `to`"
        if other is not None and full_name in (other, source):
            return "is the end of another channel already; a port has one channel: rename one"
        if other is not None:
            return f"is fed by {other} already; an input has one source: declare a second port"
        if len(self.ports) >= PORTS_MAX:
            return f"would be port {PORTS_MAX + 1}; a design has at most {PORTS_MAX}: merge some"
        if sum(port.partition == partition for port in self.ports) >= PORTS_PER_PARTITION_MAX:
            return f"is a port too many; a partition has {PORTS_PER_PARTITION_MAX} at most: merge some"
        return ""


def labels_in(table: Table, key: str, labels: frozenset[str]) -> frozenset[str]:
    """The label names listed at ``key``, each one of ``labels``. Raises ``DesignError``."""
    return frozenset(table.names(key, NAME, "label names", among=labels, kind="label of [device] labels"))


def read_channels(
    root: Table, partitions: frozenset[str], labels: frozenset[str]
) -> tuple[tuple[Port, ...], tuple[Channel, ...]]:
    """All ports, numbered in the order of the file, and what joins them. Raises ``DesignError``."""
    ports = _Ports(partitions, labels)
    channels = []
    tables = root.tables("channel", PORTS_MAX, '[[channel]] with from = "therapy.alarm"')
    for number, values in enumerate(tables, start=1):
        channels.append(
            _read_channel(Table(root.file, f"[[channel]] number {number}", values, CHANNEL_KEYS), ports)
        )
    return tuple(ports.ports), tuple(channels)


def _read_channel(table: Table, ports: _Ports) -> Channel:
    source = table.text("from", _PORT, "an output port, as partition.port", "therapy.alarm")
    partition, name = ports.claim(table, "from", source, source)
    output = Port(
        number=len(ports.ports) + 1,
        partition=partition,
        name=name,
        is_output=True,
        message=table.text("message", _MESSAGE, "the name of a message type", "CgmReading"),
        kind=table.choice("kind", PortKind, "sampling"),
        bytes_max=table.whole("bytes", 1, FILE_BYTES_MAX, 64),
        messages_per_frame_max=table.whole("messages_per_frame", 1, 4_096, 1),
        rejections_per_frame_max=table.whole("rejections_per_frame", 0, 4_096, 4, default=0),
        labels=labels_in(table, "labels", ports.labels),
        declassifies=labels_in(table, "declassifies", ports.labels),
    )
    _check_batch(table, "messages_per_frame", output, output.messages_per_frame_max)
    ports.ports.append(output)
    to = table.table("to", f"{table.where} to", example='to = { "therapy.cgm" = { freshness_frames = 3 } }')
    elsewhere = _QUEUING_ONLY if output.kind is PortKind.SAMPLING else _SAMPLING_ONLY
    sinks = to.all_keys()
    for full_name in sinks:
        ports.claim(to, full_name, full_name, source)
        where, example = f'{table.where} to."{full_name}"', f'"{full_name}" = {{}}'
        sink = to.table(full_name, where, SINK_KEYS[output.kind], example, elsewhere)
        ports.ports.append(_read_sink(sink, full_name, output, len(ports.ports) + 1))
    return Channel(source=source, sinks=tuple(sinks))


def _read_sink(table: Table, full_name: str, output: Port, number: int) -> Port:
    partition, _, name = full_name.partition(".")
    is_sampling = output.kind is PortKind.SAMPLING
    sink = Port(
        number=number,
        partition=partition,
        name=name,
        is_output=False,
        message=output.message,
        kind=output.kind,
        bytes_max=output.bytes_max,
        messages_per_frame_max=output.messages_per_frame_max,
        rejections_per_frame_max=output.rejections_per_frame_max,
        freshness_frames=table.whole("freshness_frames", 0, FRAMES_MAX, 3, default=0) if is_sampling else 0,
        depth=1 if is_sampling else table.whole("depth", 1, 65_536, 4, default=1),
        on_stale=table.choice("on_stale", OnStale, "run", default=OnStale.RUN)
        if is_sampling
        else OnStale.RUN,
        labels=output.labels,
        from_networked=table.flag("from_networked", default=False),
    )
    _check_batch(table, "depth", sink, sink.depth)
    return sink


def _check_batch(table: Table, key: str, port: Port, messages: int) -> None:
    """What one window may carry over one port has to fit the monitor's own link."""
    most = BATCH_BYTES_MAX // port.bytes_max
    if messages > most:
        table.refuse(
            key, f"at {port.bytes_max} bytes each that passes {BATCH_BYTES_MAX} bytes; write {most} or less"
        )
