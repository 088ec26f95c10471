"""Which lives come first: what a design calls critical, and the gates that its time depends on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from monitor.design import WORLD, Design
from sandbox import scheduling
from sandbox.launcher import Nascent


class Priority:
    """One device's share of what the host grants; without a ``grant`` all are treated alike."""

    def __init__(self, design: Design, grant: scheduling.Grant | None) -> None:
        self._grant = grant
        self._critical = {WORLD, *(p.name for p in design.partitions if p.is_critical)}
        self._rt_us = rt_share_us(design) if grant is not None and grant.has_rt else 0

    def rt_us(self, name: str) -> int:
        """What each control group of a life may use of a second at real-time priority."""
        return self._rt_us if name in self._critical else 0

    def while_ending(self, name: str) -> AbstractContextManager[None]:
        """For as long as a life is killed and buried: the monitor must not stand before what it waits for."""
        is_first = self._grant is not None and self._grant.has_rt and name in self._critical
        return scheduling.ordinary() if is_first else nullcontext()

    def place(self, name: str, gate: Nascent, process: Nascent | None) -> None:
        """Give a sealed life the processors and the priority that are its own. Raises ``OSError``."""
        if self._grant is None:
            return
        is_critical = name in self._critical
        cpus = self._grant.critical if is_critical else self._grant.others
        for nascent, priority in ((gate, scheduling.GATE), (process, scheduling.PARTITION)):
            if nascent is not None:
                is_first = is_critical and self._grant.has_rt
                scheduling.place(nascent.pid, cpus, priority if is_first else 0)


def rt_share_us(design: Design) -> int:
    """The share of each control group of a critical life: two for each such partition, one for the world's gate."""
    return scheduling.GROUPS_RT_US // (1 + 2 * sum(p.is_critical for p in design.partitions))
