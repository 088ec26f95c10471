"""K15: crash on purpose, so that the kernel writes all that the process knows into a file."""

from __future__ import annotations

import os
import resource
import signal

from faults.attack import Attack, Between, CannotTell, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations

CORE_BYTES_MAX = 16 << 20
CHILD_S_MAX = 5


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """A core of ``bytes`` (1 MiB) at most, by a child or, where none can be had, by this process.

    Only in ``folder``, which the harness takes away: on a host that keeps cores elsewhere, or hands them to a
    program, nothing is tried.
    """
    pattern = str(parameters["core_pattern"])
    if not pattern or pattern.startswith(("|", "/")):
        return {"note": f"this host writes cores to {pattern!r}, where none shall be left", "interlock": True}
    folder, size = str(parameters["folder"]), min(int(parameters.get("bytes", 1 << 20)), CORE_BYTES_MAX)
    try:
        child = bodies.fork()
    except OSError:
        child = 0
    if child == 0:
        _crash(folder, size)
    return {"status": bodies.status_of(child)}


def _crash(folder: str, size: int) -> None:
    signal.alarm(CHILD_S_MAX)
    try:
        os.chdir(folder)  # before all else: no core is to lie anywhere else
        resource.setrlimit(resource.RLIMIT_CORE, (size, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (OSError, ValueError):
        os._exit(3)
    os.abort()


def effect(seen: Observations, injection: Injection) -> Effect:
    """A file appeared in the folder in which only a core can appear."""
    if seen.shared_files is None:
        raise CannotTell("nobody looked at the folder")
    folder = str(injection.parameters.get("folder", ""))
    if not folder:
        raise CannotTell("the injection has no folder")
    found = [
        size
        for (frame, path), size in seen.shared_files.items()
        if path.startswith(folder + "/") and injection.covers(frame)
    ]
    if any(found):
        return Effect(True, f"{max(found)} bytes of its memory were written to a file that all can read.")
    return Effect(False, "Nothing of its memory was written to a file.")


ATTACK = Attack(
    "K15",
    "It crashes on purpose, so that the machine writes all it knew into a file.",
    effect,
    inject,
    parameters={"bytes": Between(1 << 16, CORE_BYTES_MAX, by_factor=True)},
    needs=("folder",),
    costs_a_restart=True,
    walls=("rlimits", "dumpable", "mntns", "seccomp", "landlock"),
)
