"""An attack that this host forbids anyway is told from one that shows nothing, by the host's own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidence.masking import NEEDS, masked_by
from faults import attack_files

ORDINARY, ROOT = "0000000000000000", "000001ffffffffff"


def a_host(root: Path, capabilities: str, **settings: int) -> Path:
    """A host's files: sysctls with ``_`` for the first dot, and which capabilities this process has."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/status").write_text(f"Name:\tpython\nCapEff:\t{capabilities}\n")
    for name, value in settings.items():
        path = root / "proc/sys" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


@pytest.mark.parametrize(
    ("attack_id", "capabilities", "settings", "reason"),
    [
        ("K01", ORDINARY, {"kernel__yama__ptrace_scope": 1}, "kernel.yama.ptrace_scope is 1"),
        ("K02", ORDINARY, {"kernel__yama__ptrace_scope": 2}, "kernel.yama.ptrace_scope is 2"),
        ("K01", ROOT, {"kernel__yama__ptrace_scope": 2}, ""),
        ("K01", ROOT, {"kernel__yama__ptrace_scope": 3}, "kernel.yama.ptrace_scope is 3"),
        ("K01", ORDINARY, {"kernel__yama__ptrace_scope": 0}, ""),
        ("K01", ORDINARY, {}, ""),
        ("K09", ORDINARY, {"kernel__io_uring_disabled": 1}, "kernel.io_uring_disabled is 1"),
        ("K09", ROOT, {"kernel__io_uring_disabled": 1}, ""),
        ("K09", ROOT, {"kernel__io_uring_disabled": 2}, "kernel.io_uring_disabled is 2"),
        ("K10", ROOT, {"user__max_user_namespaces": 0}, "user.max_user_namespaces is 0"),
        ("K10", ORDINARY, {"kernel__unprivileged_userns_clone": 0}, "kernel.unprivileged_userns_clone is 0"),
        (
            "K10",
            ORDINARY,
            {"kernel__apparmor_restrict_unprivileged_userns": 1},
            "AppArmor restricts user namespaces: kernel.apparmor_restrict_unprivileged_userns is 1",
        ),
        ("K10", ROOT, {"kernel__apparmor_restrict_unprivileged_userns": 1}, ""),
        ("K11", ORDINARY, {"vm__unprivileged_userfaultfd": 0}, "vm.unprivileged_userfaultfd is 0"),
        ("K11", ORDINARY, {"vm__unprivileged_userfaultfd": 1}, ""),
        ("K11", ROOT, {"vm__unprivileged_userfaultfd": 0}, ""),
        ("K13", ORDINARY, {"dev__tty__legacy_tiocsti": 0}, "dev.tty.legacy_tiocsti is 0"),
        ("K13", ORDINARY, {}, ""),  # kernels before 6.2 have no such setting
        ("K13", ROOT, {"dev__tty__legacy_tiocsti": 0}, ""),
        ("K22", ORDINARY, {}, "this user may not set its clock (no CAP_SYS_TIME)"),
        ("K22", ROOT, {}, ""),
        ("R07", ORDINARY, {"kernel__yama__ptrace_scope": 1}, "kernel.yama.ptrace_scope is 1"),
        ("C05", ORDINARY, {"kernel__yama__ptrace_scope": 3, "user__max_user_namespaces": 0}, ""),
    ],
)
def test_the_setting_that_forbids_it_is_named(
    tmp_path: Path, attack_id: str, capabilities: str, settings: dict[str, int], reason: str
) -> None:
    host = a_host(tmp_path, capabilities, **settings)
    assert masked_by(attack_id, root=host) == reason


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("core", ""),
        ("|/usr/lib/crash %p", "kernel.core_pattern is '|/usr/lib/crash %p'"),
        ("/var/cores/%e", "kernel.core_pattern is '/var/cores/%e'"),
    ],
)
def test_a_core_that_would_lie_elsewhere_is_named(tmp_path: Path, pattern: str, reason: str) -> None:
    host = a_host(tmp_path, ROOT)
    (host / "proc/sys/kernel").mkdir(parents=True)
    (host / "proc/sys/kernel/core_pattern").write_text(f"{pattern}\n")
    assert masked_by("K15", root=host) == reason


def test_the_passports_word_counts_for_user_namespaces_only(tmp_path: Path) -> None:
    host = a_host(tmp_path, ORDINARY)
    unavailable = frozenset({"userns"})
    assert masked_by("K10", unavailable, host) == "by its passport it makes no user namespaces"
    assert masked_by("K01", unavailable, host) == ""


def test_every_attack_that_needs_something_of_the_host_can_be_run() -> None:
    assert set(NEEDS) <= set(attack_files.built())
