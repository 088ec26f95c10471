"""R07: reach into the memory of the process that runs the experiment, and rewrite its verdict."""

from __future__ import annotations

from faults.attack import Attack, CannotTell, Effect, Injection, Parameters, Report
from faults.implant import remote
from faults.implant.foothold import Foothold
from faults.seen import Observations

#: What takes the place of a verdict's last word, which is as long.
_REWRITTEN = b"LOST"


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """Looks through the memory of ``worker_pid``, which the harness names, for ``verdict``, and writes over its end."""
    pid, verdict = int(parameters.get("worker_pid", 0)), str(parameters.get("verdict", "")).encode()
    if pid <= 1 or len(verdict) <= len(_REWRITTEN):
        return {"note": "no worker of this run is known", "interlock": True}
    remote.knock()
    places = []
    for start, data in remote.chunks(pid):
        at = data.find(verdict)
        while at >= 0:
            places.append(start + at + len(verdict) - len(_REWRITTEN))
            at = data.find(verdict, at + 1)
    for place in places:
        remote.write(pid, place, _REWRITTEN)
    return {"places": len(places)}


def effect(seen: Observations, _injection: Injection) -> Effect:
    """The process that stands in for the worker told another verdict than the one that it was given."""
    if seen.stand_in is None:
        raise CannotTell("nobody stood in for the worker")
    if not seen.stand_in.told:
        raise CannotTell("the process with the worker's standing did not say what it held")
    if seen.stand_in.told != seen.stand_in.held:
        return Effect(True, "A verdict in the memory of a process with the worker's standing was rewritten.")
    return Effect(
        False, "The verdict in the memory of the process with the worker's standing is what it was."
    )


ATTACK = Attack(
    "R07",
    "It tries to rewrite the verdict in the memory of the program that runs the experiment.",
    effect,
    inject,
    needs=("worker",),
    costs_a_restart=True,
    walls=("pidns", "procfs", "uid", "seccomp", "landlock"),
)
