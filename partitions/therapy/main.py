"""The therapy partition (IEC 62304 class C): it reads sensor and pump, decides, limits, commands the pump.

One window is five minutes. Everything in here is a function of the prescription and of what its ports showed:
no clock, no chance, no files. It never waits for the data side: requests and hints from there are used when
they are good, and not missed when they are not there.

A new life knows nothing. It gives profile basal without a bolus until the pump's delivery log has told it the
insulin on board and the last life's commands have all been carried out; its command numbers go on from the
pump's last one.
"""

from __future__ import annotations

from typing import NamedTuple

from alarms import AlarmBook
from carbs_on_board import CarbsOnBoard, Eaten
from controller import Wish, decide, predict
from insulin_on_board import OnBoard, add_up
from ipc_schemas.codec import Codec
from ipc_schemas.insulin_pump import (
    ActivityHint,
    AlarmCode,
    DeliveryLog,
    MealAnnouncement,
    PumpStatus,
    TherapySettings,
    TherapyStatus,
)
from ipc_schemas.prescription import Prescription
from ledger import Ledger
from limiter import Facts, Limited, limit
from partitions.sdk import Partition, Setup, Window
from readings import Judged, Readings
from targets import Targets

MS_PER_MIN = 60_000
SETTINGS_EVERY_FRAMES = 12
#: The last command of an earlier life is carried out, and logged, within this many windows.
WARMING_WINDOWS = 2
#: The largest bolus takes four slots; after that a full slot is this life's own doing.
FOREIGN_BOLUS_WINDOWS = 6
#: A meal whose bolus had to wait longer than this gets none: the loop takes care of it.
MEAL_WAITS_MAX_MIN = 30
MEALS_KEPT = 16
SENSOR_STARTS_MIN = 15
LOW_MG_DL, HIGH_MG_DL = 70.0, 250.0
RESERVOIR_LOW_U = 20.0
COMMAND_ID_MAX = 0xFFFF_FFFF


class Inputs(NamedTuple):
    """The newest of each sampling port, whatever its age: each user checks the time stamp inside."""

    now_min: int
    judged: Judged
    pump: PumpStatus | None
    log: DeliveryLog | None
    hint: ActivityHint | None


