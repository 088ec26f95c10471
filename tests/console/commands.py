"""The command line as people start it: a process of its own, in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120


def broken_incubator(folder: Path, partition: str) -> str:
    """The example's design with one partition whose code does not load; for ``--design``."""
    design = folder / "incubator"
    shutil.copytree(ROOT / "examples" / "thermostat", design)
    with (design / "images" / partition / "main.py").open("a", encoding="utf-8") as code:
        code.write("\nimport no_such_module_here\n")
    return str(design)


def start(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start it and return at once."""
    return subprocess.Popen(
        [sys.executable, "run_device.py", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (environment or {}),
    )


def start_on_terminal(
    *arguments: str, width: int = 100, height: int = 30
) -> tuple[subprocess.Popen[bytes], int]:
    """Start it on a terminal of its own; returns the process and the terminal's other end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "run_device.py", *arguments],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color", "NO_COLOR": ""},
        start_new_session=True,
    )
    os.close(theirs)
    return process, ours


def read_terminal(end: int, seconds: float) -> str:
    """All that appears within so many seconds, or until the other end is closed."""
    shown, until = b"", time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([end], [], [], left)[0]:
            try:
                shown += os.read(end, 65_536)
            except OSError:  # the kernel's way of saying that nobody has the terminal open any more
                break
    return shown.decode("utf-8", "replace")


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    process = start(*arguments, environment=environment)
    out, err = process.communicate(timeout=LIMIT_S)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def descendants(pid: int) -> set[tuple[int, str]]:
    """All processes below ``pid`` now, each with its start time, so that a reused pid is not taken for it."""
    found: set[tuple[int, str]] = set()
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                born = started(int(child))
                if born:
                    found |= {(int(child), born)} | descendants(int(child))
    except OSError:
        return found
    return found


def started(pid: int) -> str:
    """When a process began, in clock ticks; empty when it is gone or a zombie."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]


def stop_after(
    process: subprocess.Popen[str], seconds: float, number: signal.Signals
) -> tuple[str, str, set[tuple[int, str]]]:
    """Let it run for so long from its first child on, send a signal, wait for its end.

    Returns what it printed, and which descendants still live.
    """
    seen: set[tuple[int, str]] = set()
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until and process.poll() is None:
        is_first = not seen
        seen |= descendants(process.pid)
        if is_first and seen:
            until = time.monotonic() + seconds
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT_S)
    assert seen, "no process was ever seen, so nothing can be said about what was left"
    return out, err, {(pid, born) for pid, born in seen if started(pid) == born}
