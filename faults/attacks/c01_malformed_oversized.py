"""C01: a message many times larger than its port takes, and a frame of hundreds of megabytes below any message."""

from __future__ import annotations

import time

from faults.attack import Attack, Between, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.effects import gate_memory
from faults.implant import bodies, messages
from faults.implant.foothold import Foothold, raw_stream_fds
from faults.implant.stream import LONG_FRAME, write_all
from faults.seen import Observations, bound
from ipc_schemas import codec, wire

#: The link behind a gate carries pieces of 64 KiB, so that a larger message comes to nothing with or without walls.
OVERSIZED_BYTES_MIN, OVERSIZED_BYTES_MAX = 5_000, 60_000
FRAME_MIB_MIN, FRAME_MIB_MAX = 192, 256
STREAM_S_MAX = 2.0
MESSAGE_BYTES_MAX = 4_352  # the largest that the reference design lets any of transfer's ports carry


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``kind`` "message" (usual): an activity hint with ``bytes`` (60,000) of ballast, where 48 bytes are the most.

    "frame": one real frame of ``frame_mib`` (192), written past libzmq into its connection.
    """
    if parameters.get("kind", "message") == "frame":
        return _huge_frame(parameters)
    size = min(int(parameters.get("bytes", OVERSIZED_BYTES_MAX)), OVERSIZED_BYTES_MAX)
    hint = {"at_min": messages.minute_now(foothold), "steps_per_min": 1.0, "ballast": b"\xa5" * size}
    header = foothold.header(foothold.port(messages.HINT))
    sent = foothold.send_raw(wire.pack(header, codec.encode(hint)))
    bodies.hold(parameters, 0.1)
    return {"sent": sent}


def _huge_frame(parameters: Parameters) -> Report:
    size = min(int(parameters.get("frame_mib", FRAME_MIB_MIN)), FRAME_MIB_MAX) << 20
    until_s = time.monotonic() + STREAM_S_MAX
    piece = b"\xa5" * (1 << 20)
    written, errors = 0, []
    for fd in raw_stream_fds():
        try:
            write_all(fd, LONG_FRAME + size.to_bytes(8, "big"), until_s)
            for _ in range(size >> 20):
                written += write_all(fd, piece, until_s)
        except OSError as error:
            errors.append(str(error))
    bodies.hold(parameters, 0.3)
    return {"written_bytes": written, "errors": errors}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A message above its size went through, or its reader's memory grew."""
    limit = bound(injection, "message_bytes_max", MESSAGE_BYTES_MAX)
    for one, payload in seen.payloads(injection):
        if len(payload) > limit:
            return Effect(
                True, f"A message of {len(payload)} bytes went through to {one.port} in frame {one.frame}."
            )
    none = "No message above its size went through"
    try:
        return gate_memory(seen, injection, none)
    except CannotTell:
        if injection.parameters.get("kind", "message") == "frame":
            raise
    return Effect(
        False, f"{none}; it is too small to be seen in its reader's memory, of which there is no sample."
    )


ATTACK = Attack(
    "C01",
    "It sends one message many times larger than allowed, to choke whoever reads it.",
    effect,
    inject,
    parameters={
        "kind": OneOf(("message", "frame")),
        "bytes": Between(OVERSIZED_BYTES_MIN, OVERSIZED_BYTES_MAX, by_factor=True),
        "frame_mib": Between(FRAME_MIB_MIN, FRAME_MIB_MAX),
    },
    costs_a_restart=True,
    walls=("size", "schema"),
)
