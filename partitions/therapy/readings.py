"""Which sensor readings may be dosed on, and how glucose has moved over the last quarter of an hour."""

from __future__ import annotations

from typing import NamedTuple

from ipc_schemas.insulin_pump import AlarmCode, CgmReading

AGE_MAX_MIN = 12
AHEAD_MAX_MIN = 5
ERROR_CODE_MG_DL = 38.0
ERROR_BELOW_MG_DL = 10.0
#: 0 is "the sensor does not say", 3 and 4 are noisy. Unknown means refuse.
NOISE_CLEAN = (1, 2)
KEPT = 4
SPAN_MAX_MIN = 22


class Judged(NamedTuple):
    """A usable glucose and its change over 15 minutes (``None`` if unknown), or why there is none."""

    glucose_mg_dl: float | None
    change_15_min_mg_dl: float | None
    alarm: AlarmCode | None


class Readings:
    """The last few clean readings of this life."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, float]] = []

    def judge(self, reading: CgmReading | None, now_min: int) -> Judged:
        """Take in the newest reading. The same reading twice is one reading."""
        if reading is None or not -AHEAD_MAX_MIN <= now_min - reading.measured_at_min <= AGE_MAX_MIN:
            return Judged(None, None, AlarmCode.SENSOR_LOST)
        glucose = reading.glucose_mg_dl
        if glucose <= ERROR_BELOW_MG_DL or glucose == ERROR_CODE_MG_DL:
            return Judged(None, None, AlarmCode.SENSOR_LOST)
        if reading.noise not in NOISE_CLEAN:
            return Judged(None, None, AlarmCode.SENSOR_NOISY)
        if not self._kept or reading.measured_at_min > self._kept[-1][0]:
            self._kept = [*self._kept, (reading.measured_at_min, glucose)][-KEPT:]
        return Judged(glucose, self._change_15_min(now_min), None)

    def _change_15_min(self, now_min: int) -> float | None:
        """Fifteen minutes of the straight line through the kept readings (least squares)."""
        n, sum_t, sum_g, sum_tt, sum_tg = 0, 0, 0.0, 0, 0.0
        for at_min, glucose in self._kept:
            t = at_min - now_min
            if t >= -SPAN_MAX_MIN:
                n, sum_t, sum_g = n + 1, sum_t + t, sum_g + glucose
                sum_tt, sum_tg = sum_tt + t * t, sum_tg + t * glucose
        spread = n * sum_tt - sum_t * sum_t
        return 15.0 * (n * sum_tg - sum_t * sum_g) / spread if n >= 3 and spread > 0 else None
