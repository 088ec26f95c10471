"""The hole inventory: a live process compared with what was declared for it.

Taken at every start, after a process has sealed itself and before its own code may run, from outside, by
reading /proc. Every difference is a sentence; a device with one does not start.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from sandbox import namespaces, rootfs

#: libzmq's two threads and the main one.
THREADS = 3
#: Seccomp filters that the launch adds.
FILTERS = 2


@dataclass(frozen=True, slots=True)
class Expected:
    """What was declared for one process."""

    walls: frozenset[str]
    outer_uid: int
    is_gate: bool
    has_scratch: bool
    files_max: int
    packages: tuple[str, ...]
    #: The channel's folder outside, to see that it is this one which is mounted; not compared when empty.
    channel: str = ""


def differences(pid: int, expected: Expected) -> list[str]:
    """Compare process ``pid`` with what is expected of it. Each entry is one hole, named in words."""
    try:
        found = [
            *_status(pid, expected),
            *_namespaces(pid, expected),
            *_descriptors(pid, expected),
            *_mounts(pid, expected),
            *_limits(pid, expected),
        ]
    except OSError as error:
        return [f"cannot be inspected ({error.filename}: {error.strerror}), so nothing is known of it"]
    return found


def status_fields(path: str) -> dict[str, str]:
    """The rows of a ``/proc/.../status`` file."""
    rows = (line.split(":", 1) for line in Path(path).read_text().splitlines())
    return {name: value.strip() for name, value in rows}


def _status(pid: int, expected: Expected) -> list[str]:
    found: list[str] = []
    own = status_fields("/proc/self/status")
    threads = os.listdir(f"/proc/{pid}/task")
    if len(threads) > THREADS:
        found.append(f"has {len(threads)} threads, {THREADS} are declared")
    for thread in threads:
        children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        if children:
            found.append(f"has {len(children)} processes of its own, none is declared before its code runs")
        fields = status_fields(f"/proc/{pid}/task/{thread}/status")
        found += [f"thread {thread}: {line}" for line in _thread(fields, own, expected)]
    return found


def _thread(fields: dict[str, str], own: dict[str, str], expected: Expected) -> list[str]:
    walls = expected.walls
    found: list[str] = []
    if "seccomp" in walls and fields.get("Seccomp") != "2":
        found.append(f"seccomp mode is {fields.get('Seccomp')}, 2 (filter) is declared")
    # Filters that the monitor itself runs under, as in a container, are inherited and count on top.
    filters = int(fields.get("Seccomp_filters", "2")) - int(own.get("Seccomp_filters", "0"))
    if "seccomp" in walls and filters < FILTERS:
        found.append(f"{filters} seccomp filters, {FILTERS} are declared (launch and sealed)")
    if "nnp" in walls and fields.get("NoNewPrivs") != "1":
        found.append("can gain new privileges")
    if "caps" in walls:
        # Without a namespace of its own an ordinary user cannot empty the bounding set, and has nothing in
        # it.
        can_drop = "userns" in walls or os.geteuid() == 0
        names = ("CapInh", "CapPrm", "CapEff", "CapAmb", *(("CapBnd",) if can_drop else ()))
        held = [name for name in names if int(fields[name], 16) != 0]
        found += [f"holds capabilities: {name} is {fields[name]}" for name in held]
    if "uid" in walls:
        for name in ("Uid", "Gid"):
            ids = set(fields[name].split())
            if ids != {str(expected.outer_uid)}:
                found.append(f"{name} is {fields[name]}, {expected.outer_uid} is declared")
        if fields.get("Groups"):
            found.append(f"belongs to groups {fields['Groups']}")
    return found


def _namespaces(pid: int, expected: Expected) -> list[str]:
    found = []
    for wall, (_, kind) in namespaces.FLAGS.items():
        if wall in expected.walls and namespaces.inode_of(pid, kind) == namespaces.inode_of("self", kind):
            found.append(f"shares the {kind} namespace with the monitor")
    if "session" in expected.walls and os.getsid(pid) == os.getsid(0):
        found.append("is in the monitor's session")
    return found


#: Kinds of anonymous descriptors, and how many a process may hold: the log pipe; the life socket and the
#: channel (a gate also has its link to the monitor and the now nameless listener); libzmq's own event
#: descriptors.
_ANONYMOUS = re.compile(r"\A(?:anon_inode:)?\[?(pipe|socket|eventfd|eventpoll)(?::\[\d+)?\]?\Z")
_COUNTS_MAX = {"pipe": 1, "socket": 2, "eventfd": 6, "eventpoll": 2}
_GATE_SOCKETS_MAX = 4
_NULL_DEVICE = os.makedev(1, 3)


def _descriptors(pid: int, expected: Expected) -> list[str]:
    """Only /dev/null, the log pipe, the life socket, the channel, and libzmq's own event descriptors."""
    if "fds" not in expected.walls:
        return []
    found: list[str] = []
    held: dict[str, set[str]] = {kind: set() for kind in _COUNTS_MAX}
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{descriptor}"
        try:
            target, device = os.readlink(path), os.stat(path).st_rdev
        except FileNotFoundError:
            continue  # closed since it was listed, as libzmq's reaper does: it is not held
        if match := _ANONYMOUS.match(target):
            # Standard output and error are one pipe; event descriptors have no number of their own.
            held[match[1]].add(descriptor if match[1].startswith("event") else target)
        elif device != _NULL_DEVICE or descriptor != "0":
            found.append(f"holds descriptor {descriptor} on {target}")
    most = _COUNTS_MAX | ({"socket": _GATE_SOCKETS_MAX} if expected.is_gate else {})
    for kind, names in held.items():
        if len(names) > most[kind]:
            found.append(f"holds {len(names)} {kind}s, {most[kind]} are declared")
    return found


