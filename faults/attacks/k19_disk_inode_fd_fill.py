"""K19: open files without end, and fill the disk."""

from __future__ import annotations

import contextlib
import os

from faults.attack import Attack, Between, CannotTell, Effect, Injection, Parameters, Report
from faults.effects import in_mib
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound

DESCRIPTORS_MAX = 2_048
FILE_BYTES_MAX = 8 << 20
FILES_MAX = 64
SHARED_BYTES_MAX = 1 << 20


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """As many descriptors as it can get (``count`` 1,024), and a file of ``bytes`` (8 MiB).

    The file is called ``token`` and is taken away again.
    """
    count = min(int(parameters.get("count", 1_024)), DESCRIPTORS_MAX)
    held: list[int] = []
    report: Report = {}
    path = ""
    try:
        file_fd, path = bodies.new_file(str(parameters["token"]))
        if file_fd >= 0:
            held.append(file_fd)
            size = min(int(parameters.get("bytes", FILE_BYTES_MAX)), FILE_BYTES_MAX)
            report["file_bytes"] = _fill(file_fd, size)
        while len(held) < count:
            held.append(os.dup(2))
    except OSError as error:
        report["note"] = str(error)
    report["descriptors"] = len(held)
    bodies.hold(parameters, 0.1)
    for fd in held:
        os.close(fd)
    if path:
        os.unlink(path)
    return report


def _fill(fd: int, size: int) -> int:
    total = 0
    with contextlib.suppress(OSError):
        while total < size:
            total += os.write(fd, b"\xa5" * min(65_536, size - total))
    return total


def effect(seen: Observations, injection: Injection) -> Effect:
    """Too many bytes of it stood on the machine's disk, or it held too many descriptors."""
    files_max = bound(injection, "files_max", FILES_MAX)
    bytes_max = bound(injection, "file_bytes_max", SHARED_BYTES_MAX)
    held = max((size for _, size in seen.shared(injection)), default=0)
    most = max(peak.fds_max for peak in seen.peaks_of(injection, seen.attacker))
    if held > bytes_max:
        return Effect(True, f"It put {in_mib(held)} on the machine's shared disk.")
    if most < 0:
        raise CannotTell(f"{seen.attacker}'s descriptors could not be looked at")
    return Effect(
        most > files_max, f"{seen.attacker} had at most {most} descriptors; the bound is {files_max:.0f}."
    )


ATTACK = Attack(
    "K19",
    "It opens files without end and fills the disk.",
    effect,
    inject,
    parameters={"count": Between(100, DESCRIPTORS_MAX), "bytes": Between(2 << 20, FILE_BYTES_MAX)},
    needs=("token",),
    walls=("mntns", "rlimits"),
)
