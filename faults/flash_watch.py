"""Sees that somebody opens a file in a folder of the flash, and acts at once: inotify(7), in a thread.

Whoever has opened a file keeps reading the bytes that lay there then, whatever takes its name; whoever opens it later
gets the others.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

#: From <sys/inotify.h>: flags of an instance, and the event of a file that is opened.
_CLOEXEC, _NONBLOCK, _OPENED = 0o2000000, 0o4000, 0x20
_HEAD = struct.Struct("iIII")
_POLL_MS = 100
#: A device that has not come so far by then never will.
DEADLINE_S = 90.0


class OnOpen:
    """Acts when files of one folder are opened: each step waits for its file and then does its work, in their order.

    Use as a context manager. Raises ``OSError`` where the host grants no inotify instance.
    """

    def __init__(self, folder: Path, steps: Sequence[tuple[str, Callable[[], None]]]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._steps = list(steps)
        self._is_over = threading.Event()
        self._watch = libc.inotify_init1(_CLOEXEC | _NONBLOCK)
        if self._watch < 0 or libc.inotify_add_watch(self._watch, os.fsencode(folder), _OPENED) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
        self._thread = threading.Thread(target=self._wait, name="flash", daemon=True)

    def __enter__(self) -> OnOpen:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        os.close(self._watch)

    def _wait(self) -> None:
        poller = select.poll()
        poller.register(self._watch, select.POLLIN)
        polls = int(DEADLINE_S * 1_000 / _POLL_MS)
        while self._steps and polls and not self._is_over.is_set():
            polls -= 1
            if poller.poll(_POLL_MS):
                for name in self._opened():
                    if self._steps and self._steps[0][0] == name:
                        _, work = self._steps.pop(0)
                        work()

    def _opened(self) -> list[str]:
        """The names of the files that were opened since the last look."""
        found = []
        with suppress(BlockingIOError):
            content = os.read(self._watch, 1 << 16)
            at = 0
            while at < len(content):
                *_, length = _HEAD.unpack_from(content, at)
                at += _HEAD.size
                found.append(os.fsdecode(content[at : at + length].rstrip(b"\0")))
                at += length
        return found
