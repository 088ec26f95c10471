"""R08: answer in the worker's stead, through its own door."""

from __future__ import annotations

import os

from faults.attack import Attack, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.implant.foothold import Foothold
from faults.seen import Observations

_ANSWERS = {"line": b"FORGED all attacks held\n", "half": b"FORGED never an end "}


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """Opens the standard output of ``worker_pid``, which the harness names, by way of procfs, and writes an answer of
    its own: a whole ``what`` "line" (usual), or "half" of one. ``door`` is that descriptor's number (1).
    """
    pid = int(parameters.get("worker_pid", 0))
    if pid <= 1:
        return {"note": "no worker of this run is known", "interlock": True}
    answer = _ANSWERS[str(parameters.get("what", "line"))]
    door = os.open(f"/proc/{pid}/fd/{int(parameters.get('door', 1))}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        return {"written_bytes": os.write(door, answer)}
    finally:
        os.close(door)


def effect(seen: Observations, _injection: Injection) -> Effect:
    """Out of the door of the process that stands in for the worker came what it had not said."""
    if seen.stand_in is None:
        raise CannotTell("nobody stood in for the worker")
    if seen.stand_in.forged:
        return Effect(
            True, "An answer came out of the worker's door that a process with its standing had not given."
        )
    if not seen.stand_in.told:
        raise CannotTell("the process with the worker's standing gave no answer")
    return Effect(False, "Nothing came out of the worker's door but its own answer.")


ATTACK = Attack(
    "R08",
    "It tries to answer in the place of the program that runs the experiment: all is well.",
    effect,
    inject,
    parameters={"what": OneOf(("half", "line"))},
    needs=("worker",),
    walls=("procfs", "mntns", "uid", "landlock"),
)
