"""K05: look for descriptors that the launcher forgot to close, and keep them."""

from __future__ import annotations

import contextlib
import os
import stat

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations

#: What the launcher hands to a process and to nobody else: its image and configuration, in memory.
LAUNCHERS_FILE = "image"
COPIES_MAX = 4
_NUMBER_OF_FDS_LOOKED_AT = 64
_READ_BYTES_MAX = 1 << 16


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """Reads every file it finds open, and keeps ``copies`` (1) more of each open for ``hold_s`` (0.15)."""
    copies = min(int(parameters.get("copies", 1)), COPIES_MAX)
    kept, read_bytes = [], 0
    for fd in _open_files():
        with contextlib.suppress(OSError):
            read_bytes += len(os.pread(fd, _READ_BYTES_MAX, 0))
            kept += [os.dup(fd) for _ in range(copies)]
    bodies.hold(parameters, 0.15)
    for fd in kept:
        os.close(fd)
    return {"kept": len(kept), "read_bytes": read_bytes}


def _open_files() -> list[int]:
    found = []
    for fd in range(3, _NUMBER_OF_FDS_LOOKED_AT):
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.fstat(fd).st_mode):
                found.append(fd)
    return found


def effect(seen: Observations, injection: Injection) -> Effect:
    """The attacker had more descriptors of a file that only the launcher handles than before it reached for it."""
    peaks = seen.peaks_with_descriptors(injection)
    # The fewest: while it was started, it held more for a moment.
    usual = min(
        (one.memory_files[LAUNCHERS_FILE] for one in seen.before(injection, seen.attacker)), default=0
    )
    most = max(one.memory_files[LAUNCHERS_FILE] for one in peaks)
    if most > usual:
        return Effect(
            True, f"{seen.attacker} made use of a file of the launcher's that nobody meant to give it."
        )
    return Effect(False, f"{seen.attacker} found no file open that it had not been given.")


ATTACK = Attack(
    "K05",
    "It searches its pockets for files and lines that the start-up program forgot to take away.",
    effect,
    inject,
    parameters={"copies": Between(1, COPIES_MAX)},
    walls=("fds",),
)
