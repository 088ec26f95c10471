"""C03: frames that all say "more follows", so that the reader's memory fills while it waits for the last."""

from __future__ import annotations

import os
import time

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.effects import gate_memory
from faults.implant import bodies
from faults.implant.foothold import Foothold, raw_stream_fds, say
from faults.implant.stream import EMPTY_MORE_FRAME, write_all
from faults.seen import Observations

MULTIPART_BYTES_MAX = 16_000_000
STREAM_S_MAX = 2.0


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``bytes`` (16 MB) of empty frames, written past libzmq straight into its connection.

    libzmq itself would keep an unfinished message back, so this goes to the descriptor. The connection is of no use
    afterwards, so the partition ends itself unless ``leave`` is false.
    """
    size = min(int(parameters.get("bytes", MULTIPART_BYTES_MAX)), MULTIPART_BYTES_MAX)
    until_s = time.monotonic() + STREAM_S_MAX
    written, errors = 0, []
    for fd in raw_stream_fds():
        try:
            written += write_all(fd, EMPTY_MORE_FRAME * (size // 2), until_s)
        except OSError as error:
            errors.append(str(error))
    bodies.hold(parameters, 0.3)
    report: Report = {"written_bytes": written, "errors": errors}
    if parameters.get("leave", True):
        say("C03", foothold.window.frame, report | {"then": "ends the partition"})
        os._exit(0)
    return report


def effect(seen: Observations, injection: Injection) -> Effect:
    """The reader's memory grew beyond its means."""
    return gate_memory(seen, injection, "The unfinished message did no harm")


ATTACK = Attack(
    "C03",
    "It starts a message that never ends, so that the reader's memory fills up while it waits.",
    effect,
    inject,
    parameters={"bytes": Between(8_000_000, MULTIPART_BYTES_MAX)},
    costs_a_restart=True,
    walls=("gate",),
)
