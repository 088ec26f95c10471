"""Trials of the walls that a process raises on itself, and of the control groups it joins."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import struct
from functools import partial

from sandbox import cgroups, identity, landlock, limits, linux
from sandbox.trials import NotHeld, Outside, Report, must_fail, words_of

_MIB = 1 << 20


def alone(report: Report, outside: Outside) -> None:
    """Each trial leaves the process fit for the next; the order matters."""
    # Looked up now: soon no file can be opened any more.
    library, size = _libseccomp(), _address_space_bytes()
    report.attempt("caps", _caps)
    report.attempt("session", _session)
    report.attempt("lifeline", _lifeline)
    report.attempt("fds", lambda: _fds(report.descriptor))
    report.attempt("dumpable", _dumpable)
    report.attempt("nnp", _nnp)
    report.attempt("landlock", lambda: _landlock(outside))
    report.attempt("rlimits", lambda: _rlimits(size))
    report.attempt("seccomp", lambda: _seccomp(library))


def _libseccomp() -> str:
    """The library that writes the real filters, or nothing."""
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return ""
    return "libseccomp.so.2"


def _caps() -> str:
    linux.drop_bounding_set()
    linux.drop_capabilities()
    must_fail("chroot", lambda: os.chroot("/"), errno.EPERM)
    return "all sets empty"


def _session() -> str:
    identity.new_session(frozenset({"session"}))
    must_fail("opening the terminal", lambda: os.open("/dev/tty", os.O_RDWR), errno.ENXIO, errno.ENOENT)
    return "setsid"


def _lifeline() -> str:
    """A process ties itself to its parent, and the parent goes. Untied it would live until its alarm."""
    linux.adopt_orphans()
    told, tell = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            if os.fork() == 0:
                identity.tie_to_monitor(frozenset({"lifeline"}))
                signal.alarm(2)
                os.write(tell, b"t")
                signal.pause()
            os.read(told, 1)
        finally:
            os._exit(0)
    os.waitpid(parent, 0)
    _, status = os.waitpid(-1, 0)
    os.close(told)
    os.close(tell)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        raise NotHeld("a process outlived its parent")
    return "PR_SET_PDEATHSIG"


def _fds(report: int) -> str:
    extra = os.open("/dev/null", os.O_RDONLY)
    linux.close_descriptors_except((0, 1, 2, report))
    must_fail("using a closed descriptor", lambda: os.fstat(extra), errno.EBADF)
    return "close_range"


def _dumpable() -> str:
    """Another process of the same user, without capabilities, opens the memory of a child."""
    waiting, ready = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        linux.die_with_parent()
        os.read(waiting[0], 1)
        identity.close_memory(frozenset({"dumpable"}))
        os.write(ready[1], b"d")
        os.read(waiting[0], 1)
        os._exit(0)
    try:
        memory = f"/proc/{child}/mem"
        os.close(os.open(memory, os.O_RDONLY))
        os.write(waiting[1], b"1")
        os.read(ready[0], 1)
        must_fail(
            "opening the memory of a closed process",
            lambda: os.open(memory, os.O_RDONLY),
            errno.EACCES,
            errno.EPERM,
        )
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for descriptor in (*waiting, *ready):
            os.close(descriptor)
    return "PR_SET_DUMPABLE"


def _nnp() -> str:
    identity.drop_privileges(frozenset({"nnp"}))
    if linux.prctl(linux.PR_GET_NO_NEW_PRIVS) != 1:
        raise NotHeld("no_new_privs did not stick")
    must_fail("taking no_new_privs back", lambda: linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 0), errno.EINVAL)
    return "PR_SET_NO_NEW_PRIVS"


def _landlock(outside: Outside) -> str:
    os.close(os.open(os.__file__, os.O_RDONLY))
    had = outside.reachable()
    version = landlock.version()
    landlock.enforce(landlock.ruleset((), ()))
    must_fail("opening a file without a rule", lambda: os.open(os.__file__, os.O_RDONLY), errno.EACCES)
    covers = ["files"]
    if version >= landlock.ABI_TCP:
        covers.append("TCP")
    if version >= landlock.ABI_SCOPES:
        must_fail("signalling the parent", lambda: os.kill(os.getppid(), 0), errno.EPERM)
        covers += ["abstract sockets", "signals"]
    reached = outside.reachable()
    if version >= landlock.ABI_TCP and "AF_INET" in reached:
        raise NotHeld("a TCP connection went through")
    if version >= landlock.ABI_SCOPES and "AF_UNIX" in reached:
        raise NotHeld("a connection to an abstract socket went through")
    if version >= landlock.ABI_SCOPES and "AF_UNIX" not in had:
        raise NotHeld("the listener for the trial could not be reached before")
    return f"Landlock ABI {version}: {', '.join(covers)}"


def _address_space_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as rows:
        return int(rows.read().split()[0]) * mmap.PAGESIZE


def _rlimits(own_bytes: int) -> str:
    """``own_bytes`` is what this process maps already; the limit leaves it that."""
    size = limits.BASE_ADDRESS_SPACE_BYTES + own_bytes + 2 * _MIB
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE: no memory is asked for
    mmap.mmap(-1, size, private).close()
    limits.apply(own_bytes + _MIB, 24, 1 << 16)
    must_fail("mapping more than the limit", lambda: mmap.mmap(-1, size, private), errno.ENOMEM)
    must_fail("opening too many files", _open_files, errno.EMFILE)
    file = os.memfd_create("trial")
    must_fail("growing a file beyond the limit", lambda: os.ftruncate(file, 1 << 17), errno.EFBIG)
    os.close(file)
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        raise NotHeld("core dumps are still allowed")
    return "setrlimit"


def _open_files() -> None:
    opened: list[int] = []
    try:
        while len(opened) < 64:
            opened.append(os.dup(0))
    finally:
        for descriptor in opened:
            os.close(descriptor)


#: The AUDIT_ARCH of a machine, and the numbers of two harmless calls, uname and getppid.
_HARMLESS = {"x86_64": (0xC000_003E, 63, 110), "aarch64": (0xC000_00B7, 160, 173)}
_RET_KILL, _RET_ERRNO, _RET_ALLOW = 0x8000_0000, 0x0005_0000, 0x7FFF_0000


def _seccomp(library: str) -> str:
    """A filter that refuses uname and kills at getppid."""
    if not library:
        raise NotHeld("libseccomp.so.2 is not installed")
    machine = os.uname().machine
    if machine not in _HARMLESS:
        raise linux.UnknownArchitecture(f"machine {machine!r}: only x86_64 and aarch64 are supported")
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.load_seccomp(_harmless_filter(machine), all_threads=True)
    must_fail("a refused system call", os.uname, errno.EPERM)
    child = os.fork()
    if child == 0:
        os.getppid()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS):
        raise NotHeld("a fatal system call did not kill its caller")
    return f"seccomp filter mode, {library}"


def _harmless_filter(machine: str) -> bytes:
    architecture, refused, fatal = _HARMLESS[machine]
    load, equal, ret = 0x20, 0x15, 0x06
    rows = (
        (load, 0, 0, 4),
        (equal, 0, 5, architecture),
        (load, 0, 0, 0),
        (equal, 2, 0, refused),
        (equal, 2, 0, fatal),
        (ret, 0, 0, _RET_ALLOW),
        (ret, 0, 0, _RET_ERRNO | errno.EPERM),
        (ret, 0, 0, _RET_KILL),
    )
    return b"".join(struct.pack("=HBBI", *row) for row in rows)


# -- control groups
# ------------------------------------------------------------------------------------------------


def grouped(report: Report, _outside: Outside) -> None:
    """Make the groups, read the limits back, put a process in, see processes bounded, and remove them."""
    cgroups.sweep()
    made: dict[str, cgroups.Group] = {}
    for wall in cgroups.CONTROLLERS:
        try:
            made[wall] = cgroups.Group(cgroups.title("trial"), frozenset({wall}), 64 * _MIB, 1, 0.5)
        except OSError as error:
            report.say(wall, False, words_of(error))
    try:
        _join(report, made)
    finally:
        for wall, group in made.items():
            group.remove()
            if any(folder.exists() for folder in group.folders.values()):
                report.say(wall, False, "the trial's group could not be removed")


def _join(report: Report, made: dict[str, cgroups.Group]) -> None:
    child = os.fork()
    if child == 0:
        try:
            linux.die_with_parent()
            for wall, group in made.items():
                report.attempt(wall, partial(_membership, wall, group))
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _membership(wall: str, group: cgroups.Group) -> str:
    cgroups.join(group.joined_by)
    if os.getpid() not in group.members():
        raise NotHeld("a process could not be moved into the group")
    if wall == "pidscg":
        must_fail("a process beyond the bound", _fork_once, errno.EAGAIN)
    return group.described(wall)


def _fork_once() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
