"""What travels on a partition's one ZeroMQ connection.

Partition to gate: one ZeroMQ message per port message, a fixed 16-byte header and the payload. The header's
``source`` is a *claim*: a gate compares it with the partition it serves and never believes it. A header whose
port is ``PORT_CLOSE`` and that has no payload closes the window. A port that may carry more than ``SINGLES_MAX``
messages in a frame may also carry *batches*: ``BATCH`` is added to the port number, the payload is the canonical
array of several messages, and the whole takes one sequence number. Each message in it is judged and counted like
any other; a batch stands or falls as one.

Gate to partition: one ZeroMQ message per window, ``WindowOpen``, with all inputs visible in that frame.
"""

from __future__ import annotations

import struct
from typing import Annotated, NamedTuple

import msgspec

HEADER = struct.Struct("<HHIII")
HEADER_BYTES = HEADER.size
PORT_CLOSE = 0xFFFF
#: Added to the port number in the header of a batch.
BATCH = 0x8000
#: So many messages of a port in a window travel one by one; those behind them in batches.
SINGLES_MAX = 32
#: The largest payload of a batch.
BATCH_BYTES_MAX = 32_768
#: The number of what stands outside the device; partitions count from 1.
WORLD = 0xFFFE

Number = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Frame = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]


class Header(NamedTuple):
    """Who claims to send (partition number), to which port (number), in which life, frame and place."""

    source: int
    port: int
    epoch: int
    frame: int
    sequence: int


def pack(header: Header, payload: bytes) -> bytes:
    """One message on the channel."""
    return HEADER.pack(*header) + payload


def unpack(message: bytes) -> tuple[Header, bytes]:
    """Split a message. Raises ``ValueError`` when it is shorter than a header."""
    if len(message) < HEADER_BYTES:
        raise ValueError(f"a message of {len(message)} bytes is shorter than its header of {HEADER_BYTES}")
    return Header._make(HEADER.unpack_from(message)), message[HEADER_BYTES:]


class Delivery(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One input port's content at the start of a window: a batch of canonical messages, oldest first.

    ``age_frames`` is how many frames ago the newest of them was sent (1 = in the frame before this one).
    """

    port: Number
    age_frames: Frame
    batch: Annotated[bytes, msgspec.Meta(max_length=16_777_216)]


class WindowOpen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The start of a partition's window in one frame."""

    frame: Frame
    deliveries: Annotated[tuple[Delivery, ...], msgspec.Meta(max_length=128)]


class PortCard(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a partition is told of one of its own ports."""

    number: Number
    name: Annotated[str, msgspec.Meta(max_length=64)]
    is_output: bool
    is_sampling: bool
    freshness_frames: Frame
    message: Annotated[str, msgspec.Meta(max_length=64)]


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The first message of a life, gate to partition: who you are, and your ports."""

    partition: Number
    epoch: Frame
    frame_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
    ports: Annotated[tuple[PortCard, ...], msgspec.Meta(max_length=128)]
