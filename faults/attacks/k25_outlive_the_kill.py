"""K25: leave a hidden copy behind that refuses to die when the partition is killed."""

from __future__ import annotations

import os
import signal
import time

from faults.attack import Attack, CannotTell, Effect, Injection, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold, say
from faults.seen import Observations, token_of

SURVIVOR_S_MAX = 60.0


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """A grandchild in its own session, deaf to SIGTERM, that stays when the partition goes.

    It takes the name ``token`` and ends by itself after ``seconds`` (30) or at ``deadline_unix_s``. Then the
    partition ends itself, unless ``provoke`` is "none": whatever is left afterwards has outlived it.
    """
    until = time.time() + min(float(parameters.get("seconds", 30.0)), SURVIVOR_S_MAX)
    until = min(until, float(parameters.get("deadline_unix_s", until)))
    report: Report = {}
    try:
        child = bodies.fork()
    except OSError as error:
        report["note"] = str(error)
        child = -1
    if child == 0:
        _become_survivor(str(parameters["token"]), until)
    if child > 0:
        bodies.status_of(child)
        time.sleep(0.05)
    if parameters.get("provoke", "exit") == "exit":
        say("K25", foothold.window.frame, report | {"then": "ends the partition"})
        os._exit(0)
    return report


def _become_survivor(token: str, until_unix_s: float) -> None:
    """The first child: fork again and go, so that the second one has no parent here. Never returns."""
    try:
        os.setsid()
        if bodies.fork() > 0:
            os._exit(0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.alarm(int(SURVIVOR_S_MAX))
        bodies.take_name(token)
        os.closerange(0, 256)
        while time.time() < until_unix_s:
            time.sleep(0.1)
    finally:
        os._exit(0)


def effect(seen: Observations, injection: Injection) -> Effect:
    """Something of the attacker's was alive after its partition was gone."""
    if seen.survivors is None:
        raise CannotTell("nobody looked for survivors")
    if not seen.ended(injection, seen.attacker):
        raise CannotTell(f"{seen.attacker} was not killed, so nothing could outlive that")
    left = [one for one in seen.survivors if one.comm == token_of(injection)]
    if left:
        return Effect(True, f"Process {left[0].pid} was still alive after {seen.attacker} was gone.")
    return Effect(False, f"Nothing of {seen.attacker} was left.")


ATTACK = Attack(
    "K25",
    "It leaves a hidden copy of itself behind that refuses to die when the partition is killed.",
    effect,
    inject,
    needs=("token", "deadline"),
    costs_a_restart=True,
    walls=("pidns", "seccomp"),
)
