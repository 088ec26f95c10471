"""Finding another partition's process through procfs, and the interlock that keeps attacks inside the run."""

from __future__ import annotations

import os
from typing import NamedTuple

_ANCESTORS_MAX = 64


class Search(NamedTuple):
    """``pids`` may be attacked.

    ``outside`` counts processes of that name that belong to no process of this run.
    """

    pids: tuple[int, ...]
    outside: int
    note: str


def parent_of(pid: int) -> int:
    """The parent's pid as procfs tells. Raises ``OSError``, also for a process that is gone."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        text = file.read()
    return int(text.rpartition(")")[2].split()[1])


def descends_from(pid: int, ancestor: int) -> bool:
    """Whether ``ancestor`` is ``pid`` or above it in the process tree. Raises ``OSError``."""
    for _ in range(_ANCESTORS_MAX):
        if pid == ancestor:
            return True
        if pid <= 1:
            return False
        pid = parent_of(pid)
    return False


def find(name: str, run_pid: int) -> Search:
    """The processes called ``name`` that descend from ``run_pid``, the root of this run's processes.

    Safety, not realism: on a shared machine another run may have a process of the same name. Without a
    ``run_pid`` (0) nothing may be attacked.
    """
    if not os.path.isdir("/proc/self"):
        return Search((), 0, "no procfs: no other process can be seen")
    found, outside = [], 0
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/comm", encoding="ascii", errors="replace") as file:
                if file.read().strip() != name:
                    continue
            is_ours = run_pid > 0 and descends_from(int(entry), run_pid)
        except OSError:
            continue  # gone, or not for us to see
        if is_ours:
            found.append(int(entry))
        else:
            outside += 1
    return Search(
        tuple(sorted(found)), outside, "" if found else f"no process {name!r} of this run can be seen"
    )


def not_found(search: Search) -> dict[str, object]:
    """The report when there was nobody to attack. ``interlock`` means: somebody, but not of this run."""
    return {"victim": None, "note": search.note, "interlock": search.outside > 0}
