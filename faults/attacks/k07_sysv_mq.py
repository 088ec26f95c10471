"""K07: leave a segment of System V shared memory where other programs can reach it."""

from __future__ import annotations

import ctypes
import os

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations

SEGMENT_BYTES_MAX = 4 << 20
_IPC_PRIVATE, _IPC_CREAT, _IPC_RMID = 0, 0o1000, 0


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """A segment of ``bytes`` (64 KiB), held for ``hold_s`` (0.15).

    It is marked for removal as soon as it is attached, so that it ends with this process, however that ends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    size = min(int(parameters.get("bytes", 1 << 16)), SEGMENT_BYTES_MAX)
    segment = libc.shmget(_IPC_PRIVATE, ctypes.c_size_t(size), _IPC_CREAT | 0o666)
    if segment < 0:
        return bodies.failed(parameters, os.strerror(ctypes.get_errno()))
    address = libc.shmat(segment, None, 0)
    libc.shmctl(segment, _IPC_RMID, None)
    if address == ctypes.c_void_p(-1).value:
        return {"note": os.strerror(ctypes.get_errno())}
    ctypes.memset(address, 0xA5, size)
    bodies.hold(parameters, 0.15)
    libc.shmdt(ctypes.c_void_p(address))
    return {"bytes": size}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A segment of the attacker's making was seen from outside."""
    most = max(peak.segment_bytes_max for peak in seen.peaks_of(injection, seen.attacker))
    if most:
        return Effect(True, f"{most} bytes of its shared memory stood where all programs can reach them.")
    return Effect(False, "No shared memory of its own could be seen from outside.")


ATTACK = Attack(
    "K07",
    "It tries to leave an old-fashioned block of shared memory where any program can pick it up.",
    effect,
    inject,
    parameters={"bytes": Between(1, SEGMENT_BYTES_MAX, by_factor=True)},
    costs_a_restart=True,
    walls=("seccomp", "ipcns"),
)