class Therapy(Partition):
    """Holds one ``Prescription`` for the life of the process; every window reads its limits from there."""

    def __init__(self, setup: Setup) -> None:
        """Raises ``ipc_schemas.codec.Refused`` when the prescription is not one."""
        super().__init__(setup)
        self.prescription: Prescription = Codec(Prescription).decode(setup.config)
        self.insulin = OnBoard()
        self.carbs = CarbsOnBoard()
        self.readings = Readings()
        self.ledger = Ledger()
        self.targets = Targets(self.prescription)
        self.alarms = AlarmBook()
        self._announced: list[MealAnnouncement] = []
        self._waiting: list[MealAnnouncement] = []
        self._next_command_id = 1
        self._windows = 0
        self._first_frame = -1

    def window(self, window: Window) -> None:
        """One five-minute step."""
        if self._first_frame < 0:
            self._first_frame = window.frame
        inputs = self._read(window)
        alarms = self._take_requests(window, inputs.now_min)
        self._take_meals(window, inputs.now_min)
        if inputs.log is not None:
            self.ledger.compare(inputs.log)
        in_flight = self.ledger.in_flight_net_u(self.prescription.basal_profile_u_per_h, inputs.now_min)
        self.insulin.read(inputs.log, in_flight, self.prescription.basal_profile_u_per_h, inputs.now_min)
        target = self.targets.at(inputs.now_min, inputs.hint)
        limited, predicted = self._dose(inputs, target)
        if inputs.pump is not None and limited.command.command_id <= COMMAND_ID_MAX:
            window.send("pump_command", limited.command)
            self.ledger.record(limited.command)
            self._next_command_id = limited.command.command_id + 1
        alarms |= self._conditions(inputs, predicted)
        for alarm in self.alarms.due(alarms, inputs.now_min):
            window.send("alarm", alarm)
        self._publish(window, inputs, limited, target)
        self._windows += 1

    def _read(self, window: Window) -> Inputs:
        now_min = window.time_ms // MS_PER_MIN
        cgm, pump = window.latest("cgm"), window.latest("pump_status")
        log, hint = window.latest("delivery_log"), window.latest("activity")
        return Inputs(
            now_min,
            self.readings.judge(None if cgm is None else cgm.value, now_min),
            None if pump is None else pump.value,
            None if log is None or log.value.ends_at_min > now_min else log.value,
            hint.value if hint is not None and hint.is_fresh else None,
        )

    def _take_requests(self, window: Window, now_min: int) -> set[AlarmCode]:
        refused = [self.targets.offer(request, now_min) for request in window.received("target_request")]
        return {AlarmCode.TARGET_REFUSED} if any(refused) else set()

    def _take_meals(self, window: Window, now_min: int) -> None:
        """A meal announced twice is one meal. One that is not about now is not believed."""
        self.carbs.forget_old(now_min)
        for meal in window.received("meals"):
            if meal in self._announced or abs(now_min - meal.at_min) > MEAL_WAITS_MAX_MIN:
                continue
            self._announced = [*self._announced, meal][-MEALS_KEPT:]
            self._waiting = [*self._waiting, meal][-MEALS_KEPT:]
            self.carbs.add(Eaten(meal.at_min, meal.carbs_g))
        if self._waiting:
            self._waiting = [m for m in self._waiting if now_min - m.at_min <= MEAL_WAITS_MAX_MIN]

    def _dose(self, inputs: Inputs, target_mg_dl: float) -> tuple[Limited, float]:
        """The limited command, and glucose in half an hour as far as it is known (else a harmless 100)."""
        settings, glucose = self.prescription, inputs.judged.glucose_mg_dl
        wish: Wish | None = None
        predicted = 100.0
        waiting_g = add_up(meal.carbs_g for meal in self._waiting)
        if glucose is not None:
            change = inputs.judged.change_15_min_mg_dl
            prediction = predict(glucose, change, self.insulin, self.carbs, inputs.now_min, settings)
            predicted = prediction.in_half_an_hour_mg_dl
            covered_g = self.carbs.grams(inputs.now_min) - waiting_g
            units = self.insulin.units
            wish = decide(glucose, prediction, target_mg_dl, waiting_g, units, covered_g, settings)
        pump = inputs.pump
        facts = Facts(
            now_min=inputs.now_min,
            glucose_mg_dl=glucose,
            predicted_mg_dl=predicted,
            insulin_on_board_u=self.insulin.units,
            is_insulin_known=self._is_insulin_known(inputs),
            is_delivery_trusted=pump is not None and not pump.is_occluded and not self.ledger.is_mismatched,
        )
        next_id = (
            self._next_command_id if pump is None else max(self._next_command_id, pump.last_command_id + 1)
        )
        limited = limit(wish, facts, settings, next_id)
        if self._waiting and (
            limited.command.bolus_u > 0.0 or (wish is not None and wish.meal_bolus_u <= 0.0)
        ):
            self._waiting = []  # given, or not needed: never a second time
        return limited, predicted

    def _is_insulin_known(self, inputs: Inputs) -> bool:
        if self._windows < WARMING_WINDOWS or not self.insulin.is_known or inputs.log is None:
            return False
        is_young = self._windows < FOREIGN_BOLUS_WINDOWS
        newest = inputs.log.delivered_u[-1:]
        return not (is_young and self.ledger.has_foreign_bolus(newest[0] if newest else 0.0))

    def _conditions(self, inputs: Inputs, predicted_mg_dl: float) -> set[AlarmCode]:
        """What is wrong at the moment."""
        found: set[AlarmCode] = set()
        glucose, pump = inputs.judged.glucose_mg_dl, inputs.pump
        if inputs.judged.alarm is not None and inputs.now_min >= SENSOR_STARTS_MIN:
            found.add(inputs.judged.alarm)
        if glucose is not None and glucose < LOW_MG_DL:
            found.add(AlarmCode.GLUCOSE_LOW)
        elif glucose is not None and predicted_mg_dl < LOW_MG_DL:
            found.add(AlarmCode.LOW_PREDICTED)
        if glucose is not None and glucose > HIGH_MG_DL:
            found.add(AlarmCode.GLUCOSE_HIGH)
        if pump is not None and pump.is_occluded:
            found.add(AlarmCode.OCCLUSION)
        if pump is not None and pump.reservoir_u < RESERVOIR_LOW_U:
            found.add(AlarmCode.RESERVOIR_LOW)
        if self.ledger.is_mismatched:
            found.add(AlarmCode.DELIVERY_MISMATCH)
        if self._first_frame > 0 and self._windows == 0:
            found.add(AlarmCode.RESTARTED)
        return found

    def _publish(self, window: Window, inputs: Inputs, limited: Limited, target_mg_dl: float) -> None:
        """What followers may see. Values are brought into what the ports can carry."""
        glucose = inputs.judged.glucose_mg_dl
        status = TherapyStatus(
            at_min=inputs.now_min,
            glucose_mg_dl=0.0 if glucose is None else glucose,
            insulin_on_board_u=_within(self.insulin.units, 0.0, 50.0),
            basal_u_per_h=limited.command.basal_u_per_h,
            bolus_u=limited.command.bolus_u,
            target_mg_dl=_within(target_mg_dl, 80.0, 200.0),
            mode=limited.mode,
        )
        window.send("status", status)
        if window.frame % SETTINGS_EVERY_FRAMES == 0:
            window.send("settings", self._settings(inputs.now_min))

    def _settings(self, now_min: int) -> TherapySettings:
        held = self.prescription
        return TherapySettings(
            at_min=now_min,
            basal_profile_u_per_h=_within(held.basal_profile_u_per_h, 0.0, 35.0),
            carb_ratio_g_per_u=_within(held.carb_ratio_g_per_u, 1.0, 200.0),
            correction_mg_dl_per_u=_within(held.correction_mg_dl_per_u, 1.0, 1000.0),
            target_mg_dl=_within(held.target_mg_dl, 80.0, 200.0),
            basal_max_u_per_h=_within(held.limits.basal_max_u_per_h, 0.0, 35.0),
            insulin_on_board_max_u=_within(held.limits.insulin_on_board_max_u, 0.0, 50.0),
        )


def _within(value: float, low: float, high: float) -> float:
    """``value`` in ``low`` .. ``high``; what is no number becomes ``low``."""
    return value if low <= value <= high else high if value > high else low
