"""K04: send descriptors along with bytes: into the channel, and in hundreds to itself, where no limit counts them."""

from __future__ import annotations

import contextlib
import os
import socket

from faults.attack import Attack, Between, CannotTell, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold, raw_stream_fds
from faults.seen import Observations, bound

PARKED_MAX = 2_000
#: Of files that the design grants and of those that the kernel lets an ordinary user have on their way besides.
FILES_MAX = 64
_AT_ONCE = 16
#: A whole ZMTP message without a byte in it: the stream stays in order, whatever becomes of the descriptors.
_EMPTY_FRAME = b"\x00\x00"


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """A few to whoever reads the channel, and ``count`` (500) into a socket of its own, held for ``hold_s`` (0.15)."""
    smuggled = _smuggle()
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        return bodies.failed(parameters, str(error)) | {"smuggled": smuggled}
    parked, note = 0, ""
    with ours, theirs:
        ours.setblocking(False)
        while parked < min(int(parameters.get("count", 500)), PARKED_MAX):
            try:
                parked += _send(ours, b"x")
            except OSError as error:
                note = str(error)
                break
        bodies.hold(parameters, 0.15)
    return {"smuggled": smuggled, "parked": parked, "note": note}


def _smuggle() -> int:
    smuggled = 0
    for fd in raw_stream_fds():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as stream:
            smuggled += _send(stream, _EMPTY_FRAME)
    return smuggled


def _send(link: socket.socket, data: bytes) -> int:
    """Some descriptors, each of a file opened for it, so that each counts. Raises ``OSError``."""
    fds = []
    try:
        fds += [os.open("/dev/null", os.O_RDONLY) for _ in range(_AT_ONCE)]
        socket.send_fds(link, [data], fds)
    finally:
        for fd in fds:
            os.close(fd)
    return len(fds)


def effect(seen: Observations, injection: Injection) -> Effect:
    """More descriptors than allowed lay in the attacker's sockets, or the reader of the channel took some in."""
    limit = bound(injection, "files_max", FILES_MAX)
    parked = max(peak.parked_fds_max for peak in seen.peaks_of(injection, seen.attacker))
    if parked > limit:
        return Effect(
            True, f"{parked} descriptors lay in its sockets at once; {limit:.0f} would have been too many."
        )
    usual = max((one.fds_max for one in seen.before(injection, seen.gate_label)), default=-1)
    most = max(peak.fds_max for peak in seen.peaks_of(injection, seen.gate_label))
    if 0 <= usual < most - 1:
        return Effect(True, f"The reader of its channel took in {most - usual} descriptors of its making.")
    if parked < 0 and seen.ended(injection, seen.attacker):  # its sockets are gone, and what lay in them
        parked = 0
    if parked < 0 or most < 0:
        raise CannotTell("the descriptors of attacker or reader could not be looked at")
    return Effect(
        False, f"The reader of its channel took in no descriptor, and at most {parked} lay in its sockets."
    )


ATTACK = Attack(
    "K04",
    "It slips open files into its messages, and piles up hundreds of them where no limit counts.",
    effect,
    inject,
    parameters={"count": Between(128, PARKED_MAX)},
    walls=("seccomp", "rlimits", "userns", "uid", "caps"),
)
