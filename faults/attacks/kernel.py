"""Attacks through the kernel: run something else, become somebody else, stay behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import warnings

from faults.implant import foothold as footholds
from faults.implant.foothold import Foothold, Parameters, Report

SURVIVOR_S_MAX = 60.0
CHILD_S_MAX = 3.0
_IO_URING_SETUP = 425  # the same number on every architecture
_IO_URING_PARAMETERS_BYTES = 120
_NEW_USER_AND_MOUNT_NAMESPACE = 0x1002_0000
_PR_SET_NAME = 15


def _fork() -> int:
    """``os.fork`` without Python's warning about threads. Raises ``OSError``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def _status_of(child: int) -> int | None:
    """Wait for a child. ``None`` when the kernel has buried it already (SIGCHLD may be ignored)."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except ChildProcessError:
        return None


def io_uring(_foothold: Foothold, parameters: Parameters) -> Report:
    """K09: an io_uring: file and network operations that no system-call filter sees."""
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError) as error:
        return {"note": f"no raw system calls: {error}"}
    room = ctypes.create_string_buffer(_IO_URING_PARAMETERS_BYTES)
    fd = libc.syscall(ctypes.c_long(_IO_URING_SETUP), ctypes.c_uint(4), room)
    if fd < 0:
        return {"note": os.strerror(ctypes.get_errno())}
    time.sleep(min(float(parameters.get("hold_s", 0.1)), 1.0))
    os.close(fd)
    return {"ring": True}


def user_namespace(_foothold: Foothold, parameters: Parameters) -> Report:
    """K10: a child with a user and mount namespace of its own, root in it, that mounts a file system."""
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError) as error:
        return {"note": f"no raw system calls: {error}"}
    hold_s = min(float(parameters.get("hold_s", 0.15)), CHILD_S_MAX)
    try:
        child = _fork()
    except OSError as error:
        return {"note": str(error)}
    if child == 0:
        signal.alarm(int(CHILD_S_MAX))
        is_in = libc.unshare(_NEW_USER_AND_MOUNT_NAMESPACE) == 0
        is_mounted = is_in and libc.mount(b"none", b"/", b"tmpfs", 0, None) == 0
        time.sleep(hold_s if is_in else 0)
        os._exit(is_in + 2 * is_mounted)
    return {"status": _status_of(child)}


def exec_dropped(_foothold: Foothold, parameters: Parameters) -> Report:
    """K24: write a program, run it: in a child, or, where none can be had, in place of this process.

    The program is called ``token``, does nothing for a moment, and ends.
    """
    token = str(parameters["token"])
    hold_s = min(float(parameters.get("hold_s", 0.2)), CHILD_S_MAX)
    path = _drop(token, f"#!{sys.executable} -SE\nimport time\ntime.sleep({hold_s})\n")
    if not path:
        return {"note": "no place to drop a program"}
    report: Report = {"dropped": True}
    try:
        child = _fork()
    except OSError as error:
        report["fork"] = str(error)
        child = -1
    if child == 0:
        try:
            os.execve(path, [path], {})
        finally:
            os._exit(1)
    if child > 0:
        report["status"] = _status_of(child)
    else:
        with contextlib.suppress(OSError):
            os.execve(path, [path], {})
    with contextlib.suppress(OSError):
        os.unlink(path)
    return report


def _drop(name: str, text: str) -> str:
    for folder in ("/scratch", "/tmp", "/var/tmp", "."):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o700)
            os.write(fd, text.encode())
            os.close(fd)
            return path
    return ""


def outlive_the_kill(foothold: Foothold, parameters: Parameters) -> Report:
    """K25: a grandchild in its own session, deaf to SIGTERM, that stays when the partition goes.

    It takes the name ``token`` and ends by itself after ``seconds`` (30) or at ``deadline_unix_s``. Then the
    partition ends itself, unless ``provoke`` is "none": whatever is left afterwards has outlived it.
    """
    until = time.time() + min(float(parameters.get("seconds", 30.0)), SURVIVOR_S_MAX)
    until = min(until, float(parameters.get("deadline_unix_s", until)))
    report: Report = {}
    try:
        child = _fork()
    except OSError as error:
        report["note"] = str(error)
        child = -1
    if child == 0:
        _become_survivor(str(parameters["token"]), until)
    if child > 0:
        _status_of(child)
        time.sleep(0.05)
    if parameters.get("provoke", "exit") == "exit":
        footholds.say("K25", foothold.window.frame, report | {"then": "ends the partition"})
        os._exit(0)
    return report


def _become_survivor(token: str, until_unix_s: float) -> None:
    """The first child: fork again and go, so that the second one has no parent here. Never returns."""
    try:
        os.setsid()
        if _fork() > 0:
            os._exit(0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.alarm(int(SURVIVOR_S_MAX))
        _take_name(token)
        os.closerange(0, 256)
        while time.time() < until_unix_s:
            time.sleep(0.1)
    finally:
        os._exit(0)


def _take_name(token: str) -> None:
    """Call this process ``token`` (15 characters at most)."""
    with contextlib.suppress(OSError, ImportError):
        with open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write(token[:15])
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_NAME, token[:15].encode(), 0, 0, 0)
