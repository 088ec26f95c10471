"""R04: take from the monitor what it cannot work without, so that it stops the device itself."""

from __future__ import annotations

import os
import resource
import signal

from faults.attack import Attack, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.implant.foothold import Foothold
from faults.seen import Observations


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """On the process ``run_pid``, this run's monitor. With ``how`` "fsize" (usual) it may write no more into any file,
    the journal included, and goes to its safe state; with "kill" it is ended.
    """
    pid = int(parameters.get("run_pid", 0))
    if pid <= 1:
        return {"note": "no monitor of this run is known", "interlock": True}
    if parameters.get("how", "fsize") == "kill":
        os.kill(pid, signal.SIGKILL)
        return {"killed": pid}
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    return {"limited": pid}


def effect(seen: Observations, _injection: Injection) -> Effect:
    """The device stopped before its time."""
    if seen.stopped is None:
        raise CannotTell("nobody looked how the run ended")
    if seen.stopped:
        # The words end in a path of this run, or in the chain value: neither is for a sentence.
        return Effect(
            True, f"The whole device stopped before its time ({seen.stopped.split(': /')[0][:120]})."
        )
    return Effect(False, "The device ran to the end of its time.")


ATTACK = Attack(
    "R04",
    "It forbids the monitor to write, so that the monitor, which must keep its journal, switches the device off.",
    effect,
    inject,
    parameters={"how": OneOf(("fsize", "kill"))},
    needs=("victim",),
    costs_a_restart=True,
    walls=("pidns", "uid", "seccomp", "userns", "caps", "landlock"),
)
