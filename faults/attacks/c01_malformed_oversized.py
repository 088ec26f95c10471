"""C01: a message many times larger than its port takes, and a frame that claims to be larger still."""

from __future__ import annotations

import time

from faults.attack import Attack, Between, Effect, Injection, OneOf, Parameters, Report
from faults.effects import gate_memory
from faults.implant import bodies, messages
from faults.implant.foothold import Foothold, raw_stream_fds
from faults.implant.stream import LONG_FRAME, write_all
from faults.seen import Observations, bound
from ipc_schemas import codec, wire

OVERSIZED_BYTES, OVERSIZED_BYTES_MAX = 60_000, 8 << 20
CLAIMED_BYTES_MAX = 100 << 20
MESSAGE_BYTES_MAX = 4_352  # the largest that the reference design lets any of transfer's ports carry


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """An activity hint with ``bytes`` (60,000) of ballast, where 48 bytes are the most.

    With ``claim`` set, then a frame that claims 100 MiB and stops; the connection is of no use afterwards.
    """
    size = min(int(parameters.get("bytes", OVERSIZED_BYTES)), OVERSIZED_BYTES_MAX)
    hint = {"at_min": messages.minute_now(foothold), "steps_per_min": 1.0, "ballast": b"\xa5" * size}
    header = foothold.header(foothold.port(messages.HINT))
    sent = foothold.send_raw(wire.pack(header, codec.encode(hint)))
    bodies.hold(parameters, 0.1)
    written = 0
    if parameters.get("claim", False):
        head = LONG_FRAME + CLAIMED_BYTES_MAX.to_bytes(8, "big")
        for fd in raw_stream_fds():
            written += write_all(fd, head, time.monotonic() + 0.2)
    return {"sent": sent, "claim_written_bytes": written}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A message above its size went through, or its reader's memory grew."""
    limit = bound(injection, "message_bytes_max", MESSAGE_BYTES_MAX)
    for one, payload in seen.payloads(injection):
        if len(payload) > limit:
            return Effect(
                True, f"A message of {len(payload)} bytes went through to {one.port} in frame {one.frame}."
            )
    return gate_memory(seen, injection, "No message above its size went through")


ATTACK = Attack(
    "C01",
    "It sends one message many times larger than allowed, to choke whoever reads it.",
    effect,
    inject,
    parameters={"bytes": Between(5_000, OVERSIZED_BYTES_MAX, by_factor=True), "claim": OneOf((False, True))},
    costs_a_restart=True,
    walls=("size", "schema"),
)
