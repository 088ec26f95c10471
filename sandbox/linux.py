"""The few system calls that Python 3.11 does not offer, by number, through libc's ``syscall``.

Every function raises ``OSError`` with the call's name when the kernel says no.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAP_LAST = 40

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1

LANDLOCK_CREATE_RULESET_VERSION = 1

_NUMBERS = {
    "x86_64": {"pivot_root": 155, "seccomp": 317, "capset": 126, "close_range": 436},
    "aarch64": {"pivot_root": 41, "seccomp": 277, "capset": 91, "close_range": 436},
}
_COMMON = {"landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446}


class UnknownArchitecture(RuntimeError):
    """Bulkhead knows the system call numbers of x86-64 and arm64 only."""


def number(name: str) -> int:
    """The number of a system call on this machine. Raises ``UnknownArchitecture``."""
    if name in _COMMON:
        return _COMMON[name]
    machine = platform.machine()
    if machine not in _NUMBERS:
        raise UnknownArchitecture(f"machine {machine!r}: only x86_64 and aarch64 are supported")
    return _NUMBERS[machine][name]


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(name: str, *arguments: object) -> int:
    """Call by name with integers, ``bytes``, pointers or ``None``."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _check(_libc.syscall(ctypes.c_long(number(name)), *converted), name)


def unshare(flags: int) -> None:
    """Leave the namespaces in ``flags`` for new ones."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, f"mount {source or kind} on {target}")


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(flags)), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    syscall("pivot_root", new.encode(), old.encode())


def prctl(option: int, *arguments: int | bytes) -> int:
    """prctl(2)."""
    padded = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    padded += [ctypes.c_ulong(0)] * (4 - len(padded))
    return _check(_libc.prctl(ctypes.c_int(option), *padded), f"prctl {option}")


def set_name(name: str) -> None:
    """Give this process its name in ``/proc/PID/comm`` (15 bytes at most)."""
    prctl(PR_SET_NAME, name.encode()[:15] + b"\0")


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when its parent dies."""
    prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent has died (child subreaper)."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def close_descriptors_except(keep: tuple[int, ...]) -> None:
    """Close every descriptor of this process but those in ``keep``."""
    low = 0
    for descriptor in (*sorted(set(keep)), 0x7FFF_FFFF):
        if descriptor > low:
            syscall("close_range", low, min(descriptor - 1, 0x7FFF_FFFE), 0)
        low = descriptor + 1


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def drop_bounding_set() -> None:
    """Empty the bounding set of this thread. Do it before leaving user 0, which takes the right to."""
    for capability in range(CAP_LAST + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            # The kernel knows fewer capabilities, or we may not drop: the inventory reads what is left.
            return


def drop_capabilities() -> None:
    """Empty the effective, permitted, inheritable and ambient sets of this thread."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CapHeader(0x2008_0522, 0)
    data = (_CapData * 2)()
    syscall("capset", ctypes.byref(header), ctypes.byref(data))


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load_seccomp(program: bytes, *, all_threads: bool) -> None:
    """Install a compiled BPF filter (8 bytes per instruction) on this thread, or on all of the process."""
    fprog = _SockFprog(len(program) // 8, program)
    flags = SECCOMP_FILTER_FLAG_TSYNC if all_threads else 0
    result = syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(fprog))
    if result > 0:
        raise OSError(0, f"seccomp: thread {result} could not take the filter")


def cpu_clock_id(pid: int) -> int:
    """The id of a process's CPU-time clock, for ``time.clock_gettime`` (man clock_getcpuclockid)."""
    return (~pid << 3) | 2
