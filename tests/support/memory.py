"""Looks for bytes in the memory of a live process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_NOT_READABLE = ("[vvar", "[vsyscall")


def found_in(pid: int, wanted: Mapping[str, bytes]) -> dict[str, int]:
    """How often each of these is in what the process has mapped and may read."""
    found = dict.fromkeys(wanted, 0)
    areas = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for area in areas:
            span, permissions = area.split()[:2]
            if "r" not in permissions or any(name in area for name in _NOT_READABLE):
                continue
            begin, end = (int(edge, 16) for edge in span.split("-"))
            content = _read(memory.fileno(), begin, end)
            for name, value in wanted.items():
                found[name] += content.count(value)
    return found


def _read(descriptor: int, begin: int, end: int) -> bytes:
    """What can be read there; an area that has gone meanwhile has nothing."""
    try:
        return os.pread(descriptor, end - begin, begin)
    except OSError:
        return b""
