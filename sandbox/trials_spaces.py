"""Trials of the namespaces, and of what only a process inside its own can show: root, user id, capabilities.

The two forks and the id map between them are those of a real launch (``sandbox.template``).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sysconfig
from collections.abc import Callable
from functools import partial

from sandbox import identity, linux, namespaces, rootfs
from sandbox.trials import NotHeld, Outside, Report, must_fail, words_of

#: The user id that the trial of the ``uid`` wall takes: nobody's.
_TRIAL_UID = 65_534


def spaces(report: Report, outside: Outside) -> None:
    """As the template does:
    the first child leaves the namespaces, this process maps its ids, it forks the second.
    """
    if os.geteuid() != 0:
        report.say("uid", False, "this is not root")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first = os.fork()
    if first == 0:
        try:
            linux.die_with_parent()
            ours.close()
            _leave(report, outside, theirs)
        finally:
            os._exit(0)
    theirs.close()
    if ours.recv(1) == b"u":
        try:
            namespaces.write_id_map(first, _TRIAL_UID)
            ours.send(b"m")
        except OSError as error:
            report.say("userns", False, f"the id map could not be written: {words_of(error)}")
            ours.send(b"x")
    os.waitpid(first, 0)


def _leave(report: Report, outside: Outside, sync: socket.socket) -> None:
    segment = _Segment()
    had = outside.reachable()
    raised = _unshare(report)
    is_mapped = False
    if "userns" in raised:
        sync.send(b"u")
        is_mapped = sync.recv(1) == b"m"
    sync.close()
    if "ipcns" in raised:
        report.attempt("ipcns", segment.is_out_of_reach)
    second = os.fork()
    if second == 0:
        try:
            linux.die_with_parent()
            _inside(report, outside, raised, had, is_mapped=is_mapped)
        finally:
            os._exit(0)
    os.waitpid(second, 0)


def _unshare(report: Report) -> frozenset[str]:
    """All namespaces in one call as at a launch; one by one to learn which are missing where that fails."""
    wanted = frozenset(namespaces.FLAGS)
    try:
        linux.unshare(namespaces.clone_flags(wanted))
    except OSError:
        raised: set[str] = set()
        for wall, (flag, _) in namespaces.FLAGS.items():
            try:
                linux.unshare(flag)
                raised.add(wall)
            except OSError as error:
                report.say(wall, False, words_of(error))
        return frozenset(raised)
    return wanted


class _Segment:
    """A System V segment that vanishes with this process, and whether it can be seen by its id."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.shmat.restype = ctypes.c_void_p
        self._id = self._libc.shmget(0, 4096, 0o1600)
        if self._id >= 0:
            self._libc.shmat(self._id, None, 0)
            self._libc.shmctl(self._id, 0, None)  # IPC_RMID: it goes when the last process lets go of it
        self._was_seen = self._is_seen()

    def _is_seen(self) -> bool:
        ipc_stat, answer = 2, ctypes.create_string_buffer(512)
        return self._id >= 0 and int(self._libc.shmctl(self._id, ipc_stat, answer)) == 0

    def is_out_of_reach(self) -> str:
        """Raises ``NotHeld`` if the segment can still be seen, or could not be before."""
        if not self._was_seen:
            raise NotHeld("a shared memory segment for the trial could not be made")
        if self._is_seen():
            raise NotHeld("a shared memory segment of outside can still be seen")
        return "CLONE_NEWIPC"


def _inside(
    report: Report, outside: Outside, raised: frozenset[str], had: list[str], *, is_mapped: bool
) -> None:
    """The second child: look around in the new namespaces.

    A namespace that is still the host's is not touched.
    """
    status = os.open("/proc/self/status", os.O_RDONLY)
    own = {wall: namespaces.inode_of("self", kind) for wall, (_, kind) in namespaces.FLAGS.items()}
    fresh = frozenset(wall for wall in raised if own[wall] != outside.spaces[wall])
    for wall in sorted(raised - fresh):
        report.say(wall, False, "the namespace is still the one outside")
    trials: tuple[tuple[str, Callable[[], str]], ...] = (
        ("userns", lambda: _user(is_mapped=is_mapped)),
        ("pidns", lambda: _pid(outside)),
        ("netns", lambda: _net(outside, had)),
        ("utsns", _uts),
        ("cgroupns", _cgroup),
        ("mntns", lambda: _mount(outside)),
    )
    is_rooted = False
    for wall, trial in trials:
        if wall in fresh:
            is_rooted = report.attempt(wall, trial)
    if is_rooted:
        report.attempt("procfs", _procfs)
    else:
        report.say("procfs", False, "it needs a root of its own (mntns)")
    _identity(report, fresh, status)


