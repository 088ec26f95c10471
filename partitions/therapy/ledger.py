"""What this life has commanded, against what the pump's log shows was delivered.

A command sent in the window of minute t is carried out in the slot t+5 .. t+10 and shows in the log that ends
at t+10. Until then it is *in flight* and counts as on board in full. A bolus of more than 7.5 U runs on into
the next slot; what is due of it stays in flight as well.
"""

from __future__ import annotations

from typing import NamedTuple

from insulin_on_board import SLOT_MIN, add_up
from ipc_schemas.insulin_pump import DeliveryLog, PumpCommand

KEPT_SLOTS = 12
WATCHED_SLOTS = 6
MISMATCH_U = 0.5
MISMATCH_SHARE = 0.1
#: A bolus runs at 7.5 U per slot: a slot near that may be the middle of one that this life never ordered.
BOLUS_RUNNING_U = 7.0
#: What is left over by the motor's steps is no bolus.
ROUNDING_U = 0.1


class _Slot(NamedTuple):
    planned_u: float
    delivered_u: float


class Ledger:
    """Commands of this life by the start of the slot that carries them out."""

    def __init__(self) -> None:
        self._commands: dict[int, PumpCommand] = {}
        self._watched: list[_Slot] = []
        self._due_u = 0.0
        self._shown_until_min: int | None = None

    def record(self, command: PumpCommand) -> None:
        """Remember a command that goes out now."""
        self._commands[command.at_min + SLOT_MIN] = command
        for start in [s for s in self._commands if s < command.at_min - KEPT_SLOTS * SLOT_MIN]:
            del self._commands[start]

    def compare(self, log: DeliveryLog) -> None:
        """Take in the slots that the log shows for the first time."""
        slots = log.delivered_u
        shown = self._shown_until_min
        new = len(slots) if shown is None else (log.ends_at_min - shown) // SLOT_MIN
        new = max(0, min(new, len(slots), KEPT_SLOTS))
        if shown is None or log.ends_at_min > shown:
            self._shown_until_min = log.ends_at_min
        for back in range(new, 0, -1):
            self._settle(log.ends_at_min - back * SLOT_MIN, slots[-back])

    def _settle(self, start_min: int, delivered_u: float) -> None:
        command = self._commands.get(start_min)
        if command is None:
            return
        basal_u = command.basal_u_per_h * SLOT_MIN / 60.0
        before_u = self._due_u
        over_u = delivered_u - basal_u
        self._due_u = before_u + command.bolus_u - over_u
        if self._due_u < ROUNDING_U or over_u < ROUNDING_U:
            self._due_u = 0.0  # done, or given up: the pump is not giving it
        planned_u = basal_u + command.bolus_u + before_u - self._due_u
        self._watched = [*self._watched, _Slot(planned_u, delivered_u)][-WATCHED_SLOTS:]

    def in_flight_net_u(self, profile_u_per_h: float, now_min: int) -> float:
        """Insulin over basal that was commanded and that no log has shown yet, the running slot included."""
        total = self._due_u
        shown = now_min if self._shown_until_min is None else self._shown_until_min
        for start, command in self._commands.items():
            if shown <= start <= now_min:
                total += (command.basal_u_per_h - profile_u_per_h) * SLOT_MIN / 60.0 + command.bolus_u
        return total

    def has_foreign_bolus(self, newest_slot_u: float) -> bool:
        """Whether the newest slot looks like the middle of a bolus that an earlier life ordered."""
        return newest_slot_u >= BOLUS_RUNNING_U and self._due_u == 0.0

    @property
    def is_mismatched(self) -> bool:
        """Whether half an hour's delivery is further from what was commanded than motor steps explain."""
        planned = add_up(slot.planned_u for slot in self._watched)
        delivered = add_up(slot.delivered_u for slot in self._watched)
        return abs(planned - delivered) > MISMATCH_U + MISMATCH_SHARE * planned
