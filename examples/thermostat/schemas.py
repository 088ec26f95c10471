"""The message types of the incubator. Temperatures are in degrees Celsius."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

TemperatureC = Annotated[float, msgspec.Meta(ge=0.0, le=60.0)]
SetpointC = Annotated[float, msgspec.Meta(ge=35.0, le=37.5)]
PowerPercent = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]


class Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """World to heater: what the sensors read. ``is_attached`` is false once the skin probe is off."""

    skin_c: TemperatureC
    air_c: TemperatureC
    is_attached: bool


class HeaterPower(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Heater to element: a power that holds for ``valid_for_frames``; then it switches itself off."""

    power_percent: PowerPercent
    valid_for_frames: Annotated[int, msgspec.Meta(ge=1, le=50)]


class AlarmCode(enum.StrEnum):
    """Why the heater raises an alarm."""

    PROBE_LOST = "probe_lost"
    AIR_TOO_HOT = "air_too_hot"


class Alarm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Heater to the ward's lamp and buzzer."""

    code: AlarmCode


class HeaterStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Heater to telemetry, and on to the ward's screen."""

    skin_c: TemperatureC
    air_c: TemperatureC
    setpoint_c: SetpointC
    power_percent: PowerPercent


class SetpointRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ward to the heater, carried by telemetry: another setpoint, within what is safe for any infant."""

    setpoint_c: SetpointC


class Prescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The heater's configuration: where it starts, how far a request may move it from there, and whom it warms."""

    setpoint_c: SetpointC
    request_span_c: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    infant: Annotated[str, msgspec.Meta(max_length=31)]
