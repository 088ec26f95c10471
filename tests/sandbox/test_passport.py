"""The passport: what it says is what was tried, and unknown is never a pass."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from sandbox import host, linux, passport, trials, walls
from tests.sandbox.confined import IS_ROOT
from tests.support.walls import require_wall

_ROOT_ONLY = {wall.name for wall in walls.OS_WALLS if wall.root_only}


def _run(program: str) -> str:
    """In a process of its own: the probe forks, and this process may have threads."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_PRINT = "import json; from sandbox import passport; p = passport.probe(); "
_PRINT += (
    "print(json.dumps([[e.wall, e.is_available, e.mechanism, e.reason, e.remedy] for e in p] + [p.took_ms]))"
)


def test_every_wall_has_one_entry_and_words() -> None:
    *entries, took_ms = json.loads(_run(_PRINT))
    assert [entry[0] for entry in entries] == list(walls.WALLS)
    for wall, is_available, mechanism, reason, remedy in entries:
        assert bool(mechanism) == is_available, wall
        assert bool(reason) == bool(remedy) == (not is_available), wall
        assert is_available or wall not in walls.POLICING_WALL_NAMES
    assert took_ms < 1_000


def test_what_needs_root_is_refused_to_others() -> None:
    entries = {entry[0]: entry for entry in json.loads(_run(_PRINT))[:-1]}
    assert entries["uid"][1] == IS_ROOT
    if not IS_ROOT:
        assert entries["uid"][4] == "run as root to give each partition a user id of its own"


def test_the_probe_leaves_nothing_behind() -> None:
    program = """
import os, pathlib
from sandbox import cgroups, passport
def look():
    groups = [str(p) for each in cgroups.hierarchies() for p in each.own.glob(f"bulkhead_*_{os.getpid()}_*")]
    mounts = pathlib.Path("/proc/self/mounts").read_text()
    return os.uname().nodename, sorted(os.listdir("/proc/self/fd")), groups, mounts
before = look()
for _ in range(3):
    passport.probe()
assert look() == before, (before, look())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""
    assert _run(program).strip() == "no child"


@pytest.mark.walls
def test_a_root_that_can_be_written_is_seen_and_keeps_nothing_of_the_trial() -> None:
    require_wall("mntns")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as library:  # the trial covers /tmp
        program = f"""
import os
from sandbox import linux, passport, rootfs, trials_spaces
trials_spaces.sysconfig.get_path = lambda _: {library!r}
def writable(source, target):  # the wall does not hold
    os.makedirs(target)
    linux.mount(source, target, "", linux.MS_BIND)
rootfs.bind = writable
for _ in range(2):
    entry = passport.probe()["mntns"]
    print(entry.is_available, entry.reason, os.listdir({library!r}))
"""
        told = _run(program).splitlines()
    assert told == ["False writing to the root went through []"] * 2


@pytest.mark.walls
def test_the_probe_sees_a_wall_that_the_host_refuses() -> None:
    """A seccomp filter around the probe refuses ``unshare``, as many container runtimes do."""
    require_wall("userns", "seccomp")
    program = """
import errno, json, pyseccomp
from sandbox import linux, passport
f = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
f.add_rule(pyseccomp.ERRNO(errno.EPERM), "unshare")
f.load()
print(json.dumps([[e.wall, e.is_available, e.mechanism, e.reason, e.remedy] for e in passport.probe()]))
"""
    entries = {entry[0]: entry for entry in json.loads(_run(program))}
    for wall in ("userns", "pidns", "mntns", "netns", "ipcns", "utsns", "cgroupns", "procfs"):
        assert not entries[wall][1]
    assert "runs under a seccomp filter, as in a container" in entries["userns"][3]
    assert "seccomp=unconfined" in entries["userns"][4]
    assert entries["seccomp"][1]
    assert entries["landlock"][1] or entries["landlock"][3]


def _raise() -> str:
    raise OSError(errno.EIO, "Input/output error")


def _goes_through() -> str:
    trials.must_fail("the forbidden", lambda: None, errno.EPERM)
    return "held"


def _fails_otherwise() -> str:
    trials.must_fail("the forbidden", _raise, errno.EPERM)
    return "held"


def _forbidden(report: trials.Report, _outside: trials.Outside) -> None:
    report.attempt("fds", _goes_through)
    report.attempt("session", _fails_otherwise)
    report.attempt("nnp", _raise)
    report.attempt("dumpable", lambda: "held")


def _dies(report: trials.Report, _outside: trials.Outside) -> None:
    report.attempt("dumpable", _raise)
    os.kill(os.getpid(), 9)


def _hangs(_report: trials.Report, _outside: trials.Outside) -> None:
    time.sleep(60)


def _half_said(report: trials.Report, _outside: trials.Outside) -> None:
    os.write(report.descriptor, b"fds\theld\tall of it\nsession\theld\tbut ha")


def _reaches_out(_report: trials.Report, outside: trials.Outside) -> None:
    socket.sethostname("changed-by-a-trial")
    linux.mount("tmpfs", outside.staging, "tmpfs", 0, "size=4k")


def _trials(*names: str, timeout_s: float = 5.0) -> trials.Outcome:
    """Run bodies of this file in a process of its own."""
    listed = ", ".join(f"t.{name}" for name in names)
    program = f"""
