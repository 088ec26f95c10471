"""What to do about an event: the health table of a design, with its restart budgets. Pure.

ARINC 653 calls this health monitoring. ``RESTART`` spends the partition's restart budget, a sliding window of
frames; when the budget is spent, the next restart becomes ``QUARANTINE``, for a critical partition too (its
hardware watchdog then takes over). An event or a partition that the table does not know raises: unknown means
refuse. Nothing here knows a clock or a process: frames are arguments.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from monitor.design import Action, Design, Event, Partition, RestartBudget

#: The restart budget of every partition while the ``budget`` wall is off: so many in every frame, so that a start that
#: fails at once still ends.
NO_BUDGET = RestartBudget(restarts_max=100, within_frames=1)


class Decision(NamedTuple):
    """What the monitor does now. ``reason`` is one plain sentence for the journal."""

    action: Action
    reason: str
    restarts_left: int


class UnknownEvent(LookupError):
    """An event that the partition's health table has no row for, or a partition that the design has not."""

    def __init__(self, partition: str, event: str) -> None:
        super().__init__(f"no row for event {event} of partition {partition}; add one to its health table")
        self.partition = partition
        self.event = event


class FrameWentBack(ValueError):
    """An event reported for an earlier frame than the last one."""

    def __init__(self, frame: int, last_frame: int) -> None:
        super().__init__(f"event in frame {frame} after one in frame {last_frame}; report events in order")
        self.frame = frame
        self.last_frame = last_frame


class Health:
    """The health tables of one device, and what is left of each restart budget.

    Every reported event counts: report a life's fatal event once, not also the exit that the kill causes.
    ``walls`` are those that stand.
    """

    def __init__(self, design: Design, walls: frozenset[str]) -> None:
        self._partitions = {partition.name: partition for partition in design.partitions}
        self._budgets = {
            p.name: p.restart if "budget" in walls - p.lacks else NO_BUDGET for p in design.partitions
        }
        self._restarts: dict[str, deque[int]] = {partition.name: deque() for partition in design.partitions}
        self._quarantined: set[str] = set()
        self._is_in_safe_state = False
        self._last_frame = 0

    def on(self, partition: str, event: Event, frame: int) -> Decision:
        """The decision about ``event`` in ``frame`` (frames never go back).

        Raises ``UnknownEvent`` and ``FrameWentBack``; neither changes any state.
        """
        known = self._partitions.get(partition)
        if known is None or event not in known.health:
            raise UnknownEvent(partition, event)
        if frame < self._last_frame:
            raise FrameWentBack(frame, self._last_frame)
        self._last_frame = frame
        row = known.health[event]
        if row is Action.NOTE:
            return Decision(row, f"{event} in {partition}: noted", self.restarts_left(partition, frame))
        if partition in self._quarantined:
            return Decision(Action.QUARANTINE, f"{event} in {partition}: quarantined already", 0)
        if self._is_in_safe_state:
            return Decision(Action.SAFE_STATE, f"{event} in {partition}: the device is in its safe state", 0)
        if row is Action.RESTART:
            return self._restart(known, event, frame)
        return self._obey(partition, event, row, frame)

    def restarts_left(self, partition: str, frame: int) -> int:
        """How many restarts of ``partition`` the budget still grants in ``frame``. Raises ``KeyError``."""
        if partition in self._quarantined or self._is_in_safe_state:
            return 0
        budget = self._budgets[partition]
        since = frame - budget.within_frames + 1
        return budget.restarts_max - sum(restarted >= since for restarted in self._restarts[partition])

    def is_quarantined(self, partition: str) -> bool:
        """Whether ``partition`` stays away for the rest of the run."""
        return partition in self._quarantined

    def _restart(self, known: Partition, event: Event, frame: int) -> Decision:
        spent, budget = self._restarts[known.name], self._budgets[known.name]
        left = self.restarts_left(known.name, frame)
        if left <= 0:
            self._quarantined.add(known.name)
            limit = f"{budget.restarts_max} restarts within {budget.within_frames} frames"
            return Decision(Action.QUARANTINE, f"{event} in {known.name}: its budget of {limit} is spent", 0)
        spent.append(frame)
        if len(spent) > budget.restarts_max:
            spent.popleft()  # older than the window, or ``left`` would have been 0
        return Decision(Action.RESTART, f"{event} in {known.name}: restart, {left - 1} left", left - 1)

    def _obey(self, partition: str, event: Event, row: Action, frame: int) -> Decision:
        if row is Action.QUARANTINE:
            self._quarantined.add(partition)
        elif row is Action.SAFE_STATE:
            self._is_in_safe_state = True
        words = {
            Action.DROP: "discarded",
            Action.QUARANTINE: "its row says quarantine",
            Action.SAFE_STATE: "its row puts the device in its safe state",
        }
        return Decision(row, f"{event} in {partition}: {words[row]}", self.restarts_left(partition, frame))
