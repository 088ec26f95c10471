"""A world that does nothing but look at its watch and keep the sinks' tallies."""

from __future__ import annotations

import time

from ipc_schemas.window import PortMisused, Window

PAIRS_MAX = 32


class StillWorld:
    """``times_s[k]``: when frame k opened (perf_counter). ``packets[k]``: what the sinks had by then."""

    def __init__(self, seed: int, patient: int = 0) -> None:
        del seed, patient
        self.times_s: list[float] = []
        self.packets: list[int] = []
        self._ports: list[str] | None = None

    def configs(self) -> dict[str, bytes]:
        """None."""
        return {}

    def frame(self, window: Window) -> None:
        """Note the time and the tallies."""
        self.times_s.append(time.perf_counter())
        if self._ports is None:
            self._ports = [name for n in range(PAIRS_MAX) if _has(window, name := f"tally{n}")]
        samples = [window.latest(name) for name in self._ports]
        self.packets.append(sum(sample.value.packets for sample in samples if sample is not None))

    def orphaned(self, frames: int) -> None:
        """Nothing to live through."""


def _has(window: Window, port: str) -> bool:
    try:
        window.latest(port)
    except PortMisused:
        return False
    return True
