"""Where the folders of runs lie, and the removal of those whose owner ended without removing them.

Each folder bears a mark: which process made it, and when that process began. A folder without a mark that can be read,
or of a process that may still live, is never touched: when in doubt it stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "bh-"
MARK = "owner"
FALLBACK = Path("/tmp")
#: Of a Unix socket's path, in bytes, and of what a run adds to the folder in which its own lies.
SOCKET_PATH_BYTES_MAX = 107
_BELOW_BASE_BYTES = (
    len(f"/{PREFIX}12345678/ch/") + 31 + len("/gate.sock")
)  # a partition's name has at most 31
_MARK_BYTES_MAX = 256
_START_FIELD = 19  # of /proc/PID/stat, after the name


def base() -> Path:
    """``TMPDIR`` if sockets below it have paths that fit and every user can reach them, else ``/tmp``.

    A partition with a user id of its own has to get there, too.
    """
    named = os.environ.get("TMPDIR")
    if not named:
        return FALLBACK
    folder = Path(named).absolute()
    fits = len(os.fsencode(folder)) + _BELOW_BASE_BYTES <= SOCKET_PATH_BYTES_MAX
    return folder if fits and os.access(folder, os.W_OK | os.X_OK) and _is_reachable(folder) else FALLBACK


def _is_reachable(folder: Path) -> bool:
    """Whether any user may pass through it. Of an ordinary user all processes have one id, which gets there."""
    if os.geteuid() != 0:
        return folder.is_dir()
    try:
        return all(one.stat().st_mode & stat.S_IXOTH for one in (folder, *folder.parents))
    except OSError:
        return False


@contextlib.contextmanager
def owned() -> Iterator[Path]:
    """A short-named, marked folder that every user may pass through. It is gone at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base()))
    os.chmod(folder, 0o711)
    mark(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def mark(folder: Path) -> None:
    """Say in the folder whose it is. Where procfs does not tell, or the disk is full, it stays without a mark."""
    with contextlib.suppress(OSError):
        (folder / MARK).write_text(f"{_here()} {os.getpid()} {_started(os.getpid())}\n", encoding="ascii")


def sweep(folder: Path) -> list[Path]:
    """Remove what dead owners of this user left in ``folder``. Returns what was removed."""
    removed = []
    for one in sorted(folder.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to see: it stays
            found = one.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and _is_orphaned(one):
                shutil.rmtree(one, ignore_errors=True)
                removed.append(one)
    return removed


def _is_orphaned(folder: Path) -> bool:
    """Whether the mark names a process of this kernel and of this view on processes that is certainly gone.

    Raises ``OSError`` when there is no mark.
    """
    words = _mark_of(folder).split()
    if len(words) != 4 or f"{words[0]} {words[1]}" != _here() or not words[2].isdigit():
        return False
    pid = int(words[2])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    started = _started(pid)
    return started not in ("", words[3])


def _mark_of(folder: Path) -> str:
    """The mark's text; empty when it is no plain file. Raises ``OSError`` when there is none."""
    descriptor = os.open(folder / MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.read(descriptor, _MARK_BYTES_MAX).decode("ascii", "replace")
    finally:
        os.close(descriptor)


def _here() -> str:
    """This boot of this kernel and this PID namespace: outside them a PID means another process.

    Raises ``OSError``.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _started(pid: int) -> str:
    """When a process began, in clock ticks since the kernel did; empty when it cannot be seen."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[_START_FIELD]
