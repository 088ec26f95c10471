"""Pump hardware: it delivers what it is told, within its own limits, and stops when nobody tells it anything.

The hardware believes no one. It refuses a command whose number does not advance (a repeated command never
doses twice), caps rate and bolus at what the motor is allowed to do, moves in steps of 0.05 U, writes its own
delivery log, and its watchdog suspends delivery when no new command has come for 15 minutes.

Insulin is counted in whole micro-units, so nothing is lost or made by rounding.
"""

from __future__ import annotations

from collections import deque

from ipc_schemas.insulin_pump import DeliveryLog, PumpCommand, PumpStatus

BASAL_MAX_U_PER_H = 35.0
BOLUS_MAX_U = 25.0
WATCHDOG_MIN = 15
COMMAND_AGE_MAX_MIN = 10
LOG_SLOTS = 96
SLOT_MIN = 5
RESERVOIR_U = 300.0
MICRO = 1_000_000
STEP_MICRO_U = 50_000
BOLUS_SPEED_MICRO_U_PER_MIN = 1_500_000


class Pump:
    """``is_occluded`` is for experiments: while set, the motor turns and nothing reaches the patient."""

    def __init__(self, basal_u_per_h: float) -> None:
        self._basal_u_per_h = basal_u_per_h
        self._valid_left_min = WATCHDOG_MIN
        self._quiet_min = 0
        self._last_command_id = 0
        self._bolus_micro_u = 0
        self._carry_micro_u = 0
        self._reservoir_micro_u = int(RESERVOIR_U * MICRO)
        self._slot_micro_u = 0
        self._slot_commanded_micro_u = 0
        self._slots = _history(basal_u_per_h)
        self.is_occluded = False

    @property
    def is_suspended(self) -> bool:
        """Whether the watchdog holds delivery: the hardware alarm sounds while it does."""
        return self._quiet_min >= WATCHDOG_MIN

    @property
    def last_command_id(self) -> int:
        """The number of the newest command obeyed; 0 before the first."""
        return self._last_command_id

    @property
    def bolus_left_u(self) -> float:
        """What is left of the bolus being given."""
        return self._bolus_micro_u / MICRO

    def accept(self, command: PumpCommand, now_min: int) -> bool:
        """Obey a command that is new, and neither old nor from the future; ``False`` when it is refused."""
        if command.command_id <= self._last_command_id:
            return False
        if not now_min - COMMAND_AGE_MAX_MIN <= command.at_min <= now_min:
            return False
        self._last_command_id = command.command_id
        self._quiet_min = 0
        self._basal_u_per_h = min(command.basal_u_per_h, BASAL_MAX_U_PER_H)
        self._valid_left_min = command.valid_for_min
        bolus = int(min(command.bolus_u, BOLUS_MAX_U) * MICRO + 0.5)
        self._slot_commanded_micro_u += bolus
        self._bolus_micro_u = min(self._bolus_micro_u + bolus, int(BOLUS_MAX_U * MICRO))
        return True

    def deliver(self) -> float:
        """Run one minute; the insulin in U that reached the patient."""
        wanted = 0
        if self._quiet_min < WATCHDOG_MIN:
            if self._valid_left_min > 0:
                self._valid_left_min -= 1
                wanted = int(self._basal_u_per_h * MICRO / 60.0 + 0.5)
                self._slot_commanded_micro_u += wanted
            bolus = min(self._bolus_micro_u, BOLUS_SPEED_MICRO_U_PER_MIN)
            self._bolus_micro_u -= bolus
            wanted += bolus
        else:
            self._bolus_micro_u = self._carry_micro_u = 0
        self._quiet_min += 1
        if self.is_occluded:
            self._bolus_micro_u = self._carry_micro_u = 0
            return 0.0
        wanted += self._carry_micro_u
        given = min(wanted - wanted % STEP_MICRO_U, self._reservoir_micro_u)
        self._carry_micro_u = wanted % STEP_MICRO_U
        self._reservoir_micro_u -= given
        self._slot_micro_u += given
        return given / MICRO

    def close_slot(self, at_min: int) -> PumpStatus:
        """End the five-minute slot at ``at_min``: it enters the log, and the status reports it."""
        self._slots.append(self._slot_micro_u / MICRO)
        status = PumpStatus(
            at_min=at_min,
            delivered_u=self._slot_micro_u / MICRO,
            commanded_u=self._slot_commanded_micro_u / MICRO,
            reservoir_u=self._reservoir_micro_u / MICRO,
            basal_u_per_h=0.0 if self.is_suspended else self._basal_u_per_h,
            last_command_id=self._last_command_id,
            is_suspended=self.is_suspended,
            is_occluded=self.is_occluded,
        )
        self._slot_micro_u = self._slot_commanded_micro_u = 0
        return status

    def log(self, at_min: int) -> DeliveryLog:
        """What was really delivered in the last eight hours, newest slot last."""
        return DeliveryLog(ends_at_min=at_min, delivered_u=tuple(self._slots))


def _history(basal_u_per_h: float) -> deque[float]:
    """Eight hours of plain basal delivery in motor steps: the pump ran before the device was switched on."""
    slots: deque[float] = deque(maxlen=LOG_SLOTS)
    carry = 0
    for _ in range(LOG_SLOTS):
        wanted = carry + int(basal_u_per_h * MICRO * SLOT_MIN / 60.0 + 0.5)
        carry = wanted % STEP_MICRO_U
        slots.append((wanted - carry) / MICRO)
    return slots
