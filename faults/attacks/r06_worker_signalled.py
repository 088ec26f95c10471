"""R06: end, or stop, the process that runs the experiment."""

from __future__ import annotations

import os
import signal

from faults.attack import Attack, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.implant.foothold import Foothold
from faults.seen import Observations


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """One signal to the process ``worker_pid``, which the harness names: ``how`` "kill" (usual), "stop", or "group",
    which ends all of its process group.
    """
    pid = int(parameters.get("worker_pid", 0))
    if pid <= 1:
        return {"note": "no worker of this run is known", "interlock": True}
    how = parameters.get("how", "kill")
    if how == "group":
        os.killpg(os.getpgid(pid), signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGSTOP if how == "stop" else signal.SIGKILL)
    return {"signalled": pid}


def effect(seen: Observations, _injection: Injection) -> Effect:
    """The process that stands in for the worker was ended by a signal, or lay still."""
    if seen.stand_in is None:
        raise CannotTell("nobody stood in for the worker")
    if seen.stand_in.signal:
        return Effect(
            True, f"A process with the worker's standing was ended by signal {seen.stand_in.signal}."
        )
    if seen.stand_in.was_stopped:
        return Effect(True, "A process with the worker's standing was stopped.")
    if not seen.stand_in.told and not seen.stand_in.forged:
        raise CannotTell("the process with the worker's standing gave no answer, and nobody saw why")
    return Effect(False, "The process with the worker's standing lived on.")


ATTACK = Attack(
    "R06",
    "It tries to kill the program that runs the experiment, so that nobody is left to say what it did.",
    effect,
    inject,
    parameters={"how": OneOf(("stop", "kill", "group"))},
    needs=("worker",),
    costs_a_restart=True,
    walls=("pidns", "uid", "seccomp", "landlock"),
)
