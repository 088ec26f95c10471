"""Who a confined process is: user and group, capabilities, privileges it can gain, session, whom it dies with."""

from __future__ import annotations

import os

from sandbox import linux, namespaces


def become(walls: frozenset[str], outer_uid: int, is_root: bool) -> None:
    """Give up the bounding set, and take the process's own user id if it was given one.

    Inside a user namespace the id is ``INNER_ID``; without one, and as root, it is ``outer_uid`` itself.
    """
    if "caps" in walls:
        linux.drop_bounding_set()
    if not is_root or "uid" not in walls:
        return
    target = namespaces.INNER_ID if "userns" in walls else outer_uid
    os.setgroups([])
    os.setresgid(target, target, target)
    os.setresuid(target, target, target)


def drop_privileges(walls: frozenset[str]) -> None:
    """Empty the capability sets and bar new privileges, as the walls say. Call while single-threaded."""
    if "caps" in walls:
        linux.drop_capabilities()
    if walls & {"nnp", "seccomp", "landlock"}:  # the kernel takes rules only from who has it
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def new_session(walls: frozenset[str]) -> None:
    """Leave the caller's session and with it the terminal."""
    if "session" in walls:
        os.setsid()


def tie_to_monitor(walls: frozenset[str]) -> None:
    """Die when the monitor does. Without the wall the process lives on until its watchman ends it."""
    if "lifeline" in walls:
        linux.die_with_parent()


def close_memory(walls: frozenset[str]) -> None:
    """Refuse debuggers of the same user, and core dumps. The inventory must have been taken before."""
    if "dumpable" in walls:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
