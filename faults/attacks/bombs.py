"""Attacks that use up what partitions share: processes, memory, descriptors, files.

Each bomb has a bound of its own and takes back what it used.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import time
import warnings

from faults.implant.foothold import Foothold, Parameters, Report

CHILDREN_MAX = 64
CHILD_S_MAX = 5.0
MEMORY_BYTES_MAX = 600_000_000
DESCRIPTORS_MAX = 2_048
FILE_BYTES_MAX = 8 << 20
HOLD_S_MAX = 1.0
_STEP_BYTES = 8 << 20


def _hold(parameters: Parameters, usual_s: float) -> None:
    """Keep what was taken long enough for an observer to see it."""
    time.sleep(min(float(parameters.get("hold_s", usual_s)), HOLD_S_MAX))


def forks(_foothold: Foothold, parameters: Parameters) -> Report:
    """K16: ``count`` (64) children that end by themselves after ``seconds`` (2)."""
    count = min(int(parameters.get("count", CHILDREN_MAX)), CHILDREN_MAX)
    seconds = min(float(parameters.get("seconds", 2.0)), CHILD_S_MAX)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    born, note = 0, ""
    for _ in range(count):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                child = os.fork()
        except OSError as error:
            note = str(error)
            break
        if child == 0:
            signal.alarm(int(CHILD_S_MAX))
            time.sleep(seconds)
            os._exit(0)
        born += 1
    _hold(parameters, 0.1)
    return {"children": born, "note": note}


def anonymous_memory(_foothold: Foothold, parameters: Parameters) -> Report:
    """K17: anonymous memory, every page really taken. ``bytes`` (595 MB)."""
    size = min(int(parameters.get("bytes", 595_000_000)), MEMORY_BYTES_MAX)
    held: list[mmap.mmap] = []
    taken = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    total, note = 0, ""
    try:
        while total < size:
            step = min(_STEP_BYTES, size - total)
            held.append(mmap.mmap(-1, step, flags=taken))
            total += step
    except (OSError, MemoryError) as error:
        note = f"{type(error).__name__}: {error}"
    _hold(parameters, 0.1)
    for block in held:
        block.close()
    return {"bytes": total, "note": note}


def memfd(_foothold: Foothold, parameters: Parameters) -> Report:
    """K18: memory in a file that has no name and no limit of its own. ``bytes`` (300 MB)."""
    size = min(int(parameters.get("bytes", 300_000_000)), MEMORY_BYTES_MAX)
    fd = os.memfd_create("bomb")
    total, note = 0, ""
    try:
        block = b"\xa5" * _STEP_BYTES
        while total < size:
            total += os.write(fd, block[: size - total])
    except OSError as error:
        note = str(error)
    _hold(parameters, 0.15)
    os.close(fd)
    return {"bytes": total, "note": note}


def descriptors_and_files(_foothold: Foothold, parameters: Parameters) -> Report:
    """K19: as many open descriptors as it can get (``count`` 1024), and a file of ``bytes`` (8 MiB).

    The file is called ``token`` and is taken away again.
    """
    count = min(int(parameters.get("count", 1_024)), DESCRIPTORS_MAX)
    held: list[int] = []
    report: Report = {}
    path = ""
    try:
        file_fd, path = _new_file(str(parameters["token"]))
        if file_fd >= 0:
            held.append(file_fd)
            report["file_bytes"] = _fill(
                file_fd, min(int(parameters.get("bytes", FILE_BYTES_MAX)), FILE_BYTES_MAX)
            )
        while len(held) < count:
            held.append(os.dup(2))
    except OSError as error:
        report["note"] = str(error)
    report["descriptors"] = len(held)
    _hold(parameters, 0.1)
    for fd in held:
        os.close(fd)
    if path:
        os.unlink(path)
    return report


def _new_file(token: str) -> tuple[int, str]:
    for folder in ("/scratch", "/tmp", "/var/tmp", "."):
        with contextlib.suppress(OSError):
            path = os.path.join(folder, token)
            return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), path
    return -1, ""


def _fill(fd: int, size: int) -> int:
    total = 0
    with contextlib.suppress(OSError):
        while total < size:
            total += os.write(fd, b"\xa5" * min(65_536, size - total))
    return total
