"""Attacks on the byte stream below the message: the peer's ZMTP parser sees them, no schema ever does."""

from __future__ import annotations

import os
import select
import time

from faults.implant import foothold as footholds
from faults.implant.foothold import Foothold, Parameters, Report
from ipc_schemas import codec, wire

MULTIPART_BYTES_MAX = 16_000_000
OVERSIZED_BYTES, OVERSIZED_BYTES_MAX = 60_000, 8 << 20
CLAIMED_BYTES_MAX = 100 << 20
STREAM_S_MAX = 2.0
#: A ZMTP 3 frame header: flags (1 MORE, 2 long) and length.
_EMPTY_MORE_FRAME = b"\x01\x00"
_LONG_FRAME = b"\x02"


def _write_all(fd: int, data: bytes, until_s: float) -> int:
    """Write to a non-blocking socket until done or ``until_s`` (monotonic). Returns bytes written."""
    view, done = memoryview(data), 0
    while done < len(data) and time.monotonic() < until_s:
        try:
            done += os.write(fd, view[done : done + 262_144])
        except BlockingIOError:
            select.select((), (fd,), (), 0.02)
    return done


def unterminated_multipart(foothold: Foothold, parameters: Parameters) -> Report:
    """C03: frames that all say "more follows", written past libzmq straight into its connection.

    libzmq itself would keep an unfinished message back, so this goes to the descriptor. ``bytes`` (16 MB).
    The connection is of no use afterwards, so the partition ends itself unless ``leave`` is false.
    """
    size = min(int(parameters.get("bytes", MULTIPART_BYTES_MAX)), MULTIPART_BYTES_MAX)
    until_s = time.monotonic() + STREAM_S_MAX
    written, errors = 0, []
    for fd in footholds.raw_stream_fds():
        try:
            written += _write_all(fd, _EMPTY_MORE_FRAME * (size // 2), until_s)
        except OSError as error:
            errors.append(str(error))
    time.sleep(min(float(parameters.get("hold_s", 0.3)), 1.0))
    report: Report = {"written_bytes": written, "errors": errors}
    if parameters.get("leave", True):
        footholds.say("C03", foothold.window.frame, report | {"then": "ends the partition"})
        os._exit(0)
    return report


def oversized(foothold: Foothold, parameters: Parameters) -> Report:
    """C01: an activity hint with ``bytes`` (60,000) of ballast, where 48 bytes are the most.

    With ``claim`` set, then a frame that claims 100 MiB and stops; the connection is of no use afterwards.
    """
    size = min(int(parameters.get("bytes", OVERSIZED_BYTES)), OVERSIZED_BYTES_MAX)
    hint = {"at_min": int(foothold.window.time_min), "steps_per_min": 1.0, "ballast": b"\xa5" * size}
    sent = foothold.send_raw(wire.pack(foothold.header(foothold.port("activity")), codec.encode(hint)))
    time.sleep(min(float(parameters.get("hold_s", 0.1)), 1.0))
    written = 0
    if parameters.get("claim", False):
        head = _LONG_FRAME + CLAIMED_BYTES_MAX.to_bytes(8, "big")
        for fd in footholds.raw_stream_fds():
            written += _write_all(fd, head, time.monotonic() + 0.2)
    return {"sent": sent, "claim_written_bytes": written}
