"""What processes leave in tables of the kernel that belong to no process: shared memory, keys, the clock's error.

Read from the harness's own namespaces: what is found here was left where all on the machine can find it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from faults.implant import timex

_SHARED_MEMORY = "/proc/sysvipc/shm"
_KEYS = "/proc/keys"
#: Columns of ``/proc/sysvipc/shm`` (proc_sysvipc(5)).
_SIZE_COLUMN, _CREATOR_COLUMN = 3, 4


def shared_segments() -> Iterator[tuple[int, int]]:
    """System V shared memory segments: the creator's pid and the size in bytes."""
    with contextlib.suppress(OSError), open(_SHARED_MEMORY, encoding="ascii") as file:
        next(file, "")
        for line in file:
            words = line.split()
            yield int(words[_CREATOR_COLUMN]), int(words[_SIZE_COLUMN])


def keys(token: str) -> list[str]:
    """Descriptions, each beginning with ``token``, of keys that this process may see."""
    with contextlib.suppress(OSError), open(_KEYS, encoding="utf-8", errors="replace") as file:
        words = [word.rstrip(":") for word in file.read().split()]
        return [word for word in words if word.startswith(token)]
    return []


class ClockError:
    """The estimate of the clock's error that the kernel keeps, which grows by itself and harms nobody.

    Only who may set the clock may set it, so that a jump shows the right, and no clock has moved.
    """

    def __init__(self) -> None:
        self._last_us = timex.maximum_error_us()

    def jump_us(self) -> int:
        """By how many microseconds it has changed since the last call."""
        now_us = timex.maximum_error_us()
        change, self._last_us = now_us - self._last_us, now_us
        return change


def total(segments: Iterator[tuple[int, int]], owners: Mapping[int, str]) -> dict[str, int]:
    """Bytes of segments by the label of the process that made them; others' are left out."""
    found: dict[str, int] = {}
    for pid, size in segments:
        if pid in owners:
            found[owners[pid]] = found.get(owners[pid], 0) + size
    return found
