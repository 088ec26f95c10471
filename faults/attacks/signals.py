"""Attacks on therapy's process as a whole: end it, stop it, starve it."""

from __future__ import annotations

import os
import signal
import time
import warnings

from faults.implant import victim
from faults.implant.foothold import Foothold, Parameters, Report

STOP_S_MAX = 2.0


def signal_victim(_foothold: Foothold, parameters: Parameters) -> Report:
    """K03: SIGKILL to therapy, or SIGSTOP for ``seconds`` (1.5).

    ``signal`` ("kill"), ``run_pid`` (required).
    """
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
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


def renice_victim(_foothold: Foothold, parameters: Parameters) -> Report:
    """K21: the lowest priority for therapy, so that it misses its windows. ``run_pid`` (required)."""
    search = victim.find(str(parameters.get("victim", "therapy")), int(parameters.get("run_pid", 0)))
    if not search.pids:
        return victim.not_found(search)
    report: Report = {"victims": len(search.pids), "reniced": 0, "errors": []}
    for pid in search.pids:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, 19)
            report["reniced"] += 1
        except OSError as error:
            report["errors"].append(str(error))
    time.sleep(min(float(parameters.get("hold_s", 0.1)), 1.0))
    return report
