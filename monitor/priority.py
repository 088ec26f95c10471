"""Which processes come first: the gates, all of which a frame waits for, and what a design calls critical."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from monitor.design import WORLD, Design
from sandbox import cgroups, scheduling
from sandbox.launcher import Nascent


class Priority:
    """One device's share of what the host grants; without a ``grant`` all are treated alike.

    A first life that does not get what was granted does not start. A later one does all the same, as an ordinary
    process, and that is told: a therapy that may be late is better than none.
    """

    def __init__(self, design: Design, grant: scheduling.Grant | None, tell: Callable[..., None]) -> None:
        self._grant = grant
        self._tell = tell
        self._has_rt = grant is not None and grant.has_rt
        self._critical = {WORLD, *(p.name for p in design.partitions if p.is_critical)}
        self._rt_us = rt_share_us(design) if self._has_rt else 0
        self._had_a_life: set[str] = set()

    def _is_first(self, name: str, is_gate: bool) -> bool:
        return self._has_rt and (is_gate or name in self._critical)

    def group(self, name: str, is_gate: bool, make: Callable[[int], cgroups.Group]) -> cgroups.Group:
        """The control group of a life: made with as much of a second as its members may run at real-time priority.

        Raises ``OSError``.
        """
        try:
            return make(self._rt_us if self._is_first(name, is_gate) else 0)
        except OSError:
            if not self._is_first(name, is_gate) or name not in self._had_a_life:
                raise
        return make(0)

    def place(self, name: str, gate: Nascent, process: Nascent | None) -> None:
        """Give a sealed life the processors and the priority that are its own. Raises ``OSError``."""
        if self._grant is None:
            return
        cpus = self._grant.critical if name in self._critical else self._grant.others
        for nascent, priority in ((gate, scheduling.GATE), (process, scheduling.PARTITION)):
            if nascent is None:
                continue
            is_first = self._is_first(name, nascent is gate)
            try:
                scheduling.place(nascent.pid, cpus, priority if is_first else 0)
            except OSError as error:
                if not is_first or name not in self._had_a_life:
                    raise
                scheduling.place(nascent.pid, cpus, 0)
                self._tell(0, "unprioritised", name, f"{name} runs without real-time priority: {error}")
        self._had_a_life.add(name)

    @contextmanager
    def while_ending(self, name: str, *pids: int) -> Iterator[None]:
        """For as long as a life on the monitor's processors is killed and buried, both are ordinary processes.

        A life that has used up its share of the second could not even end before the next one, and a monitor that
        waits must not stand before what it waits for.
        """
        is_elsewhere = self._grant is not None and self._grant.has_cpus and name not in self._critical
        if not self._has_rt or is_elsewhere:
            yield
            return
        with scheduling.ordinary():
            for pid in pids:
                scheduling.give_up(pid)
            yield


def rt_share_us(design: Design) -> int:
    """The share of each control group: one for each gate, the world's included, and each critical partition."""
    gates = 1 + len(design.partitions)
    return scheduling.GROUPS_RT_US // (gates + sum(p.is_critical for p in design.partitions))
