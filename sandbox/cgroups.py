"""Control groups: memory, process and CPU limits that cover all a process tree holds, memfd and tmpfs
included.

Version 1 hierarchies are used where they are writable (as root). In version 2 a group that holds processes
cannot hand controllers down, so where our own group was delegated to us its processes first move to a leaf of
it; root may also use the root group, which has no such rule. Groups are removed when their process is buried;
those of a monitor that was killed are swept at the next power-on.
"""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

#: Wall -> controller, for both versions.
CONTROLLERS = {"memcg": "memory", "pidscg": "pids", "cpucg": "cpu"}
PREFIX = "bulkhead_"
#: Where the processes of a delegated version 2 group move to, so that the group can hand controllers down.
HOST_LEAF = "bulkhead-host"
_CPU_PERIOD_US = 100_000
#: The kernel takes no smaller quota.
_CPU_QUOTA_US_MIN = 1_000
_REMOVE_TIMEOUT_S = 1.0
_OPTIONAL = ("memory.swap.max", "memory.memsw.limit_in_bytes", "cpu.rt_runtime_us")
#: A group of ours, with the id of the process that made it.
_OURS = re.compile(r"\Abulkhead_(\d+)_(\d+)_")


class NoHome(OSError):
    """No group of this controller can be made here; ``strerror`` says which part is missing."""

    def __init__(self, why: str) -> None:
        super().__init__(30, why)


