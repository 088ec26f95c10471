"""K22: the call that sets the clock, in the one form that leaves the clock alone."""

from __future__ import annotations

from faults.attack import Attack, Between, CannotTell, Effect, Injection, Parameters, Report
from faults.implant import bodies, timex
from faults.implant.foothold import Foothold
from faults.seen import Observations, token_of

TIMES_MAX = 3
#: For how many seconds the kernel itself may have let its estimate grow between two looks.
_SECONDS_MAX = 3


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """adjtimex(2) for the kernel's estimate of the clock's error, ``times`` (1) times, and back again.

    The kernel asks for the same right as for the time itself, and no clock moves. The estimate grows by itself to its
    limit, or a time service writes it, so that even a process that dies in between leaves nothing for long.
    """
    done = 0
    for _ in range(min(int(parameters.get("times", 1)), TIMES_MAX)):
        before_us = timex.maximum_error_us()
        change_us = timex.mark_us(str(parameters["token"]))
        timex.set_maximum_error(before_us - change_us if before_us > change_us else before_us + change_us)
        try:
            bodies.hold(parameters, 0.15)
        finally:
            timex.set_maximum_error(before_us)
        done += 1
    return {"done": done}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The estimate jumped by just as much as this attack's token says."""
    if seen.clock_jumps is None:
        raise CannotTell("nobody watched the clock")
    mark_us = timex.mark_us(token_of(injection))
    grown = [second * timex.GROWTH_US for second in range(_SECONDS_MAX + 1)]
    marks = {sign * mark_us + growth_us for sign in (-1, 1) for growth_us in grown}
    for frame, jump_us in seen.clock_jumps:
        if injection.covers(frame) and jump_us in marks:
            return Effect(True, f"It changed by {jump_us} us what the machine's clock says of its own error.")
    return Effect(False, "Nothing about the machine's clock changed.")


ATTACK = Attack(
    "K22",
    "It tries to set the clock of the whole machine.",
    effect,
    inject,
    parameters={"times": Between(1, TIMES_MAX)},
    needs=("token",),
    costs_a_restart=True,
    walls=("seccomp", "caps", "userns", "uid"),
)
