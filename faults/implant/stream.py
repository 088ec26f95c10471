"""The byte stream below the message: what is written here reaches the peer's ZMTP parser, and no schema ever."""

from __future__ import annotations

import os
import select
import time

#: A ZMTP 3 frame header: flags (1 MORE, 2 long, 4 command) and length.
EMPTY_MORE_FRAME = b"\x01\x00"
LONG_FRAME = b"\x02"
#: A command of ZMTP 3.1 that asks for an answer: after its name come a time to live (0: none) and no context.
PING = b"\x04\x07\x04PING\x00\x00"


def write_all(fd: int, data: bytes, until_s: float) -> int:
    """Write to a non-blocking socket until done or ``until_s`` (monotonic). Returns bytes written."""
    view, done = memoryview(data), 0
    while done < len(data) and time.monotonic() < until_s:
        try:
            done += os.write(fd, view[done : done + 262_144])
        except BlockingIOError:
            select.select((), (fd,), (), 0.02)
    return done
