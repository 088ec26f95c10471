"""Landlock: rules on files, TCP, abstract sockets and signals that a process puts on itself.

Source: linux/Documentation/userspace-api/landlock.rst. Works without privilege (needs no_new_privs). ABI 1
knows files, 4 TCP, 6 abstract sockets and signals; ``version`` tells what this kernel has.
"""

from __future__ import annotations

import ctypes
import os

from sandbox import linux

#: The versions from which TCP rules, and scopes of abstract sockets and signals, are known.
ABI_TCP = 4
ABI_SCOPES = 6
_READ_FILE = 1 << 2
_WRITE_FILE = 1 << 1
_READ_DIR = 1 << 3
_ALL_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_READ = _READ_FILE | _READ_DIR
_REMOVE_FILE = 1 << 5
_MAKE_REG = 1 << 8
_MAKE_SOCK = 1 << 9
_SCRATCH = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG
_RULE_PATH_BENEATH = 1


class _RulesetAttr(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """The version of Landlock on this kernel. Raises ``OSError`` with the kernel's reason where there is none."""
    return linux.syscall("landlock_create_ruleset", None, 0, linux.LANDLOCK_CREATE_RULESET_VERSION)


def ruleset(
    readable: tuple[str, ...], writable: tuple[str, ...], socket_folders: tuple[str, ...] = ()
) -> int:
    """A descriptor of rules, not yet in force. Make it while the paths can be reached, ``enforce`` it
    afterwards.

    All three name existing folders or files; in ``socket_folders`` Unix sockets can be made and removed.
    Raises ``OSError`` where Landlock is missing.
    """
    known = version()
    files = _ALL_BY_ABI[max(each for each in _ALL_BY_ABI if each <= known)]
    attr = _RulesetAttr(files, 3 if known >= ABI_TCP else 0, 3 if known >= ABI_SCOPES else 0)
    size = 24 if known >= ABI_SCOPES else 16 if known >= ABI_TCP else 8
    rules = linux.syscall("landlock_create_ruleset", ctypes.byref(attr), size, 0)
    try:
        for path in readable:
            _allow(rules, path, _READ & files)
        for path in writable:
            _allow(rules, path, _SCRATCH & files)
        for path in socket_folders:
            _allow(rules, path, (_MAKE_SOCK | _REMOVE_FILE) & files)
    except OSError:
        os.close(rules)
        raise
    return rules


def enforce(rules: int) -> None:
    """Confine the calling thread and its later children by ``rules``, and close them. Needs no_new_privs."""
    try:
        linux.syscall("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)


def _allow(ruleset: int, path: str, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            access &= _READ_FILE | _WRITE_FILE
        beneath = _PathBeneath(access, descriptor)
        linux.syscall("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(descriptor)
