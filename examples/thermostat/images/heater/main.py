"""The incubator's controller: a PI law on the skin temperature, and a limit on the air.

It never waits for telemetry. Without a fresh probe it heats gently at a fixed power and alarms.
"""

from __future__ import annotations

from design_schemas import (
    Alarm,
    AlarmCode,
    HeaterPower,
    HeaterStatus,
    Prescription,
    Probe,
    SetpointRequest,
)

from ipc_schemas import codec
from partitions.sdk import Partition, Setup, Window

AIR_MAX_C = 38.0
POWER_PER_C = 30.0
POWER_PER_C_FRAME = 0.05
FALLBACK_PERCENT = 40.0
VALID_FOR_FRAMES = 25


class Heater(Partition):
    """One life of the controller. A restart begins again at the prescription and at a steady power."""

    def __init__(self, setup: Setup) -> None:
        self.prescription = codec.Codec(Prescription).decode(setup.config)
        self.setpoint_c = self.prescription.setpoint_c
        self.steady_percent = FALLBACK_PERCENT
        self.last_alarm: AlarmCode | None = None

    def window(self, window: Window) -> None:
        """Hear requests, read the probe, command the element, say how it stands."""
        for request in window.received("setpoint"):
            self.hear(request)
        sample = window.latest("probe")
        if sample is None:
            return  # power-on: the first reading is on its way
        probe: Probe = sample.value
        is_trusted = sample.is_fresh and probe.is_attached
        power_percent = self.power(probe) if is_trusted else FALLBACK_PERCENT
        alarm = None if is_trusted else AlarmCode.PROBE_LOST
        if probe.air_c > AIR_MAX_C:
            power_percent, alarm = 0.0, AlarmCode.AIR_TOO_HOT
        window.send("power", HeaterPower(power_percent, VALID_FOR_FRAMES))
        window.send("status", HeaterStatus(probe.skin_c, probe.air_c, self.setpoint_c, power_percent))
        if alarm is not None and alarm is not self.last_alarm:
            window.send("alarm", Alarm(alarm))
        self.last_alarm = alarm

    def hear(self, request: SetpointRequest) -> None:
        """Move the setpoint as asked, but no further from the prescription than that allows."""
        start_c, span_c = self.prescription.setpoint_c, self.prescription.request_span_c
        self.setpoint_c = min(max(request.setpoint_c, start_c - span_c, 35.0), start_c + span_c, 37.5)

    def power(self, probe: Probe) -> float:
        """The PI law. The steady part stands still while the element is at one of its ends (anti-windup)."""
        error_c = self.setpoint_c - probe.skin_c
        wanted = self.steady_percent + POWER_PER_C * error_c
        if 0.0 < wanted < 100.0:
            self.steady_percent += POWER_PER_C_FRAME * error_c
        return min(max(wanted, 0.0), 100.0)
