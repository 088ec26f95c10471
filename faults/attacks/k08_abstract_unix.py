"""K08: reach a listener outside through a Unix socket that lives in no file system."""

from __future__ import annotations

import socket

from faults.attack import Attack, Parameters, Report
from faults.effects import got_out
from faults.implant.foothold import Foothold

PATIENCE_S = 0.3


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """A line to ``abstract_name`` (required), which no file permission guards."""
    note = f"EGRESS K08 frame={foothold.window.frame} abstract\n".encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
            out.settimeout(PATIENCE_S)
            out.connect("\0" + str(parameters["abstract_name"]))
            return {"abstract": out.send(note)}
    except OSError as error:
        return {"abstract": str(error)}


ATTACK = Attack(
    "K08",
    "It tries to reach a listener outside through a socket that needs no network and no file.",
    got_out("K08"),
    inject,
    needs=("abstract_name",),
    walls=("netns", "seccomp", "landlock"),
)
