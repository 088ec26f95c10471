"""What attacks on the machine have in common: children, names, files, and holding on to what was taken."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import warnings
from collections.abc import Callable

from faults.attack import Parameters, Report

HOLD_S_MAX = 1.0
#: Where a file may be put, the likeliest place first.
FOLDERS = ("/scratch", "/tmp", "/var/tmp", ".")
_PR_SET_NAME = 15


def hold(parameters: Parameters, usual_s: float) -> None:
    """Keep what was taken for ``hold_s``, long enough for an observer to see it."""
    time.sleep(min(float(parameters.get("hold_s", usual_s)), HOLD_S_MAX))


def failed(parameters: Parameters, note: str) -> Report:
    """The report of an attack that got nothing, after a pause in which an observer can see that there is nothing."""
    hold(parameters, 0.1)
    return {"note": note}


def fork() -> int:
    """``os.fork`` without Python's warning about threads. Raises ``OSError``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def breed(count: int, live: Callable[[], None], seconds_max: int) -> tuple[int, str]:
    """Up to ``count`` children, each to ``live`` and end, after ``seconds_max`` at the latest; nobody waits for them.

    How many were born, and why not more.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    for born in range(count):
        try:
            child = fork()
        except OSError as error:
            return born, str(error)
        if child == 0:
            signal.alarm(seconds_max)
            live()
            os._exit(0)
    return count, ""


def status_of(child: int) -> int | None:
    """Wait for a child. ``None`` when the kernel has buried it already (SIGCHLD may be ignored)."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except ChildProcessError:
        return None


def take_name(token: str) -> None:
    """Call this process ``token`` (15 characters at most)."""
    with contextlib.suppress(OSError, ImportError):
        with open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write(token[:15])
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_NAME, token[:15].encode(), 0, 0, 0)


def new_file(name: str, mode: int = 0o600) -> tuple[int, str]:
    """A new file in the first folder that takes it: its descriptor (-1: nowhere) and its path."""
    for folder in FOLDERS:
        with contextlib.suppress(OSError):
            path = os.path.join(folder, name)
            return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), path
    return -1, ""
