"""The names of all walls. A wall is one named protection that an experiment can switch off.

Operating-system walls are raised by this room around a process; policing walls by gates and the monitor around
messages; walls of the boot by its stages (``boot``) around what may run at all; walls of trust by a verifier, a factory
and the secure element around what is believed of a device. ``needs`` names walls without which one
cannot stand, ``needs_unprivileged`` those that only root can do without.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wall:
    """``name`` as used with ``--without``; ``keeps`` says in plain words what it keeps out."""

    name: str
    keeps: str
    needs_unprivileged: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    root_only: bool = False


OS_WALLS = (
    Wall("userns", "a user namespace of its own: no capability counts outside it"),
    Wall("pidns", "sees and signals no process but its own; dies as a whole", ("userns",)),
    Wall("mntns", "an empty read-only root with only its image and the interpreter", ("userns",)),
    Wall("netns", "no network interface, no abstract Unix socket of others", ("userns",)),
    Wall("ipcns", "no System V or POSIX message queue or segment of others", ("userns",)),
    Wall("utsns", "a host name of its own", ("userns",)),
    Wall("cgroupns", "does not see the host's control groups", ("userns",)),
    Wall("procfs", "no procfs: no window into any process", needs=("mntns",)),
    Wall("uid", "a user id of its own, shared with nobody", root_only=True),
    Wall("caps", "no capability in any set"),
    Wall("nnp", "no program can raise its privileges (seccomp and landlock set it, too)"),
    Wall("seccomp", "only the system calls it needs, for the native architecture only"),
    Wall("landlock", "file, TCP, abstract-socket and signal rules by the kernel's LSM"),
    Wall("rlimits", "bounded address space, files, file size, no core dump"),
    Wall("memcg", "bounded memory of all kinds, memfd and tmpfs included", root_only=True),
    Wall("pidscg", "a bounded number of processes", root_only=True),
    Wall("cpucg", "a bounded share of the processor", root_only=True),
    Wall("fds", "inherits no descriptor but the declared ones"),
    Wall("session", "a session of its own, without a terminal"),
    Wall("lifeline", "dies with the monitor, however the monitor ends"),
    Wall("dumpable", "its memory is closed to debuggers of the same user"),
)

POLICING_WALLS = (
    Wall("gate", "the process that reads its bytes is itself confined and bounded"),
    Wall("peer", "the socket of its gate loses its name once it has connected: nobody can follow"),
    Wall("size", "no message longer than its port declares"),
    Wall("route", "only its own output ports"),
    Wall("stamp", "the sender is who owns the channel, whatever the header claims"),
    Wall("sequence", "no replayed, reordered or stale message"),
    Wall("rate", "no more messages per frame than its port declares"),
    Wall("schema", "only messages of the port's one type"),
    Wall("range", "only numbers and lengths within the type's bounds"),
    Wall("canonical", "only the one canonical encoding; the receiver gets our own bytes"),
    Wall("recheck", "the monitor and the receiver check once more what a gate let through"),
    Wall("escape", "what it writes to its log reaches a reader as plain printable text only"),
    Wall("window", "a window ends at its budget, and a process that exceeds its means is killed"),
    Wall("budget", "a partition that keeps dying stays off once its restarts are spent"),
)

BOOT_WALLS = (
    Wall("signature", "no manifest and no release that is not signed, or by whom it does not say"),
    Wall("chain", "no signer whose certificates do not lead to the root in the fuses"),
    Wall("revocation", "no signer whose certificate, or one above it, was revoked"),
    Wall("scope", "no signer beyond the roles, partitions and safety classes in its certificate"),
    Wall("digest", "no image of another length or digest than its manifest says"),
    Wall("release", "no images of different releases side by side"),
    Wall("hardware", "no image for other hardware"),
    Wall("floor", "no image older than the floor in the secure element, in either slot"),
    Wall("swap", "nothing runs but the sealed bytes that were verified, whatever becomes of the flash"),
    Wall("platform", "no other interpreter or package than the manifest names"),
)

#: Around the device rather than in it: of whoever it proves itself to, of the factory that names it, of its element.
TRUST_WALLS = (
    Wall("nonce", "no answer but to the challenge that a verifier has just drawn, once"),
    Wall("layers", "no measured log that says otherwise than the layers, each signed by the one before it"),
    Wall("pathlen", "no authority below a factory: it names devices, and nobody who would name more"),
    Wall("request", "nothing of a certificate request gets into a certificate but the key"),
    Wall("unlock", "debugging opens on the one device that its signed permission names"),
)

WALLS: dict[str, Wall] = {wall.name: wall for wall in OS_WALLS + POLICING_WALLS + BOOT_WALLS + TRUST_WALLS}
OS_WALL_NAMES = frozenset(wall.name for wall in OS_WALLS)
POLICING_WALL_NAMES = frozenset(wall.name for wall in POLICING_WALLS)
BOOT_WALL_NAMES = frozenset(wall.name for wall in BOOT_WALLS)
TRUST_WALL_NAMES = frozenset(wall.name for wall in TRUST_WALLS)
ALL = frozenset(WALLS)


class UnknownWall(ValueError):
    """A name that is no wall's."""


def in_order(names: Collection[str]) -> list[str]:
    """Names of walls in the order of this catalogue; what is no wall is left out."""
    return [name for name in WALLS if name in names]


def parse_without(text: str) -> frozenset[str]:
    """The walls named in ``"seccomp,netns"`` or all of them for ``"all"``. Raises ``UnknownWall``."""
    names = {part.strip() for part in text.split(",") if part.strip()}
    if names == {"all"}:
        return ALL
    unknown = sorted(names - ALL)
    if unknown:
        raise UnknownWall(f"no wall is called {unknown[0]!r}; the walls are {', '.join(WALLS)} or all")
    return frozenset(names)


def standing(without: frozenset[str], *, is_root: bool) -> frozenset[str]:
    """The walls that can still stand when those in ``without`` do not:
    what needs a missing one falls with it.
    """
    up = ALL - without
    while True:
        fallen = {name for name in up if not set(_needs(WALLS[name], is_root=is_root)) <= up}
        if not fallen:
            return up
        up = up - fallen


def around(standing_walls: frozenset[str], lacks: frozenset[str]) -> frozenset[str]:
    """Of the walls that stand, those around a process that lacks some: what needs a missing one falls with it."""
    return standing((ALL - standing_walls) | lacks, is_root=os.geteuid() == 0)


def _needs(wall: Wall, *, is_root: bool) -> tuple[str, ...]:
    return wall.needs if is_root else wall.needs + wall.needs_unprivileged
