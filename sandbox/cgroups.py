"""Control groups: memory, process and CPU limits that cover all a process tree holds, memfd and tmpfs included.

Version 1 hierarchies are used where they are writable (as root), version 2 where our own group was delegated to us.
A group lives below the monitor's own group and is removed when the monitor stops.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

#: Wall -> controller, for both versions.
CONTROLLERS = {"memcg": "memory", "pidscg": "pids", "cpucg": "cpu"}
#: Groups are named ``bulkhead-<pid of the monitor>-<process>``.
GROUP_PREFIX = "bulkhead"
_CPU_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True)
class Home:
    """Where a controller's groups can be made: the folder, and the version of the hierarchy."""

    folder: Path
    version: int


def find_home(controller: str) -> Home | None:
    """The folder below which this process may make groups of ``controller``, or ``None``."""
    own = _own_groups()
    for mount in _mounts():
        if mount.kind == "cgroup" and controller in mount.options:
            folder = mount.point / own.get(controller, "/").lstrip("/")
            if os.access(folder, os.W_OK):
                return Home(folder, 1)
        if mount.kind == "cgroup2":
            folder = mount.point / own.get("", "/").lstrip("/")
            if _is_delegated(folder, controller):
                return Home(folder, 2)
    return None


@dataclass(frozen=True, slots=True)
class _Mount:
    point: Path
    kind: str
    options: frozenset[str]


def _mounts() -> list[_Mount]:
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            found.append(_Mount(Path(point), kind, frozenset(options.split(","))))
    return found


def _own_groups() -> dict[str, str]:
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            groups[name] = path
    return groups


def _is_delegated(folder: Path, controller: str) -> bool:
    try:
        enabled = (folder / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
    return controller in enabled and os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)


class Group:
    """The groups of one confined process, one folder per controller."""

    def __init__(self, name: str, walls: frozenset[str], memory_bytes: int, processes: int, cpu_share: float) -> None:
        """Make the groups for the walls given. ``cpu_share`` is in processors. Raises ``OSError``."""
        self.folders: dict[str, Path] = {}
        self.memory_bytes = memory_bytes
        for wall, controller in CONTROLLERS.items():
            if wall not in walls:
                continue
            home = find_home(controller)
            if home is None:
                raise OSError(30, f"no writable control group for {controller}")
            folder = home.folder / name
            folder.mkdir(exist_ok=True)
            self.folders[wall] = folder
            for file, value in _settings(controller, home.version, memory_bytes, processes, cpu_share):
                _put(folder / file, value)

    @property
    def joined_by(self) -> tuple[str, ...]:
        """The ``cgroup.procs`` files that a process writes its id to."""
        return tuple(str(folder / "cgroup.procs") for folder in dict.fromkeys(self.folders.values()))

    def members(self) -> tuple[int, ...]:
        """Process ids still in the group."""
        found: set[int] = set()
        for folder in self.folders.values():
            found.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
        return tuple(sorted(found))

    def memory_kills(self) -> int:
        """How many times the kernel killed a member for want of memory."""
        folder = self.folders.get("memcg")
        if folder is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            if (folder / name).exists():
                rows = dict(line.split() for line in (folder / name).read_text().splitlines() if " " in line)
                return int(rows.get("oom_kill", 0))
        return 0

    def remove(self) -> None:
        """Remove the groups; a member that the kernel is still burying gets up to a second."""
        for folder in dict.fromkeys(self.folders.values()):
            deadline = time.monotonic() + 1.0
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.002)
                else:
                    break


def remove_abandoned() -> None:
    """Remove empty groups of monitors that were killed before they could. The name holds the monitor's pid."""
    homes = (find_home(controller) for controller in CONTROLLERS.values())
    for home in (home for home in homes if home is not None):
        for folder in home.folder.glob(f"{GROUP_PREFIX}-*"):
            if os.path.exists(f"/proc/{folder.name.split('-')[1]}"):
                continue
            with contextlib.suppress(OSError):  # another monitor removes it at the same time, or it has members
                folder.rmdir()


def _settings(
    controller: str, version: int, memory_bytes: int, processes: int, cpu_share: float
) -> list[tuple[str, str]]:
    quota_us = int(cpu_share * _CPU_PERIOD_US)
    table: dict[tuple[str, int], list[tuple[str, str]]] = {
        ("memory", 1): [("memory.limit_in_bytes", str(memory_bytes))],
        ("memory", 2): [("memory.max", str(memory_bytes)), ("memory.swap.max", "0")],
        ("pids", 1): [("pids.max", str(processes))],
        ("pids", 2): [("pids.max", str(processes))],
        ("cpu", 1): [("cpu.cfs_period_us", str(_CPU_PERIOD_US)), ("cpu.cfs_quota_us", str(quota_us))],
        ("cpu", 2): [("cpu.max", f"{quota_us} {_CPU_PERIOD_US}")],
    }
    return table[controller, version]


def _put(path: Path, value: str) -> None:
    if path.name == "memory.swap.max" and not path.exists():
        return  # a kernel without swap accounting has nothing to bound here
    path.write_text(value)


def join(procs_files: tuple[str, ...]) -> None:
    """Put the calling process into the groups."""
    for file in procs_files:
        with open(file, "w") as out:
            out.write("0")
