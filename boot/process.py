"""A boot stage's own process, before it knows a secret: named, without core files, closed to debuggers of its user.

The kernel opens a process again when it becomes another program, so each stage closes itself anew. Until it has, for
some ten milliseconds, another process of the same user could open the memory file with its handover.
"""

from __future__ import annotations

import ctypes
import os
import resource

_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_NAME_BYTES_MAX = 15


def close_memory(name: str) -> None:
    """Leave no core file, and let nobody read this memory who is not privileged; ``name`` is how it is listed.

    The hard limit of core files stays as it is: whether a confined process may raise its own is the wall ``rlimits``.
    Raises ``OSError``.
    """
    _prctl(_PR_SET_NAME, name.encode()[:_NAME_BYTES_MAX])
    _prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0))
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _prctl(option: int, value: bytes | ctypes.c_ulong) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    none = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), value, none, none, none) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")
