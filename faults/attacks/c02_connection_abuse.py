"""C02: connections by the hundred that are never finished, until whoever accepts them has no descriptor left."""

from __future__ import annotations

import contextlib
import socket

from faults.attack import Attack, Between, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.effects import lost_a_life
from faults.implant import bodies
from faults.implant.foothold import Foothold, gate_socket
from faults.seen import Observations, bound

CONNECTIONS_MAX = 400
#: A gate's table of descriptors is never larger than this, which is also the least that an observer can tell.
GATE_FDS_MAX = 64


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``count`` (150) connections to ``whose`` gate ("own", "therapy"), open for ``hold_s`` (0.4) with nothing said."""
    path = gate_socket(foothold, str(parameters.get("whose", "own")))
    held: list[socket.socket] = []
    note = ""
    for _ in range(min(int(parameters.get("count", 150)), CONNECTIONS_MAX)):
        try:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            held.append(link)
            link.setblocking(False)
            link.connect(path)
        except OSError as error:  # a full queue of connections is one that is being emptied
            note = str(error)
            if not isinstance(error, BlockingIOError):
                break
    bodies.hold(parameters, 0.4)
    for link in held:
        link.close()
    return {"connections": len(held), "note": note}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A gate held more descriptors than it may, or therapy's life ended with its gate's."""
    limit, most = bound(injection, "gate_fds_max", GATE_FDS_MAX), {}
    for label in (seen.gate_label, f"gate-{seen.victim}"):
        with contextlib.suppress(CannotTell):
            most[label] = max(peak.fds_max for peak in seen.peaks_of(injection, label))
    for label, held in most.items():
        if held > limit:
            return Effect(True, f"{label} held {held} descriptors; {limit:.0f} are the most.")
    death = lost_a_life(seen, injection)
    if death:
        return death
    if not most or min(most.values()) < 0:
        raise CannotTell("the descriptors of gates could not be looked at")
    return Effect(False, f"No gate held more than {max(most.values())} descriptors.")


ATTACK = Attack(
    "C02",
    "It opens connection after connection to a reader, and finishes none, until the reader can take no more.",
    effect,
    inject,
    parameters={"count": Between(100, CONNECTIONS_MAX), "whose": OneOf(("own", "therapy"))},
    costs_a_restart=True,
    walls=("peer", "seccomp", "rlimits", "mntns"),
)
