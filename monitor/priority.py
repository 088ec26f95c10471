"""Which lives come first: what a design calls critical, and the gates that its time depends on."""

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

    def _is_first(self, name: str) -> bool:
        return self._has_rt and name in self._critical

    def group(self, name: str, make: Callable[[int], cgroups.Group]) -> cgroups.Group:
        """The control group of a life: made with as much of a second as its members may run at real-time priority.

        Raises ``OSError``.
        """
        try:
            return make(self._rt_us if name in self._critical else 0)
        except OSError:
            if not self._is_first(name) or name not in self._had_a_life:
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
            try:
                scheduling.place(nascent.pid, cpus, priority if self._is_first(name) else 0)
            except OSError as error:
                if not self._is_first(name) or name not in self._had_a_life:
                    raise
                scheduling.place(nascent.pid, cpus, 0)
                self._tell(0, "unprioritised", name, f"{name} runs without real-time priority: {error}")
        self._had_a_life.add(name)

    @contextmanager
    def while_ending(self, name: str, *pids: int) -> Iterator[None]:
        """For as long as a life is killed and buried, neither it nor the monitor has real-time priority.

        A life that has used up its share of the second could not even end before the next one, and a monitor that
        waits must not stand before what it waits for.
        """
        if not self._is_first(name):
            yield
            return
        with scheduling.ordinary():
            for pid in pids:
                scheduling.give_up(pid)
            yield


def rt_share_us(design: Design) -> int:
    """The share of each control group of a critical life: two for each such partition, one for the world's gate."""
    return scheduling.GROUPS_RT_US // (1 + 2 * sum(p.is_critical for p in design.partitions))
