"""R09: fill the disk on which the run keeps its journal, in the run's own folder."""

from __future__ import annotations

import os

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.effects import in_mib
from faults.implant import bodies
from faults.implant.foothold import Foothold, gate_socket
from faults.seen import Observations, bound

FILE_BYTES_MAX = 16 << 20
#: What a partition may leave there: nothing that counts.
BYTES_MAX = 1 << 20


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """A file of ``bytes`` (8 MiB) called ``token`` beside the journal, for ``hold_s`` (0.1); then it is taken away."""
    folder = os.path.join(os.path.dirname(gate_socket(foothold, "own")), "..", "..")
    path = os.path.join(folder, str(parameters["token"]))
    size = min(int(parameters.get("bytes", 8 << 20)), FILE_BYTES_MAX)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    written = 0
    try:
        while written < size:
            written += os.write(file, b"\xa5" * min(1 << 20, size - written))
        bodies.hold(parameters, 0.1)
    finally:
        os.close(file)
        os.unlink(path)
    return {"file_bytes": written}


def effect(seen: Observations, injection: Injection) -> Effect:
    """Too many bytes of it stood beside the journal."""
    held = max((size for _, size in seen.shared(injection)), default=0)
    if held > bound(injection, "bytes_max", BYTES_MAX):
        return Effect(True, f"It put {in_mib(held)} on the disk beside the journal.")
    return Effect(False, "It put nothing that counts on the disk beside the journal.")


ATTACK = Attack(
    "R09",
    "It fills the disk under the journal, in the folder where the journal itself lies.",
    effect,
    inject,
    parameters={"bytes": Between(2 << 20, FILE_BYTES_MAX)},
    needs=("token",),
    walls=("mntns", "landlock", "uid", "rlimits"),
)
