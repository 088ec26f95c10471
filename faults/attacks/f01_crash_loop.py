"""F01: it crashes, and crashes again after each restart."""

from __future__ import annotations

import faulthandler
import os

from faults.attack import Attack, Between, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.effects import died_or_stopped
from faults.implant.foothold import Foothold
from faults.seen import Observations

#: More deaths in a row than any partition of the reference device may have.
DEATHS_MIN, DEATHS_MAX = 8, 16


class Crash(BaseException):
    """What nobody catches, the implant included."""


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """Ends its own process in each of ``for_frames`` windows. ``how``: an uncaught "exception" (usual), an early
    "exit" that claims success, or "segv", a read of address 0.
    """
    how = parameters.get("how", "exception")
    if how == "exit":
        os._exit(0)
    if how == "segv":
        faulthandler._read_null()  # type: ignore[attr-defined]
    raise Crash("it crashes, and will again")


def effect(seen: Observations, injection: Injection) -> Effect:
    """Others were taken along, or it was started again more often than its restart budget grants."""
    if seen.lives is None:
        raise CannotTell("no record of the partitions' lives")
    if seen.victim != seen.attacker:
        taken_along = died_or_stopped(seen, injection)
        if taken_along.succeeded:
            return taken_along
    granted = int(injection.parameters.get(f"{seen.attacker}_restarts_max", 0))
    within = int(injection.parameters.get(f"{seen.attacker}_within_frames", 1))
    again = sorted(
        life.started_frame
        for life in seen.lives
        if life.partition == seen.attacker and life.epoch and injection.covers(life.started_frame)
    )
    most = max((sum(at <= other < at + within for other in again) for at in again), default=0)
    if most > granted:
        return Effect(
            True, f"It was started again {most} times within {within} frames; {granted} are granted."
        )
    return Effect(False, f"It was started again {most} times, as granted, and nobody else was harmed.")


ATTACK = Attack(
    "F01",
    "It crashes, and after each restart it crashes again, to keep the device busy with nothing but restarts.",
    effect,
    inject,
    parameters={
        "how": OneOf(("exception", "exit", "segv")),
        "for_frames": Between(DEATHS_MIN, DEATHS_MAX),
    },
    usual={"for_frames": DEATHS_MIN},
    needs=("restarts",),
    costs_a_restart=True,
    walls=("budget",),
    shows_within_frames=DEATHS_MAX + 2,
    partitions=("transfer", "therapy"),
)
