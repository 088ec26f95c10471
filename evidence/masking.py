"""What this host itself forbids, even where no wall stands.

An attack that has no effect without walls shows nothing (VACUOUS). Where a setting of the host is the reason, it is
told: another host may well let the attack through.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

#: What the attacks need of the host that a host may forbid everybody.
NEEDS = {
    "K01": "ptrace",
    "K02": "ptrace",
    "K09": "io_uring",
    "K10": "userns",
    "K11": "userfaultfd",
    "K13": "tiocsti",
    "K15": "core",
    "K22": "clock",
    "R07": "ptrace",
    "R08": "ptrace",
}
#: Bits of the effective capabilities, from linux/capability.h.
_CAP_SYS_PTRACE, _CAP_SYS_ADMIN, _CAP_SYS_TIME = 19, 21, 25


def masked_by(attack_id: str, unavailable: frozenset[str] = frozenset(), root: Path = Path("/")) -> str:
    """Why the host at ``root`` forbids this attack, or nothing when no setting of it is known to.

    ``unavailable`` are the walls that the passport says this host cannot raise: what cannot make a user namespace for
    us cannot make one for an attacker.
    """
    need = NEEDS.get(attack_id)
    reason = _READERS[need](root) if need else ""
    if not reason and need == "userns" and "userns" in unavailable:
        reason = "by its passport it makes no user namespaces"
    return reason


def _ptrace(root: Path) -> str:
    """Yama: 1 lets only a parent trace, 2 only CAP_SYS_PTRACE, 3 nobody. The attacker is not therapy's parent."""
    name = "kernel.yama.ptrace_scope"
    value = _setting(root, name)
    return f"{name} is {value}" if value >= (3 if _may(root, _CAP_SYS_PTRACE) else 1) else ""


def _io_uring(root: Path) -> str:
    """1 forbids it to all without CAP_SYS_ADMIN (or the setting's own group), 2 to everybody."""
    name = "kernel.io_uring_disabled"
    value = _setting(root, name)
    return f"{name} is {value}" if value >= (2 if _may(root, _CAP_SYS_ADMIN) else 1) else ""


def _userns(root: Path) -> str:
    """The limit binds everybody, the two others all without CAP_SYS_ADMIN."""
    if _setting(root, "user.max_user_namespaces", 1) == 0:
        return "user.max_user_namespaces is 0"
    if _may(root, _CAP_SYS_ADMIN):
        return ""
    if _setting(root, "kernel.unprivileged_userns_clone", 1) == 0:
        return "kernel.unprivileged_userns_clone is 0"
    name = "kernel.apparmor_restrict_unprivileged_userns"
    return f"AppArmor restricts user namespaces: {name} is 1" if _setting(root, name) == 1 else ""


def _userfaultfd(root: Path) -> str:
    """0 keeps it, as K11 asks for it (faults in the kernel, too), for CAP_SYS_PTRACE."""
    name = "vm.unprivileged_userfaultfd"
    value = _setting(root, name)
    return f"{name} is {value}" if value == 0 and not _may(root, _CAP_SYS_PTRACE) else ""


def _tiocsti(root: Path) -> str:
    """0 takes it from all without CAP_SYS_ADMIN; a kernel without the setting lets it be."""
    name = "dev.tty.legacy_tiocsti"
    value = _setting(root, name, 1)
    return f"{name} is {value}" if value == 0 and not _may(root, _CAP_SYS_ADMIN) else ""


def _core(root: Path) -> str:
    """Only a core that lies in the folder of the crashed process lies where the harness takes it away again."""
    name = "kernel.core_pattern"
    try:
        pattern = (root / "proc/sys" / name.replace(".", "/")).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return f"{name} is {pattern!r}" if not pattern or pattern.startswith(("|", "/")) else ""


def _clock(root: Path) -> str:
    """A clock is set with CAP_SYS_TIME and in no other way."""
    return "" if _may(root, _CAP_SYS_TIME) else "this user may not set its clock (no CAP_SYS_TIME)"


_READERS: dict[str, Callable[[Path], str]] = {
    "ptrace": _ptrace,
    "io_uring": _io_uring,
    "userns": _userns,
    "userfaultfd": _userfaultfd,
    "tiocsti": _tiocsti,
    "core": _core,
    "clock": _clock,
}


def _setting(root: Path, name: str, unsaid: int = 0) -> int:
    """A sysctl's value; ``unsaid`` where the host does not say."""
    try:
        return int((root / "proc/sys" / name.replace(".", "/")).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return unsaid


def _may(root: Path, capability: int) -> bool:
    """Whether this process holds the capability, as the attacker does where no wall takes it away."""
    try:
        status = (root / "proc/self/status").read_text(encoding="utf-8", errors="replace")
        effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
        return bool(int(effective.split()[1], 16) >> capability & 1)
    except (OSError, StopIteration, ValueError, IndexError):
        return False