def declared_mounts(expected: Expected) -> frozenset[str]:
    """The mount points a walled process has."""
    points = {"/", "/dev/null", rootfs.CHANNEL_DIR}
    for path in rootfs.interpreter_paths():
        points |= {path, *rootfs.hidden_in(path)}
    points |= set(rootfs.package_paths(("zmq", "msgspec", *expected.packages)))
    if expected.has_scratch:
        points.add(rootfs.SCRATCH_DIR)
    if "procfs" not in expected.walls:
        points.add("/proc")
    return frozenset(points)


def _mounts(pid: int, expected: Expected) -> list[str]:
    if "mntns" not in expected.walls:
        return []
    found: list[str] = []
    seen: set[str] = set()
    declared = declared_mounts(expected)
    writable = {rootfs.SCRATCH_DIR, "/dev/null"} | ({rootfs.CHANNEL_DIR} if expected.is_gate else set())
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        fields = line.split()
        point, options = fields[4].encode().decode("unicode_escape"), fields[5].split(",")
        if point not in declared and not (point.startswith("/proc/") and "/proc" in declared):
            found.append(f"sees {point}, which is not declared")
        elif point in seen:
            found.append(f"has two mounts on {point}")
        elif "ro" not in options and point not in writable and not point.startswith("/proc"):
            found.append(f"can write to {point}")
        seen.add(point)
    if expected.channel and not _is_same(f"/proc/{pid}/root{rootfs.CHANNEL_DIR}", expected.channel):
        found.append(f"has another folder than {expected.channel} on {rootfs.CHANNEL_DIR}")
    return found


def _is_same(inside: str, outside: str) -> bool:
    return os.path.exists(inside) and os.path.samefile(inside, outside)


_LIMIT = re.compile(r"\A(Max [a-z ]+?)\s{2,}(\S+)\s+(\S+)", re.ASCII)


def _limits(pid: int, expected: Expected) -> list[str]:
    if "rlimits" not in expected.walls:
        return []
    rows = {}
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
        match = _LIMIT.match(line)
        if match:
            rows[match[1]] = (match[2], match[3])
    found = []
    if rows.get("Max core file size") != ("0", "0"):
        found.append("may write core dumps")
    _, hard = rows.get("Max open files", ("?", "?"))
    if not (hard.isdigit() and int(hard) <= expected.files_max):
        found.append(f"may open {hard} files, {expected.files_max} are declared")
    if rows.get("Max address space", ("unlimited", "unlimited"))[1] == "unlimited":
        found.append("has no limit on its address space")
    return found
