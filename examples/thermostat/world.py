"""The world around the incubator: an infant, the air, a heating element with its own cut-out, and a ward.

A teaching model, not a validated one: two first-order lags, made up to behave like an incubator. It lives 100
times faster than the device's clock, so that half a minute of watching shows most of an hour.
"""

from __future__ import annotations

import random
from hashlib import sha256

from design_schemas import Alarm, HeaterPower, HeaterStatus, Prescription, Probe, SetpointRequest

from ipc_schemas import codec
from ipc_schemas.window import Window

LIVED_S_PER_FRAME = 2.0
ROOM_C = 24.0
AIR_RISE_AT_FULL_POWER_C = 22.0
AIR_LAG_S = 240.0
SKIN_LAG_S = 600.0
NOISE_C = 0.03
REQUEST_AT_FRAME = 1_500
REQUESTED_C = 37.0


class IncubatorWorld:
    """``patient`` chooses the infant: the higher the number, the less warmth of its own."""

    def __init__(self, seed: int, patient: int = 0) -> None:
        self._random = random.Random(f"incubator/{seed}/{patient}")
        # A canary: by the mark and 24 characters it is known wherever it turns up that it should not.
        self.infant = "CANARY-" + sha256(f"{seed}/{patient}".encode()).hexdigest()[:24]
        self.own_warmth_c = 2.5 - 0.1 * (patient % 8)
        self.skin_c = 35.2
        self.air_c = 31.0
        self.power_percent = 0.0
        self.valid_frames = 0
        self.alarms: list[Alarm] = []
        self.shown: HeaterStatus | None = None

    def configs(self) -> dict[str, bytes]:
        """Configurations that partitions may name with ``config`` in device.toml."""
        prescription = Prescription(setpoint_c=36.5, request_span_c=0.5, infant=self.infant)
        return {"prescription": codec.encode(prescription)}

    def frame(self, window: Window) -> None:
        """One frame: take commands, live for two seconds, send what the sensors read."""
        command = window.latest("power")
        if command is not None and command.age_frames == 1:
            self._obey(command.value)
        self.alarms.extend(window.received("alarm"))
        for status in window.received("upload"):
            self.shown = status
        self._live()
        skin_c = self.skin_c + self._random.gauss(0.0, NOISE_C)
        window.send("probe", Probe(skin_c=skin_c, air_c=self.air_c, is_attached=True))
        if window.frame == REQUEST_AT_FRAME:
            window.send("ward_requests", SetpointRequest(setpoint_c=REQUESTED_C))

    def orphaned(self, frames: int) -> None:
        """``frames`` without the device: the element's cut-out ends the heating, the infant cools."""
        for _ in range(frames):
            self._live()

    def _obey(self, command: HeaterPower) -> None:
        self.power_percent = command.power_percent
        self.valid_frames = command.valid_for_frames

    def _live(self) -> None:
        if self.valid_frames == 0:
            self.power_percent = 0.0
        self.valid_frames = max(self.valid_frames - 1, 0)
        air_target_c = ROOM_C + AIR_RISE_AT_FULL_POWER_C * self.power_percent / 100.0
        self.air_c += (air_target_c - self.air_c) * LIVED_S_PER_FRAME / AIR_LAG_S
        skin_target_c = self.air_c + self.own_warmth_c
        self.skin_c += (skin_target_c - self.skin_c) * LIVED_S_PER_FRAME / SKIN_LAG_S
