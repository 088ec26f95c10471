"""Namespaces: which kinds a set of walls asks for, and the id map of a user namespace."""

from __future__ import annotations

import os

from sandbox import linux

#: Wall -> clone flag, and the name under /proc/PID/ns.
FLAGS: dict[str, tuple[int, str]] = {
    "userns": (linux.CLONE_NEWUSER, "user"),
    "pidns": (linux.CLONE_NEWPID, "pid"),
    "mntns": (linux.CLONE_NEWNS, "mnt"),
    "netns": (linux.CLONE_NEWNET, "net"),
    "ipcns": (linux.CLONE_NEWIPC, "ipc"),
    "utsns": (linux.CLONE_NEWUTS, "uts"),
    "cgroupns": (linux.CLONE_NEWCGROUP, "cgroup"),
}

#: The one ordinary user id inside a partition's user namespace.
INNER_ID = 1000


def clone_flags(walls: frozenset[str]) -> int:
    """The flags for ``unshare`` that raise the namespace walls among ``walls``."""
    flags = 0
    for wall, (flag, _) in FLAGS.items():
        if wall in walls:
            flags |= flag
    return flags


def write_id_map(pid: int, outer_uid: int) -> None:
    """Map the ids of the new user namespace of process ``pid``; called by its parent, outside.

    As root: 0 (to build the root file system, dropped before partition code runs) and ``INNER_ID`` to
    ``outer_uid``. As anyone else the kernel allows one line only: ``INNER_ID`` to ourselves.
    """
    if os.geteuid() == 0:
        lines = f"0 0 1\n{INNER_ID} {outer_uid} 1\n"
        group_lines = lines
    else:
        lines = f"{INNER_ID} {os.geteuid()} 1\n"
        group_lines = f"{INNER_ID} {os.getegid()} 1\n"
        _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/gid_map", group_lines)
    _write(f"/proc/{pid}/uid_map", lines)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def inode_of(pid: int | str, kind: str) -> str:
    """The identity of a process's namespace, such as ``"pid:[4026531836]"``."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")
