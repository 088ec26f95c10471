"""Alarms that are raised once and not again at every window: each code at most every half hour."""

from __future__ import annotations

from ipc_schemas.insulin_pump import Alarm, AlarmCode, AlarmPriority

REPEAT_MIN = 30
ALARMS_PER_FRAME_MAX = 4

_PRIORITY = {
    AlarmCode.GLUCOSE_LOW: AlarmPriority.HIGH,
    AlarmCode.OCCLUSION: AlarmPriority.HIGH,
    AlarmCode.DELIVERY_MISMATCH: AlarmPriority.HIGH,
    AlarmCode.SENSOR_LOST: AlarmPriority.MEDIUM,
    AlarmCode.LOW_PREDICTED: AlarmPriority.MEDIUM,
    AlarmCode.GLUCOSE_HIGH: AlarmPriority.MEDIUM,
    AlarmCode.RESERVOIR_LOW: AlarmPriority.MEDIUM,
    AlarmCode.SENSOR_NOISY: AlarmPriority.LOW,
    AlarmCode.TARGET_REFUSED: AlarmPriority.LOW,
    AlarmCode.RESTARTED: AlarmPriority.LOW,
}


class AlarmBook:
    """Which alarms are due. What does not fit into a frame goes out in a later one, if it still holds."""

    def __init__(self) -> None:
        self._last_min: dict[AlarmCode, int] = {}

    def due(self, active: set[AlarmCode], now_min: int) -> list[Alarm]:
        """The alarms to send now, most urgent first."""
        waiting = [
            code
            for code in active
            if code not in self._last_min or now_min - self._last_min[code] >= REPEAT_MIN
        ]
        waiting.sort(key=lambda code: (-_PRIORITY[code], code.value))
        sent = waiting[:ALARMS_PER_FRAME_MAX]
        for code in sent:
            self._last_min[code] = now_min
        return [Alarm(now_min, _PRIORITY[code], code) for code in sent]
