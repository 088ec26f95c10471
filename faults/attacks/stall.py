"""Attacks by not getting done."""

from __future__ import annotations

import time

from faults.implant.foothold import Foothold, Parameters, Report

HANG_S_MAX = 3.0


def hang(_foothold: Foothold, parameters: Parameters) -> Report:
    """F02: spins and does not close its window. ``seconds`` (3)."""
    until_s = time.monotonic() + min(float(parameters.get("seconds", HANG_S_MAX)), HANG_S_MAX)
    turns = 0
    while time.monotonic() < until_s:
        turns += 1
    return {"turns": turns}
