"""Policed messages per second through gate and monitor, all checks and the journal on, beside C
``zmq.proxy``.

Ours: source partitions send, each message is judged by its gate, checked again and journalled by the monitor,
and decoded by a sink partition, on the virtual clock, where frames follow one another at once. From the 33rd
message of a window on, the SDK sends many messages in one ZeroMQ message (``ipc_schemas.wire``); each is
still judged by itself. The peer: one process sends the same bytes, one ZeroMQ message each, over PAIR and
``ipc://`` to a process in ``zmq.proxy``, which passes them to a third.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import device_runs, peers
from benchmarks.device import build
from benchmarks.figures import Effort, Figure, Row, Step, beside, spread

WARM_UP_FRAMES = 8
PEER = "C zmq.proxy, PAIR to PAIR, same bytes"
MESSAGES_PER_RUN = 300_000
FRAMES_MAX = 4_000
SIZES = (16, 38, 256, 1_024, 4_096)
RATES = (1, 16, 256, 1_024, 4_096)
PARTITIONS = (2, 4, 8, 16)


@dataclass(frozen=True)
class Setting:
    """A device of ``partitions`` / 2 pairs of source and sink, and their load."""

    load: build.Load
    partitions: int = 2

    @property
    def frames(self) -> int:
        """Enough for about ``MESSAGES_PER_RUN`` messages, within bounds, beside the warm-up."""
        per_frame = self.load.messages_per_frame * self.partitions // 2
        by_bytes = (64 << 20) // (self.load.message_bytes * per_frame)
        return WARM_UP_FRAMES + max(min(MESSAGES_PER_RUN // per_frame, FRAMES_MAX, by_bytes), 12)


DEFAULT = Setting(build.Load(messages_per_frame=4_096, message_bytes=38))


def design(folder: Path, setting: Setting) -> Path:
    """Write the device into ``folder``."""
    parts, wires, load = [], [], setting.load
    for n in range(setting.partitions // 2):
        parts += [build.Part(f"source{n}", "source"), build.Part(f"sink{n}", "sink")]
        packets = (f"source{n}.packets", f"sink{n}.packets")
        wires.append(
            build.Wire(*packets, "Packet", max(load.message_bytes, 64), load.messages_per_frame, True)
        )
        wires.append(build.Wire(f"sink{n}.tally", f"world.tally{n}", "Tally", 24, 1, False))
    return build.write(folder, "throughput", parts, wires, load)


def ours_per_s(setting: Setting) -> float:
    """Messages that sinks received per second, the warm-up left out."""
    with device_runs.design_folder() as folder:
        record = device_runs.run(design(folder, setting), setting.frames)
    rulings = record.of_kind("ruling")
    if rulings:
        raise device_runs.RunFailed(
            f"a sound sender was ruled against: {rulings[0].text}, {rulings[0].facts}"
        )
    world = record.world
    first = WARM_UP_FRAMES
    received = world.packets[-1] - world.packets[first]
    return float(received / (world.times_s[-1] - world.times_s[first]))


def _compare(setting: Setting, repeats: int, step: Step) -> tuple[list[float], list[float]]:
    message_bytes = 16 + setting.load.message_bytes
    count = min(MESSAGES_PER_RUN, (64 << 20) // message_bytes)
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(ours_per_s(setting))
        theirs.append(peers.proxied_per_s(message_bytes, count))
        step()
    return ours, theirs


def measure(effort: Effort, step: Step) -> list[Figure]:
    """The row of the table: 38-byte messages, 4,096 in a frame."""
    ours, theirs = _compare(DEFAULT, effort.pick(2, 7), step)
    what = "policed messages, 38 bytes, 4,096 in a frame"
    remark = "ours travel in batches from the 33rd of a window on, the peer's one by one"
    return [
        beside(
            "throughput", what, "messages/s", spread(ours), PEER, spread(theirs), at_least=0.75, remark=remark
        )
    ]


def measure_growth(effort: Effort, step: Step) -> list[Figure]:
    """How it grows with the size of a message, with messages in a frame and with partitions."""
    settings = [(f"{size:,} bytes each", Setting(build.Load(per_frame(size), size))) for size in SIZES]
    settings += [(f"{rate:,} in a frame", Setting(build.Load(rate, 38))) for rate in RATES]
    settings += [(f"{n} partitions, 1,024 in a frame", Setting(build.Load(1_024, 38), n)) for n in PARTITIONS]
    figures = []
    for label, setting in settings:
        ours, theirs = _compare(setting, effort.pick(1, 3), step)
        figures.append(beside("growth", label, "messages/s", spread(ours), PEER, spread(theirs)))
    return figures


def per_frame(message_bytes: int) -> int:
    """As many as fit one order to a gate, which is one message on a socket of at most a megabyte."""
    return min(4_096, (512 << 10) // message_bytes)


ROWS = (
    Row("throughput", "policed messages per second", lambda effort: effort.pick(2, 7), 4.0, measure),
    Row(
        "growth",
        "messages per second by size, rate and partitions",
        lambda effort: (len(SIZES) + len(RATES) + len(PARTITIONS)) * effort.pick(1, 3),
        5.0,
        measure_growth,
    ),
)
