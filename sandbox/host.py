"""What this host says about itself: the settings that decide whether a wall can be raised, read and never
written.

The trials (``sandbox.trials``) show *that* a wall does not stand; this file knows *why*, and what to do. All
reading goes through one root folder, so that any host can be laid out in a test.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

#: Wall -> the sysctl below ``/proc/sys/user`` that bounds its kind of namespace.
_SPACE_LIMITS = {
    "userns": "max_user_namespaces",
    "pidns": "max_pid_namespaces",
    "mntns": "max_mnt_namespaces",
    "netns": "max_net_namespaces",
    "ipcns": "max_ipc_namespaces",
    "utsns": "max_uts_namespaces",
    "cgroupns": "max_cgroup_namespaces",
}
_LANDLOCK_KERNEL = (5, 13)
_DELEGATE = "systemd-run --user --scope -p Delegate=yes COMMAND"


@dataclass(frozen=True, slots=True)
class Host:
    """One reading of a host. ``None`` where the host does not say."""

    is_root: bool
    kernel: tuple[int, int]
    space_limits: dict[str, int]
    userns_clone: int | None
    apparmor_restricts_userns: bool
    lsms: tuple[str, ...] | None
    is_filtered: bool
    has_cgroup_v2: bool


@dataclass(frozen=True, slots=True)
class Why:
    """Why a wall does not stand, and what to do about it;
    the remedy is an imperative clause without a full stop.
    """

    reason: str
    remedy: str


def read(root: Path = Path("/"), *, is_root: bool | None = None, release: str | None = None) -> Host:
    """Read the host whose files are below ``root``.

    A file that cannot be read counts as a host that does not say.
    """
    user = root / "proc/sys/user"
    limits = {
        wall: value for wall, name in _SPACE_LIMITS.items() if (value := _number(user / name)) is not None
    }
    lsms = _text(root / "sys/kernel/security/lsm")
    status = _text(root / "proc/self/status") or ""
    mounts = _text(root / "proc/self/mounts") or ""
    return Host(
        is_root=os.geteuid() == 0 if is_root is None else is_root,
        kernel=kernel_version(platform.release() if release is None else release),
        space_limits=limits,
        userns_clone=_number(root / "proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restricts_userns=_number(root / "proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        == 1,
        lsms=tuple(lsms.strip().split(",")) if lsms is not None else None,
        is_filtered="\nSeccomp:\t2" in status,
        has_cgroup_v2=_has_cgroup_v2(root, mounts),
    )


def _has_cgroup_v2(root: Path, mounts: str) -> bool:
    """Whether version 2 carries the memory controller; on hybrid hosts it is mounted and carries none."""
    points = [words[1] for words in map(str.split, mounts.splitlines()) if words[2:3] == ["cgroup2"]]
    return any("memory" in (_text(root / p.lstrip("/") / "cgroup.controllers") or "").split() for p in points)


def kernel_version(release: str) -> tuple[int, int]:
    """``"6.18.44-fc"`` -> ``(6, 18)``; ``(0, 0)`` when the text is no version."""
    major, _, rest = release.partition(".")
    minor = rest.split(".")[0].split("-")[0]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def explain(wall: str, said: str, host: Host) -> Why:
    """Why ``wall`` failed with the kernel's words ``said``, as far as the host's settings tell."""
    if wall in _SPACE_LIMITS or wall == "procfs":
        return _namespace(wall, said, host)
    if wall in ("memcg", "pidscg", "cpucg"):
        return _control_group(said, host)
    if wall == "landlock":
        return _landlock(said, host)
    if wall == "seccomp":
        return _seccomp(said)
    if wall == "uid" and not host.is_root:
        return Why(
            "all processes run as this one user", "run as root to give each partition a user id of its own"
        )
    return Why(said, "run on Linux 5.13 or later, outside a container that filters system calls")


def _namespace(wall: str, said: str, host: Host) -> Why:
    if host.space_limits.get(wall) == 0:
        setting = f"user.{_SPACE_LIMITS[wall]}"
        return Why(f"{setting} is 0 ({said})", f"as root, sysctl {setting}=10000")
    if host.space_limits.get("userns") == 0 and not host.is_root:
        return Why(
            f"user.max_user_namespaces is 0 ({said})", "as root, sysctl user.max_user_namespaces=10000"
        )
    if host.userns_clone == 0 and not host.is_root:
        setting = "kernel.unprivileged_userns_clone"
        return Why(f"{setting} is 0 ({said})", f"as root, sysctl {setting}=1")
    if host.apparmor_restricts_userns and not host.is_root:
        setting = "kernel.apparmor_restrict_unprivileged_userns"
        return Why(
            f"AppArmor restricts user namespaces: {setting} is 1 ({said})",
            f"as root, sysctl {setting}=0, or give this Python an AppArmor profile with the rule userns",
        )
    if host.is_filtered:
        return Why(
            f"this process runs under a seccomp filter, as in a container ({said})",
            "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined",
        )
    if host.is_root:
        return Why(said, "give this root the capability CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN)")
    return Why(said, "use a kernel built with CONFIG_USER_NS and the other namespaces, or run as root")


def _control_group(said: str, host: Host) -> Why:
    if host.is_root:
        return Why(
            said, "mount the cgroup hierarchy writable (in a container: --privileged or --cgroupns=private)"
        )
    if host.has_cgroup_v2:
        return Why(
            f"no control group is delegated to this user ({said})", f"start with {_DELEGATE}, or run as root"
        )
    return Why(f"control groups belong to root ({said})", "run as root")


def _landlock(said: str, host: Host) -> Why:
    if host.kernel < _LANDLOCK_KERNEL:
        return Why(
            f"kernel {host.kernel[0]}.{host.kernel[1]} has no Landlock ({said})", "use Linux 5.13 or later"
        )
    if host.lsms is not None and "landlock" not in host.lsms:
        listed = ",".join(host.lsms)
        return Why(
            f"Landlock is not among the active security modules {listed} ({said})",
            f"boot the kernel with lsm=landlock,{listed}",
        )
    return Why(
        said, "use a kernel built with CONFIG_SECURITY_LANDLOCK, and list landlock in its lsm= parameter"
    )


def _seccomp(said: str) -> Why:
    if "libseccomp" in said:
        return Why(said, "install libseccomp (Debian, Ubuntu: libseccomp2; Fedora: libseccomp)")
    return Why(said, "use a kernel built with CONFIG_SECCOMP_FILTER")
