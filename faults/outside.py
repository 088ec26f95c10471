"""Faults that come from outside the device: what the environment does to it, through doors that it really has.

An outside attack is called once, between the frame before its own and its own. It may change the world's objects
(a sensor that sticks), send a signal to a process of the run, or spoil a file that the run left on disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from faults.implant.victim import descends_from


@dataclass(frozen=True, slots=True)
class Stage:
    """What an outside attack is given. ``world`` is the design's own world object, alive."""

    frame: int
    world: Any
    monitor_pid: int

    def pids(self, name: str) -> tuple[int, ...]:
        """The processes of this run that are called ``name`` (15 characters at most), and no others."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/comm", encoding="ascii", errors="replace") as file:
                    is_named = file.read().strip() == name
                if is_named and descends_from(int(entry), self.monitor_pid):
                    found.append(int(entry))
            except OSError:
                continue  # gone, or not for us to see
        return tuple(sorted(found))
