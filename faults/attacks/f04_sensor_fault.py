"""F04: the glucose sensor fails, and shows what no glucose is."""

from __future__ import annotations

import math
from typing import Any

from faults.attack import Attack, Between, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.effects import anything
from faults.outside import Stage
from faults.seen import Observations, bound
from ipc_schemas.insulin_pump import AlarmCode, CgmReading, Mode

READINGS_MAX = 24
#: T of "safe state within T": half an hour, the longest that a command to the pump stays good.
SAFE_WITHIN_FRAMES = 6
HUGE_MG_DL = 5_000.0
#: By these names therapy says that it knows of a failed sensor, and by these modes that it does not dose on it.
_TOLD = frozenset((AlarmCode.SENSOR_LOST, AlarmCode.SENSOR_NOISY))
_NOT_DOSING = frozenset((Mode.FALLBACK_BASAL, Mode.SUSPENDED_LOW))
_FRAME_MIN = 5


class FailedSensor:
    """Stands in the honest sensor's place for so many readings, and then gives it back its place.

    ``nan``, ``inf`` and ``huge`` are numbers that no sensor can mean; walls stop them. The others are numbers that one
    could mean: ``error`` is the sensor's own code, which therapy knows; ``stuck``, ``drift``, ``bias`` and ``spike`` no
    wall can tell from glucose, and therapy has no check for them either. They can be asked for, but are not drawn.
    """

    def __init__(self, world: Any, kind: str, readings: int) -> None:
        self._world, self._honest = world, world.sensor
        self._kind, self._left, self._readings = kind, readings, 0
        self._first_mg_dl = 0.0

    def read(self, tissue_mg_dl: float, at_min: int) -> CgmReading:
        """The honest sensor's reading, spoilt."""
        honest: CgmReading = self._honest.read(tissue_mg_dl, at_min)
        if not self._readings:
            self._first_mg_dl = honest.glucose_mg_dl
        self._readings += 1
        if self._readings >= self._left:
            self._world.sensor = self._honest
        return CgmReading(at_min, self._spoilt(honest.glucose_mg_dl), honest.noise)

    def _spoilt(self, glucose_mg_dl: float) -> float:
        return {
            "nan": math.nan,
            "inf": math.inf,
            "huge": HUGE_MG_DL,
            "error": 38.0,
            "stuck": self._first_mg_dl,
            "drift": glucose_mg_dl + 5.0 * self._readings,
            "bias": glucose_mg_dl + 60.0,
            "spike": glucose_mg_dl + (150.0 if self._readings == 1 else 0.0),
        }[self._kind]


def strike(stage: Stage, parameters: Parameters) -> Report:
    """The world's sensor fails for ``readings`` (12) readings. ``kind`` is one of those of ``FailedSensor`` (nan)."""
    if not hasattr(stage.world, "sensor"):
        return {"missed": "this world has no sensor"}
    readings = min(max(int(parameters.get("readings", 12)), 1), READINGS_MAX)
    kind = str(parameters.get("kind", "nan"))
    stage.world.sensor = FailedSensor(stage.world, kind, readings)
    return {"kind": kind, "readings": readings}


def effect(seen: Observations, injection: Injection) -> Effect:
    """Nobody was told within T, or the sensor was dosed on all the same; unless the pump had stopped by itself."""
    if seen.therapy_outputs is None or seen.suspended_min is None:
        raise CannotTell("no record of what therapy said, or of when the pump stood still")
    until = injection.frame + int(bound(injection, "safe_within_frames", SAFE_WITHIN_FRAMES))
    said = [
        (one.frame, one.port.partition(".")[2], anything(one.payload))
        for one in seen.therapy_outputs
        if injection.frame < one.frame <= until
    ]
    told = [f for f, port, v in said if port == "alarm" and isinstance(v, dict) and v.get("code") in _TOLD]
    modes = {f: v.get("mode") for f, port, v in said if port == "status" and isinstance(v, dict)}
    safe = [frame for frame in told if modes.get(frame) in _NOT_DOSING]
    if safe:
        took = safe[0] - injection.frame
        return Effect(
            False, f"Therapy stopped dosing on the sensor and said so, in frame {took} of its failure."
        )
    if any(injection.frame < minute // _FRAME_MIN <= until for minute in seen.suspended_min):
        return Effect(False, "The pump stood still, and its own alarm sounded.")
    if told:
        return Effect(True, "Therapy went on dosing on a sensor that it had called lost.")
    return Effect(True, f"For {until - injection.frame} frames nobody was told that the sensor had failed.")


ATTACK = Attack(
    "F04",
    "The glucose sensor fails, and shows values that no body can have.",
    effect,
    strike=strike,
    strikes="world",
    ends_the_run="may",
    parameters={
        "kind": OneOf(("nan", "inf", "huge"), on_request=("error", "stuck", "drift", "bias", "spike")),
        "readings": Between(SAFE_WITHIN_FRAMES, READINGS_MAX),
    },
    walls=("range", "schema", "recheck"),
    shows_within_frames=SAFE_WITHIN_FRAMES + 1,
)
