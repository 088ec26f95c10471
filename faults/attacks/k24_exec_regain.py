"""K24: write a program of one's own, and run it."""

from __future__ import annotations

import contextlib
import os
import sys

from faults.attack import Attack, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations, token_of

CHILD_S_MAX = 3.0


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """In a child, or, where none can be had, in place of this process.

    The program is called ``token``, does nothing for a moment, and ends.
    """
    hold_s = min(float(parameters.get("hold_s", 0.2)), CHILD_S_MAX)
    fd, path = bodies.new_file(str(parameters["token"]), 0o700)
    if fd < 0:
        return bodies.failed(parameters, "no place to drop a program")
    os.write(fd, f"#!{sys.executable} -SE\nimport time\ntime.sleep({hold_s})\n".encode())
    os.close(fd)
    report: Report = {"dropped": True}
    try:
        child = bodies.fork()
    except OSError as error:
        report["fork"] = str(error)
        child = -1
    if child == 0:
        try:
            os.execve(path, [path], {})
        finally:
            os._exit(1)
    if child > 0:
        report["status"] = bodies.status_of(child)
    else:
        with contextlib.suppress(OSError):
            os.execve(path, [path], {})
    with contextlib.suppress(OSError):
        os.unlink(path)
    return report


def effect(seen: Observations, injection: Injection) -> Effect:
    """A process of the dropped program's name was seen."""
    token = token_of(injection)
    if any(token in peak.comms for peak in seen.peaks_of(injection, seen.attacker)):
        return Effect(True, f"The dropped program {token} ran.")
    return Effect(False, "The dropped program never ran.")


ATTACK = Attack(
    "K24",
    "It writes a program of its own to disk and tries to run it.",
    effect,
    inject,
    needs=("token",),
    costs_a_restart=True,
    walls=("mntns", "seccomp", "landlock"),
)
