"""K21: give therapy the lowest priority, so that it comes too late."""

from __future__ import annotations

import os

from faults.attack import Attack, Between, CannotTell, Effect, Injection, Parameters, Report
from faults.implant import bodies, victim
from faults.implant.foothold import Foothold
from faults.seen import Observations

NICE_MAX = 19


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """Niceness ``nice`` (19) for the victim. ``run_pid`` (required)."""
    search = victim.find(str(parameters.get("victim", "therapy")), int(parameters.get("run_pid", 0)))
    if not search.pids:
        bodies.hold(parameters, 0.1)  # so that an observer can see that there is nothing
        return victim.not_found(search)
    report: Report = {"victims": len(search.pids), "reniced": 0, "errors": []}
    for pid in search.pids:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, min(int(parameters.get("nice", NICE_MAX)), NICE_MAX))
            report["reniced"] += 1
        except OSError as error:
            report["errors"].append(str(error))
    bodies.hold(parameters, 0.1)
    return report


def effect(seen: Observations, injection: Injection) -> Effect:
    """The victim was seen at a lower priority than before the attack, in its frame or later: nobody gives it back."""
    levels = [
        (frame, peak.nice_max) for (who, frame), peak in (seen.peaks or {}).items() if who == seen.victim
    ]
    if not any(frame >= injection.frame for frame, _ in levels):
        raise CannotTell(f"the watcher has no sample of {seen.victim} since the attack")
    worst = max(level for frame, level in levels if frame >= injection.frame)
    # The least: a sample that was begun in the frame before may have looked after the attack had struck.
    usual = min((level for frame, level in levels if frame < injection.frame), default=0)
    if worst > usual:
        return Effect(True, f"{seen.victim} ran at niceness {worst}, where it had {usual}.")
    return Effect(False, f"{seen.victim} kept its priority.")


ATTACK = Attack(
    "K21",
    "It tries to give the therapy program the lowest priority, so that it comes too late.",
    effect,
    inject,
    parameters={"nice": Between(1, NICE_MAX)},
    needs=("victim",),
    walls=("pidns", "procfs", "uid", "seccomp"),
)