def _user(*, is_mapped: bool) -> str:
    if not is_mapped:
        raise NotHeld("the id map could not be written")
    if os.geteuid() not in (0, namespaces.INNER_ID):
        raise NotHeld(f"the user id inside is {os.geteuid()}")
    must_fail("taking an unmapped user id", lambda: os.setresuid(4_000_000, -1, -1), errno.EINVAL)
    return "CLONE_NEWUSER"


def _pid(outside: Outside) -> str:
    if os.getpid() != 1:
        raise NotHeld(f"the first process has the id {os.getpid()}")
    if outside.pid != 1:
        must_fail("signalling a process outside", lambda: os.kill(outside.pid, 0), errno.ESRCH)
    return "CLONE_NEWPID"


def _net(outside: Outside, had: list[str]) -> str:
    if not had:
        raise NotHeld("no listener for the trial could be reached before")
    if reached := outside.reachable():
        raise NotHeld(f"a listener outside was reached over {', '.join(reached)}")
    return "CLONE_NEWNET"


def _uts() -> str:
    socket.sethostname("bulkhead-trial")
    if os.uname().nodename != "bulkhead-trial":
        raise NotHeld("the host name did not change")
    return "CLONE_NEWUTS"


def _cgroup() -> str:
    with open("/proc/self/cgroup", encoding="ascii", errors="replace") as rows:
        paths = {row.strip().split(":", 2)[2] for row in rows}
    if paths != {"/"}:
        raise NotHeld(f"the host's control groups can still be seen: {sorted(paths)[-1]}")
    return "CLONE_NEWCGROUP"


def _make_and_remove(folder: str) -> None:
    """Where the wall does not hold, this is the host's own folder: nothing may stay in it."""
    os.mkdir(folder)
    os.rmdir(folder)


def _mount(outside: Outside) -> str:
    """A small root of its own: a tmpfs, the standard library bound read-only, and nothing else."""
    library = sysconfig.get_path("stdlib")
    linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", outside.staging, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=64k,mode=755")
    rootfs.bind(library, f"{outside.staging}/library")
    rootfs.enter(outside.staging)
    if os.listdir("/") != ["library"]:
        raise NotHeld(f"the new root shows {os.listdir('/')[:3]}")
    must_fail("listing a folder outside", lambda: os.listdir("/proc"), errno.ENOENT)
    for folder in ("/", "/library/"):
        must_fail("writing to the root", partial(_make_and_remove, f"{folder}trial"), errno.EROFS)
    return "CLONE_NEWNS, pivot_root onto a read-only tmpfs"


def _procfs() -> str:
    must_fail("opening /proc/self/status", lambda: os.open("/proc/self/status", os.O_RDONLY), errno.ENOENT)
    return "no procfs in the root"


def _identity(report: Report, fresh: frozenset[str], status: int) -> None:
    """Root takes another user id for good; whoever had capabilities in the namespace loses them."""
    is_root = os.geteuid() == 0
    walls = (fresh & {"userns"}) | {"uid", "caps"}
    if is_root:
        report.attempt("uid", lambda: _uid(walls))
    report.attempt("caps", lambda: _no_caps(status, fresh))


def _uid(walls: frozenset[str]) -> str:
    identity.become(walls, _TRIAL_UID, True)
    wanted = namespaces.INNER_ID if "userns" in walls else _TRIAL_UID
    if set(os.getresuid()) | set(os.getresgid()) != {wanted} or os.getgroups():
        raise NotHeld(f"the user ids are {os.getresuid()}, the groups {os.getgroups()}")
    must_fail("becoming root again", lambda: os.setresuid(0, 0, 0), errno.EPERM)
    return "setresuid, one id per process"


def _no_caps(status: int, fresh: frozenset[str]) -> str:
    linux.drop_bounding_set()
    identity.drop_privileges(frozenset({"caps"}))
    rows = dict(row.split(":", 1) for row in os.pread(status, 1 << 14, 0).decode().splitlines())
    names = ["CapInh", "CapPrm", "CapEff", "CapAmb"] + (["CapBnd"] if "userns" in fresh else [])
    held = [name for name in names if int(rows[name], 16)]
    if held:
        raise NotHeld(f"{', '.join(held)} could not be emptied")
    if "utsns" in fresh:
        must_fail("setting the host name", lambda: socket.sethostname("bulkhead-trial-2"), errno.EPERM)
    return "all sets empty"
