"""K13: type into the operator's terminal, as if at its keyboard."""

from __future__ import annotations

import ctypes
import os
import signal

from faults.attack import Attack, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations

CHILD_S_MAX = 3.0
_TIOCSTI = 0x5412
#: The kernel reads the lower half of a request only; a filter that compares all of it is fooled by this.
_HIGH_BIT = 1 << 32


def _mark(frame: int) -> bytes:
    return f"TYPED K13 frame={frame} ".encode()


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """Types a mark into ``terminal``, with a bit in the request that nobody reads if ``high_bit``."""
    request = _TIOCSTI | (_HIGH_BIT if parameters.get("high_bit") else 0)
    path, mark = str(parameters["terminal"]), _mark(foothold.window.frame)
    if _type(path, request, mark, os.O_NOCTTY):
        return {"typed": len(mark)}
    try:  # a terminal that is nobody's becomes that of the first session to open it, and there it may
        child = bodies.fork()
    except OSError as error:
        return {"note": str(error)}
    if child == 0:
        signal.alarm(int(CHILD_S_MAX))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            os.setsid()
            os._exit(0 if _type(path, request, mark, 0) else 1)
        finally:
            os._exit(2)
    return {"status": bodies.status_of(child)}


def _type(path: str, request: int, text: bytes, flags: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fd = os.open(path, os.O_RDWR | flags)
    except OSError:
        return False
    try:
        keys = (ctypes.create_string_buffer(text[i : i + 1], 1) for i in range(len(text)))
        return all(libc.ioctl(fd, ctypes.c_ulong(request), key) == 0 for key in keys)
    finally:
        os.close(fd)


def effect(seen: Observations, injection: Injection) -> Effect:
    """The mark was found where an operator's keys arrive."""
    if seen.received is None:
        raise CannotTell("nobody watched the operator's terminal")
    if any(one.door == "terminal" and _mark(injection.frame) in one.data for one in seen.received):
        return Effect(True, "Keys that nobody had pressed arrived at the operator's terminal.")
    return Effect(False, "No key arrived at the operator's terminal that nobody had pressed.")


ATTACK = Attack(
    "K13",
    "It tries to type commands into the operator's terminal, as if at the keyboard.",
    effect,
    inject,
    parameters={"high_bit": OneOf((False, True))},
    needs=("terminal",),
    walls=("mntns", "seccomp", "landlock", "uid"),
)
