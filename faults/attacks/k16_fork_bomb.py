"""K16: split into dozens of copies."""

from __future__ import annotations

import time

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound

CHILDREN_MAX = 64
CHILD_S_MAX = 5.0
PROCESSES_MAX = 1


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """``count`` (64) children that end by themselves after ``seconds`` (2)."""
    count = min(int(parameters.get("count", CHILDREN_MAX)), CHILDREN_MAX)
    seconds = min(float(parameters.get("seconds", 2.0)), CHILD_S_MAX)
    born, note = bodies.breed(count, lambda: time.sleep(seconds), int(CHILD_S_MAX))
    bodies.hold(parameters, 0.1)
    return {"children": born, "note": note}


def effect(seen: Observations, injection: Injection) -> Effect:
    """More processes of the attacker were seen at once than it may have."""
    limit = bound(injection, "processes_max", PROCESSES_MAX)
    most = max(peak.processes_max for peak in seen.peaks_of(injection, seen.attacker))
    return Effect(most > limit, f"{seen.attacker} had at most {most} processes; {limit:.0f} is its limit.")


ATTACK = Attack(
    "K16",
    "It splits into dozens of copies of itself, to use up the machine's processes.",
    effect,
    inject,
    parameters={"count": Between(1, CHILDREN_MAX)},
    walls=("seccomp", "pidscg"),
)
