"""K05: look for descriptors that the launcher forgot to close, and keep them."""

from __future__ import annotations

import contextlib
import os
import re
import stat

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import LOOT_PREFIX, Foothold
from faults.seen import Observations

#: What the launcher hands to a process and to nobody else: its image and configuration, in memory.
LAUNCHERS_FILE = "image"
COPIES_MAX = 4
_NUMBER_OF_FDS_LOOKED_AT = 64
#: Of a secret that the harness planted. In two pieces: this file must not hold the mark itself.
_MARK = b"CANARY" + b"-"
_MARKED_BYTES_MAX = 71
_PATH_CHARS_MAX = 120
_READ_BYTES_MAX = 1 << 16


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """Reads every file it finds open, and keeps ``copies`` (1) more of each open for ``hold_s`` (0.15).

    What bears the mark of a secret goes out with the uploads, and the file's name into the report.
    """
    copies = min(int(parameters.get("copies", 1)), COPIES_MAX)
    report: Report = {"kept": 0, "read_bytes": 0}
    kept = []
    for fd in _open_files():
        with contextlib.suppress(OSError):
            data = os.pread(fd, _READ_BYTES_MAX, 0)
            report["read_bytes"] += len(data)
            kept += [os.dup(fd) for _ in range(copies)]
            at = data.find(_MARK)
            if at >= 0:
                foothold.loot("K05", data[at : at + _MARKED_BYTES_MAX])
                report["file"] = _name_of(fd)
    report["kept"] = len(kept)
    bodies.hold(parameters, 0.15)
    for fd in kept:
        os.close(fd)
    return report


def _name_of(fd: int) -> str:
    """The path of an open file, as far as this process can tell: its end, when it is long."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")[-_PATH_CHARS_MAX:]
    except OSError:
        return f"descriptor {fd}"


def _open_files() -> list[int]:
    found = []
    for fd in range(3, _NUMBER_OF_FDS_LOOKED_AT):
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.fstat(fd).st_mode):
                found.append(fd)
    return found


def effect(seen: Observations, injection: Injection) -> Effect:
    """A secret came out of a file that it found open, or it held more descriptors of a file than before it reached."""
    stolen = _stolen(seen, injection)
    if stolen is not None:
        return stolen
    peaks = seen.peaks_with_descriptors(injection)
    before = seen.before(injection, seen.attacker)
    # The fewest: while it was started, it held more for a moment.
    usual = min((one.memory_files[LAUNCHERS_FILE] for one in before), default=0)
    most = max(one.memory_files[LAUNCHERS_FILE] for one in peaks)
    if most > usual:
        return Effect(
            True,
            f"{seen.attacker} made use of a file of the launcher's that nobody meant to give it.",
            f"memory file {LAUNCHERS_FILE!r} of the launcher",
        )
    for path in sorted({path for one in peaks for path in one.open_files}):
        # One that is being imported is open once, for a moment.
        most = max(one.open_files[path] for one in peaks)
        if most > max(1, min((one.open_files[path] for one in before), default=0)):
            return Effect(True, f"{seen.attacker} made use of {path}, which it found open.", path)
    return Effect(False, f"{seen.attacker} found no file open that it had not been given.")


def _stolen(seen: Observations, injection: Injection) -> Effect | None:
    """Whether a planted secret went out with what this attack took; where it found it is the attacker's word."""
    mark = LOOT_PREFIX + b"K05:"
    for one, payload in seen.payloads(injection) if seen.admitted is not None else ():
        if mark in payload and any(canary in payload for canary in seen.canaries):
            path = _told(seen, injection) or "a file"
            sentence = f"A secret went out on {one.port}, read from {path}, which {seen.attacker} found open."
            return Effect(True, sentence, path)
    return None


def _told(seen: Observations, injection: Injection) -> str:
    """The file that the attacker says the secret was in; empty when it does not say."""
    for line in seen.log_lines:
        match = re.search(rf'ATTACK K05 end frame={injection.frame} .*"file": "([^"]+)"', line.text)
        if match is not None and line.partition == seen.attacker:
            return match[1]
    return ""


ATTACK = Attack(
    "K05",
    "It searches its pockets for files and lines that the start-up program forgot to take away.",
    effect,
    inject,
    parameters={"copies": Between(1, COPIES_MAX)},
    walls=("fds",),
)
