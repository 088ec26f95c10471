"""K09: open a ring through which file and network operations pass that no system-call filter sees."""

from __future__ import annotations

import ctypes
import os

from faults.attack import Attack, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations

_IO_URING_SETUP = 425  # the same number on every architecture
_IO_URING_PARAMETERS_BYTES = 120


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """An io_uring, held for ``hold_s`` (0.1)."""
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(_IO_URING_PARAMETERS_BYTES)
    fd = libc.syscall(ctypes.c_long(_IO_URING_SETUP), ctypes.c_uint(4), room)
    if fd < 0:
        return bodies.failed(parameters, os.strerror(ctypes.get_errno()))
    bodies.hold(parameters, 0.1)
    os.close(fd)
    return {"ring": True}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A ring was seen among the attacker's descriptors."""
    if any(peak.has_io_uring for peak in seen.peaks_of(injection, seen.attacker)):
        return Effect(True, f"{seen.attacker} held an io_uring.")
    seen.held_bytes(injection)  # cannot tell unless descriptors could be seen
    return Effect(False, f"{seen.attacker} never held an io_uring.")


ATTACK = Attack(
    "K09",
    "It tries to open a back door into the kernel that system-call filters cannot see.",
    effect,
    inject,
    costs_a_restart=True,
    walls=("seccomp",),
)
