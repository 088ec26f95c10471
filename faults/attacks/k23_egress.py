"""K23: call home over the network."""

from __future__ import annotations

import socket

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import got_out
from faults.implant.foothold import Foothold

LOOPBACK = "127.0.0.1"
PATIENCE_S = 0.3


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """A line to the attacker's server by ``door``: ``tcp``, ``udp``, or ``both`` (usual)."""
    report: Report = {}
    door = str(parameters.get("door", "both"))
    for name, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
        if door in (name, "both"):
            note = f"EGRESS K23 frame={foothold.window.frame} {name}\n".encode()
            report[name] = _send(kind, int(parameters[f"collector_{name}_port"]), note)
    return report


def _send(kind: socket.SocketKind, port: int, note: bytes) -> int | str:
    try:
        with socket.socket(socket.AF_INET, kind) as out:
            out.settimeout(PATIENCE_S)
            out.connect((LOOPBACK, port))
            return out.send(note)
    except OSError as error:
        return str(error)


ATTACK = Attack(
    "K23",
    "It tries to call home over the network.",
    got_out("K23"),
    inject,
    parameters={"door": OneOf(("tcp", "udp", "both"))},
    needs=("collector",),
    walls=("netns", "seccomp"),
)
