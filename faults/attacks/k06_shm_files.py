"""K06: leave a file in memory that all programs of the machine share."""

from __future__ import annotations

import os

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations

SHM_BYTES_MAX = 4 << 20


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """A file of ``bytes`` (1 MiB) called ``token``; taken away again."""
    path = f"/dev/shm/{parameters['token']}"
    size = min(int(parameters.get("bytes", 1 << 20)), SHM_BYTES_MAX)
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except OSError as error:
        return bodies.failed(parameters, str(error))
    try:
        written = os.write(fd, b"\xa5" * size)
        bodies.hold(parameters, 0.1)
    finally:
        os.close(fd)
        os.unlink(path)
    return {"bytes": written}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The file was seen where all can see it."""
    if any(path.startswith("/dev/shm/") for path, _ in seen.shared(injection)):
        return Effect(True, "Its file stood in the memory that all processes share.")
    return Effect(False, "No file of its own appeared in shared memory.")


ATTACK = Attack(
    "K06",
    "It tries to leave a file in memory that all programs on the machine share.",
    effect,
    inject,
    parameters={"bytes": Between(1, SHM_BYTES_MAX, by_factor=True)},
    needs=("token",),
    walls=("mntns", "landlock"),
)
