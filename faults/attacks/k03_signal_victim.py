"""K03: end the therapy program, or stop it."""

from __future__ import annotations

import os
import signal
import time

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import died_or_stopped
from faults.implant import bodies, victim
from faults.implant.foothold import Foothold

STOP_S_MAX = 2.0


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """SIGKILL to therapy, or SIGSTOP for ``seconds`` (1.5). ``signal`` ("kill"), ``run_pid`` (required)."""
    search = victim.find(str(parameters.get("victim", "therapy")), int(parameters.get("run_pid", 0)))
    if not search.pids:
        os.kill(os.getpid(), 0)  # harmless, and enough to trip a filter
        return victim.not_found(search)
    is_stop = parameters.get("signal", "kill") == "stop"
    report: Report = {"victims": len(search.pids), "signalled": 0, "errors": []}
    for pid in search.pids:
        try:
            os.kill(pid, signal.SIGSTOP if is_stop else signal.SIGKILL)
            report["signalled"] += 1
        except OSError as error:
            report["errors"].append(str(error))
    if is_stop:
        _continue_later(search.pids, min(float(parameters.get("seconds", 1.5)), STOP_S_MAX))
    return report


def _continue_later(pids: tuple[int, ...], seconds: float) -> None:
    """SIGCONT after ``seconds``, from a child, so that frames go on; from here if it cannot fork."""
    try:
        child = bodies.fork()
    except OSError:
        child = -1
    if child > 0:
        return
    time.sleep(seconds)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except OSError:
            continue  # it is gone
    if child == 0:
        os._exit(0)


ATTACK = Attack(
    "K03",
    "It tries to kill the therapy program outright.",
    died_or_stopped,
    inject,
    parameters={"signal": OneOf(("stop", "kill"))},
    needs=("victim",),
    costs_a_restart=True,
    walls=("pidns", "procfs", "uid", "seccomp", "landlock"),
)
