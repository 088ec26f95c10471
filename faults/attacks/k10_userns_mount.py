"""K10: become administrator of a little world of its own, and mount a disk there."""

from __future__ import annotations

import ctypes
import os
import signal
import time

from faults.attack import Attack, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations

CHILD_S_MAX = 3.0
_NEW_USER_AND_MOUNT_NAMESPACE = 0x1002_0000


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """A child with a user and mount namespace of its own, root in it, that mounts a file system."""
    libc = ctypes.CDLL(None, use_errno=True)
    hold_s = min(float(parameters.get("hold_s", 0.15)), CHILD_S_MAX)
    try:
        child = bodies.fork()
    except OSError as error:
        return bodies.failed(parameters, str(error))
    if child == 0:
        signal.alarm(int(CHILD_S_MAX))
        is_in = libc.unshare(_NEW_USER_AND_MOUNT_NAMESPACE) == 0
        is_mounted = is_in and libc.mount(b"none", b"/", b"tmpfs", 0, None) == 0
        time.sleep(hold_s if is_in else 0)
        os._exit(is_in + 2 * is_mounted)
    return {"status": bodies.status_of(child)}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A process of the attacker was seen in a user namespace that nobody gave it."""
    if any(peak.has_foreign_user_namespace for peak in seen.peaks_of(injection, seen.attacker)):
        return Effect(True, f"{seen.attacker} had a process in a user namespace of its own making.")
    return Effect(False, f"All of {seen.attacker}'s processes stayed in its user namespace.")


ATTACK = Attack(
    "K10",
    "It tries to make itself administrator of a little world of its own, and mount a disk there.",
    effect,
    inject,
    walls=("seccomp",),
)
