"""The reference device's world: patient, sensor, pump hardware, handset, wearable and clinic at its ports.

In frame k the world reads what the device sent in frame k-1, lives through minutes 5k .. 5k+5, and sends what
it saw, stamped with the end of that time. So the device sees it in frame k+1 as fresh as a wire allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import ClassVar

from ipc_schemas import codec
from ipc_schemas.insulin_pump import ActivityHint, MealAnnouncement, TargetRequest
from ipc_schemas.prescription import Prescription, SafetyLimits, TargetBounds
from ipc_schemas.window import Window
from world.cohort import Settings, fasting_state, patient_parameters, tuned
from world.meals import ANNOUNCED_AHEAD_MIN, DAY_MIN, Clinician, Meal, meals_of_day, steps_per_min
from world.patient import Patient
from world.pump import Pump
from world.sensor import Sensor
from world.truth import AlarmSeen, Truth

FRAME_MIN = 5
TARGET_MG_DL = 110.0
TARGET_LOW_MG_DL = 100.0


class InsulinWorld:
    """One patient with the device's hardware, from midnight (frame 0) on; ``frame`` runs once per frame."""

    #: Times of the day in which therapy does different things, as first and last frame: nothing but basal; doses for
    #: meals that are announced; the target that the clinic raises for the afternoon walk.
    PHASES: ClassVar[Mapping[str, tuple[int, int]]] = {
        "night": (12, 80),
        "breakfast": (84, 104),
        "lunch": (144, 166),
        "walk": (198, 214),
        "dinner": (222, 242),
    }

    def __init__(self, seed: int, patient: int = 0) -> None:
        """Raises ``ValueError`` when the cohort has no such patient."""
        self.seed, self.patient_index = seed, patient
        parameters = patient_parameters(seed, patient)
        state, _ = fasting_state(parameters)
        self.settings: Settings = tuned(parameters)
        self.patient = Patient(parameters, state)
        self.sensor = Sensor(seed, patient)
        self.pump = Pump(self.settings.basal_u_per_h)
        self.clinician = Clinician(seed)
        self._basal_on_board_u = self.patient.insulin_on_board_u
        self._minute = 0
        self._day = -1
        self._meals: list[Meal] = []
        self._announcements: dict[int, list[Meal]] = {}
        self._requests: dict[int, list[TargetRequest]] = {}
        self._steps: tuple[float, ...] = ()
        self._glucose: list[float] = []
        self._on_board: list[float] = []
        self._delivered: list[float] = []
        self._suspended: list[int] = []
        self._alarms: list[AlarmSeen] = []
        self._uploaded_bytes = 0

    def configs(self) -> dict[str, bytes]:
        """What partitions may be configured with, by the names that device.toml uses."""
        return {
            "prescription": codec.encode(
                prescription(self.settings, self.clinician.public_key, self._record())
            )
        }

    def _record(self) -> bytes:
        """The patient's identity, a canary: the mark and 24 characters that depend on seed and patient."""
        return b"CANARY-" + sha256(f"{self.seed}/{self.patient_index}".encode()).hexdigest()[:24].encode()

    def frame(self, window: Window) -> None:
        """One frame. Raises ``ValueError`` when frames are left out or repeated."""
        if window.frame * FRAME_MIN != self._minute:
            raise ValueError(f"frame {window.frame} opened, but the world stands at minute {self._minute}")
        command = window.latest("pump_command")
        if command is not None and command.is_fresh:
            self.pump.accept(command.value, self._minute)
        for alarm in window.received("alarm"):
            self._alarms.append(AlarmSeen(alarm.at_min, alarm.code.value, int(alarm.priority)))
        for upload in window.received("upload"):
            self._uploaded_bytes += len(upload.chunk)
        start = self._minute
        self._live()
        now = self._minute
        window.send("cgm", self.sensor.read(self.patient.tissue_glucose_mg_dl, now))
        window.send("pump_status", self.pump.close_slot(now))
        window.send("delivery_log", self.pump.log(now))
        self._send_due(window, start, now)

    def orphaned(self, frames: int) -> None:
        """The device is gone: hardware and patient go on alone. The watchdog must notice by itself."""
        for _ in range(frames):
            self._live()
            self.sensor.read(self.patient.tissue_glucose_mg_dl, self._minute)
            self.pump.close_slot(self._minute)

    def truth(self) -> Truth:
        """What has really happened up to now."""
        return Truth(
            glucose_mg_dl=tuple(self._glucose),
            insulin_on_board_u=tuple(self._on_board),
            delivered_u=tuple(self._delivered),
            suspended_min=tuple(self._suspended),
            alarms=tuple(self._alarms),
            basal_on_board_u=self._basal_on_board_u,
            basal_u_per_h=self.settings.basal_u_per_h,
            uploaded_bytes=self._uploaded_bytes,
        )

    def _live(self) -> None:
        """Five minutes of the patient on the pump."""
        if self._minute // DAY_MIN != self._day:
            self._begin_day(self._minute // DAY_MIN)
        patient, pump, slot_u = self.patient, self.pump, 0.0
        for _ in range(FRAME_MIN):
            was_suspended = pump.is_suspended
            insulin_u = pump.deliver()
            slot_u += insulin_u
            patient.advance(insulin_u, self._eaten_g(self._minute) if self._meals else 0.0)
            self._glucose.append(patient.glucose_mg_dl)
            self._on_board.append(patient.insulin_on_board_u)
            if was_suspended:
                self._note_suspended()
            self._minute += 1
        self._delivered.append(slot_u)

    def _note_suspended(self) -> None:
        if not self._suspended or self._suspended[-1] != self._minute - 1:
            self._alarms.append(AlarmSeen(self._minute, "watchdog", 3))
        self._suspended.append(self._minute)

    def _eaten_g(self, minute: int) -> float:
        total = 0.0
        for meal in self._meals:
            if meal.starts_at_min <= minute < meal.starts_at_min + meal.eaten_min:
                total += meal.carbs_g / meal.eaten_min
        if self._meals and minute >= self._meals[0].starts_at_min + self._meals[0].eaten_min:
            self._meals.pop(0)
        return total

    def _begin_day(self, day: int) -> None:
        self._day = day
        for meal in meals_of_day(self.seed, self.patient_index, day):
            self._meals.append(meal)
            due = (meal.starts_at_min - ANNOUNCED_AHEAD_MIN) // FRAME_MIN
            self._announcements.setdefault(due, []).append(meal)
        for request in self.clinician.requests_of_day(day):
            self._requests.setdefault(request.starts_at_min // FRAME_MIN - 1, []).append(request)
        self._steps = steps_per_min(self.seed, self.patient_index, day)

    def _send_due(self, window: Window, start: int, now: int) -> None:
        for meal in self._announcements.pop(window.frame, ()):
            window.send("meals", MealAnnouncement(at_min=now, carbs_g=meal.announced_g))
        for request in self._requests.pop(window.frame, ()):
            window.send("outside_requests", request)
        first = start - self._day * DAY_MIN
        steps = self._steps[first : first + FRAME_MIN]
        window.send("wearable", ActivityHint(at_min=now, steps_per_min=sum(steps) / FRAME_MIN))


def prescription(settings: Settings, clinician_key: bytes, patient_record: bytes = b"") -> Prescription:
    """What a clinician would write for a patient with these settings.

    The largest insulin on board covers 90 g of carbohydrate on top of a moderate correction.
    """
    basal = settings.basal_u_per_h
    limits = SafetyLimits(
        basal_max_u_per_h=4.0 * basal,
        daily_basal_factor=3.0,
        current_basal_factor=4.0,
        daily_basal_max_u_per_h=basal,
        insulin_on_board_max_u=min(25.0, 90.0 / settings.carb_ratio_g_per_u + 2.0 * basal),
        bolus_max_u=min(20.0, 90.0 / settings.carb_ratio_g_per_u),
        micro_bolus_max_u=0.5 * basal,
        suspend_below_mg_dl=TARGET_LOW_MG_DL - 0.5 * (TARGET_LOW_MG_DL - 40.0),
    )
    return Prescription(
        patient_record=patient_record,
        basal_profile_u_per_h=basal,
        carb_ratio_g_per_u=settings.carb_ratio_g_per_u,
        correction_mg_dl_per_u=settings.correction_mg_dl_per_u,
        target_mg_dl=TARGET_MG_DL,
        limits=limits,
        targets=TargetBounds(
            lowest_mg_dl=100.0,
            highest_mg_dl=180.0,
            duration_max_min=240,
            activity_raise_max_mg_dl=40.0,
            clinician_key=clinician_key,
        ),
    )