import json
from sandbox import trials
from tests.sandbox import test_passport as t
o = trials.run(({listed},), {timeout_s})
print(json.dumps([[f.wall, f.has_held, f.text] for f in o.findings.values()] + [o.took_ms]))
"""
    *rows, took_ms = json.loads(_run(program))
    return trials.Outcome({row[0]: trials.Finding(*row) for row in rows}, took_ms)


def test_a_trial_that_fails_is_a_finding_with_the_reason() -> None:
    findings = _trials("_forbidden").findings
    assert findings["fds"] == trials.Finding("fds", False, "the forbidden went through")
    expected = "the forbidden failed otherwise than it should: Input/output error"
    assert findings["session"] == trials.Finding("session", False, expected)
    assert findings["nnp"] == trials.Finding("nnp", False, "Input/output error")
    assert findings["dumpable"] == trials.Finding("dumpable", True, "held")


def test_a_failure_in_one_child_is_not_undone_by_another() -> None:
    assert not _trials("_forbidden", "_dies").findings["dumpable"].has_held
    assert not _trials("_dies", "_forbidden").findings["dumpable"].has_held


def test_a_silent_trial_is_no_pass() -> None:
    outcome = _trials("_hangs", "_forbidden", timeout_s=0.5)
    assert 400 < outcome.took_ms < 5_000
    entries = passport.issue(outcome.findings, host.read())
    assert entries["dumpable"].is_available
    assert not entries["seccomp"].is_available
    assert entries["seccomp"].reason == "its trial gave no answer"


def test_half_a_line_of_one_who_died_is_no_finding() -> None:
    assert set(_trials("_half_said").findings) == {"fds"}


@pytest.mark.walls
def test_a_trial_that_changes_what_is_outside_is_a_finding_against_its_wall() -> None:
    """All of it happens in namespaces of the probing process, so that the host's own name stays."""
    require_wall("userns", "utsns", "mntns")
    program = """
from sandbox import linux, trials
from tests.sandbox import test_passport as t
linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWUTS | linux.CLONE_NEWNS)
linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
found = trials.run((t._reaches_out,)).findings
print(found["utsns"].text, "|", found["mntns"].text)
assert not found["utsns"].has_held and not found["mntns"].has_held
"""
    assert _run(program) == "the host's own name was changed | a mount showed up outside\n"


def test_an_entry_has_a_state() -> None:
    entries = passport.issue({"nnp": trials.Finding("nnp", True, "seen")}, host.read())
    assert entries["nnp"].state() == "enforced"
    assert entries["caps"].state() == "unavailable"
    assert entries["caps"].state(frozenset({"caps"})) == "off"
    assert entries["gate"].state() == "enforced"
    assert "nnp" not in entries.unavailable
    assert {"caps", "seccomp"} <= entries.unavailable
    with pytest.raises(KeyError):
        entries["secomp"]


def _host(
    folder: Path, files: dict[str, str], *, is_root: bool = False, release: str = "6.8.0-41"
) -> host.Host:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return host.read(folder, is_root=is_root, release=release)


#: Wall, the host's files, kernel, root -> words of the reason and of the remedy.
_V2 = {
    "proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
}
_HYBRID = _V2 | {"sys/fs/cgroup/cgroup.controllers": "hugetlb\n"}
_APPARMOR = {"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}
HOSTS = [
    ("mntns", _APPARMOR, "AppArmor", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ("userns", {"proc/sys/user/max_user_namespaces": "0\n"}, "is 0", "sysctl user.max_user_namespaces=10000"),
    ("pidns", {"proc/sys/user/max_user_namespaces": "0\n"}, "is 0", "sysctl user.max_user_namespaces=10000"),
    ("netns", {"proc/sys/user/max_net_namespaces": "0\n"}, "is 0", "sysctl user.max_net_namespaces=10000"),
    (
        "userns",
        {"proc/sys/kernel/unprivileged_userns_clone": "0\n"},
        "is 0",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    ("userns", {"proc/self/status": "Name:\tx\nSeccomp:\t2\n"}, "as in a container", "seccomp=unconfined"),
    ("userns", {}, "said", "run as root"),
    (
        "landlock",
        {"sys/kernel/security/lsm": "capability,yama\n"},
        "not among",
        "lsm=landlock,capability,yama",
    ),
    ("landlock", {}, "said", "CONFIG_SECURITY_LANDLOCK"),
    ("memcg", _V2, "delegated", "systemd-run --user --scope -p Delegate=yes"),
    ("memcg", _HYBRID, "belong to root", "run as root"),
    ("uid", {}, "one user", "run as root"),
    ("seccomp", {}, "said", "CONFIG_SECCOMP_FILTER"),
]


@pytest.mark.parametrize(("wall", "files", "reason", "remedy"), HOSTS)
def test_a_host_is_told_why_and_what_to_do(
    wall: str, files: dict[str, str], reason: str, remedy: str, tmp_path: Path
) -> None:
    why = host.explain(wall, "said", _host(tmp_path, files))
    assert reason in why.reason
    assert remedy in why.remedy
    assert "said" in why.reason or wall == "uid"


def test_settings_for_others_do_not_explain_a_failure_of_root(tmp_path: Path) -> None:
    why = host.explain("mntns", "said", _host(tmp_path, _APPARMOR, is_root=True))
    assert why.reason == "said"
    assert "CAP_SYS_ADMIN" in why.remedy


def test_an_old_kernel_has_no_landlock(tmp_path: Path) -> None:
    why = host.explain("landlock", "said", _host(tmp_path, {}, release="5.4.0-150-generic"))
    assert why == host.Why("kernel 5.4 has no Landlock (said)", "use Linux 5.13 or later")


def test_a_missing_library_names_the_package(tmp_path: Path) -> None:
    why = host.explain("seccomp", "libseccomp.so.2 is not installed", _host(tmp_path, {}))
    assert "libseccomp2" in why.remedy


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-fc", (6, 18)), ("5.13", (5, 13)), ("5.10-rc1", (5, 10)), ("odd", (0, 0))],
)
def test_kernel_versions(release: str, version: tuple[int, int]) -> None:
    assert host.kernel_version(release) == version