@dataclass(frozen=True, slots=True)
class Home:
    """Where a controller's groups can be made: the folder, and the version of the hierarchy."""

    folder: Path
    version: int


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted hierarchy, and the group of the calling process in it."""

    point: Path
    version: int
    controllers: frozenset[str]  # of version 1; version 2 says so in each group
    own: Path


def hierarchies(proc: Path = Path("/proc/self")) -> list[Hierarchy]:
    """The mounted hierarchies, as ``mounts`` and ``cgroup`` below ``proc`` tell."""
    own: dict[str, str] = {}
    for line in (proc / "cgroup").read_text().splitlines():
        _, joined, path = line.split(":", 2)
        own |= dict.fromkeys(joined.split(","), path)
    found = []
    for line in (proc / "mounts").read_text().splitlines():
        _, escaped, kind, options, *_ = line.split()
        if kind not in ("cgroup", "cgroup2"):
            continue
        point = Path(escaped.encode().decode("unicode_escape"))
        names = frozenset(options.split(",")) if kind == "cgroup" else frozenset({""})
        path = next((own[name] for name in names if name in own), "/")
        found.append(Hierarchy(point, 1 if kind == "cgroup" else 2, names, _below(point, path)))
    return found


def _below(point: Path, path: str) -> Path:
    # Inside a container the path may lie outside of what is mounted ("/../..", or a folder that is not
    # there).
    folder = point / path.lstrip("/")
    return folder if ".." not in folder.parts and folder.is_dir() else point


def find_home(controller: str, found: list[Hierarchy] | None = None) -> Home:
    """Where this process may make groups of ``controller``. May move our own delegated group's processes to a
    leaf.

    Raises ``NoHome``.
    """
    why = f"no cgroup hierarchy with {controller} is mounted"
    for each in hierarchies() if found is None else found:
        if each.version == 1 and controller in each.controllers:
            if _is_writable(each.own):
                return Home(each.own, 1)
            why = f"{each.own} is not writable"
        elif each.version == 2 and controller in _words(each.point / "cgroup.controllers"):
            try:
                return Home(_v2_home(each, controller), 2)
            except OSError as error:
                why = error.strerror or str(error)
    raise NoHome(why)


def _v2_home(each: Hierarchy, controller: str) -> Path:
    """The group whose children get ``controller``: our own, or the root group. Raises ``OSError``."""
    own = each.own.parent if each.own.name == HOST_LEAF else each.own
    if controller in _words(own / "cgroup.subtree_control") and _is_writable(own):
        return own
    # The root group is the one without a type; it may hold processes and hand controllers down.
    is_true_root = not (each.point / "cgroup.type").exists()
    if is_true_root and _is_writable(each.point):
        _hand_down(each.point, controller)
        return each.point
    if controller not in _words(own / "cgroup.controllers"):
        raise NoHome(f"{own} was not given the controller {controller}")
    if not _is_delegated(own):
        raise NoHome(f"{own} is not delegated")
    _clear(own)
    _hand_down(own, controller)
    return own


def _hand_down(folder: Path, controller: str) -> None:
    if controller not in _words(folder / "cgroup.subtree_control"):
        (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _is_delegated(folder: Path) -> bool:
    """Whether systemd, or a container's runtime for its root, left this group's inside to us."""
    if not (_is_writable(folder) and os.access(folder / "cgroup.subtree_control", os.W_OK)):
        return False
    try:
        return os.getxattr(folder, "user.delegate") == b"1"
    except OSError:
        return os.geteuid() == 0


def _clear(folder: Path) -> None:
    """Move all processes of a group to its leaf; those that start meanwhile are moved in the next round."""
    leaf = folder / HOST_LEAF
    leaf.mkdir(exist_ok=True)
    for _ in range(10):
        members = _words(folder / "cgroup.procs")
        if not members:
            return
        for pid in members:
            try:
                (leaf / "cgroup.procs").write_text(pid)
            except ProcessLookupError:
                continue
    raise NoHome(f"the processes of {folder} could not be moved to a leaf")


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def title(name: str) -> str:
    """What a group of this process is called: process ids mean something in their own PID namespace only."""
    return f"{PREFIX}{_pid_namespace()}_{os.getpid()}_{name}"


def _pid_namespace() -> int:
    """Which PID namespace this process and the procfs it sees are in; 0 when the two are not the same."""
    try:
        is_ours = os.readlink("/proc/self") == str(os.getpid())
        return os.stat("/proc/self/ns/pid").st_ino if is_ours else 0
    except OSError:
        return 0


class Group:
    """The groups of one confined process, one folder per controller (in version 2 one for all)."""

    def __init__(
        self,
        name: str,
        walls: frozenset[str],
        memory_bytes: int,
        processes: int,
        cpu_share: float,
        rt_us: int = 0,
    ) -> None:
        """Make the groups for the walls given, and see the limits taken. ``cpu_share`` is in processors.

        ``rt_us`` is how much of each second its members may run at real-time priority, where version 1 divides that.

        Raises ``OSError``, having removed what it made.
        """
        self.folders: dict[str, Path] = {}
        self.memory_bytes = memory_bytes
        self._versions: dict[str, int] = {}
        try:
            mounted = hierarchies()
            for wall, controller in CONTROLLERS.items():
                if wall in walls:
                    home = find_home(controller, mounted)
                    self._make(
                        wall, controller, home, name, _limits(memory_bytes, processes, cpu_share, rt_us)
                    )
        except OSError:
            self.remove()
            raise
        self._kills_before = self._memory_kills()

    def _make(
        self,
        wall: str,
        controller: str,
        home: Home,
        name: str,
        values: dict[tuple[str, int], dict[str, str]],
    ) -> None:
        folder = home.folder / name
        folder.mkdir(exist_ok=True)
        self.folders[wall] = folder
        self._versions[wall] = home.version
        for file, value in values[controller, home.version].items():
            _put(folder / file, value)

    @property
    def joined_by(self) -> tuple[str, ...]:
        """The ``cgroup.procs`` files that a process writes its id to."""
        return tuple(str(folder / "cgroup.procs") for folder in self._distinct())

    def _distinct(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(self.folders.values()))

    def described(self, wall: str) -> str:
        """What holds this wall, in words."""
        return f"cgroup v{self._versions[wall]}, {CONTROLLERS[wall]} at {self.folders[wall].parent}"

    def members(self) -> tuple[int, ...]:
        """Process ids still in the group."""
        return tuple(
            sorted({int(word) for folder in self._distinct() for word in _words(folder / "cgroup.procs")})
        )

    def memory_kills(self) -> int:
        """How many times the kernel killed a member for want of memory since the group was made."""
        return self._memory_kills() - self._kills_before

    def _memory_kills(self) -> int:
        folder = self.folders.get("memcg")
        if folder is None:
            return 0
        name = "memory.events" if self._versions["memcg"] == 2 else "memory.oom_control"
        words = _words(folder / name)
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0

    def kill(self) -> None:
        """SIGKILL every member, those forked meanwhile too (at once in version 2)."""
        for folder in self._distinct():
            try:
                (folder / "cgroup.kill").write_text("1")
            except OSError:
                for word in _words(folder / "cgroup.procs"):
                    try:
                        os.kill(int(word), signal.SIGKILL)
                    except ProcessLookupError:
                        continue

    def remove(self) -> bool:
        """Kill what is left in the groups and remove them. Returns whether all are gone within a second."""
        deadline_s = time.monotonic() + _REMOVE_TIMEOUT_S
        left = list(self._distinct())
        while left:
            left = [folder for folder in left if not _remove_folder(folder)]
            if left and time.monotonic() > deadline_s:
                return False
            if left:
                self.kill()
                time.sleep(0.002)
        return True


def _remove_folder(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _limits(
    memory_bytes: int, processes: int, cpu_share: float, rt_us: int
) -> dict[tuple[str, int], dict[str, str]]:
    """Controller and version -> file -> value.

    Memory comes before memory and swap, which may not be smaller.
    """
    quota_us = max(_CPU_QUOTA_US_MIN, int(cpu_share * _CPU_PERIOD_US))
    memory, bound = str(memory_bytes), {"pids.max": str(processes)}
    real_time = {"cpu.rt_runtime_us": str(rt_us)} if rt_us else {}
    return {
        ("memory", 1): {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory},
        ("memory", 2): {"memory.max": memory, "memory.swap.max": "0"},
        ("pids", 1): bound,
        ("pids", 2): bound,
        ("cpu", 1): {"cpu.cfs_period_us": str(_CPU_PERIOD_US), "cpu.cfs_quota_us": str(quota_us)} | real_time,
        ("cpu", 2): {"cpu.max": f"{quota_us} {_CPU_PERIOD_US}"},
    }


def _put(path: Path, value: str) -> None:
    """Write a limit and read it back. The kernel rounds memory down to whole pages."""
    if path.name in _OPTIONAL and not path.exists():
        return  # a kernel without swap accounting, or without real-time groups, has nothing to bound here
    try:
        path.write_text(value)
    except OSError as error:
        raise NoHome(f"{path.name} does not take {value}: {error.strerror}") from None
    taken = path.read_text().strip()
    is_rounded = (
        path.name.startswith("memory.") and taken.isdigit() and 0 <= int(value) - int(taken) < 1 << 16
    )
    if taken != value and not is_rounded:
        raise NoHome(f"{path.name} is {taken} after {value} was written")


def join(procs_files: tuple[str, ...]) -> None:
    """Put the calling process into the groups."""
    for file in procs_files:
        with open(file, "w") as out:
            out.write("0")


def sweep() -> int:
    """Remove the empty groups of processes of this PID namespace that are gone, as a killed monitor leaves them.

    Another namespace's may be alive and not have joined theirs yet. Returns how many.
    """
    removed, here = 0, _pid_namespace()
    homes = {each.own for each in hierarchies()} | {each.own.parent for each in hierarchies()}
    for folder in homes | {each.point for each in hierarchies()}:
        for path in folder.glob(f"{PREFIX}*"):
            match = _OURS.match(path.name)
            # A group that still has members cannot be removed, whoever made it.
            is_here = match is not None and here != 0 and int(match[1]) == here
            if match and is_here and not os.path.exists(f"/proc/{match[2]}"):
                removed += _remove_folder(path)
    return removed
