"""A day of the patient and of the clinic: what is eaten, announced, walked, and asked for. All seeded."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ipc_schemas.insulin_pump import TargetRequest
from world.chance import bell, spread, stream

DAY_MIN = 1440
#: The patient enters a meal this long before the first bite.
ANNOUNCED_AHEAD_MIN = 10
COUNTING_ERROR = 0.12  # relative standard deviation of the patient's carbohydrate estimate
WALK_STEPS_PER_MIN = 100.0


class Meal(NamedTuple):
    """Eaten evenly over ``eaten_min`` from ``starts_at_min``; ``announced_g`` is what the patient guessed."""

    starts_at_min: int
    eaten_min: int
    carbs_g: float
    announced_g: float


class _Habit(NamedTuple):
    earliest_min: int
    latest_min: int
    carbs_g: float
    deviation_g: float
    eaten_min: int


_HABITS = (
    _Habit(7 * 60, 7 * 60 + 45, 45.0, 7.0, 15),
    _Habit(12 * 60, 13 * 60, 60.0, 9.0, 20),
    _Habit(15 * 60 + 30, 16 * 60 + 15, 18.0, 4.0, 5),
    _Habit(18 * 60 + 30, 19 * 60 + 30, 65.0, 10.0, 25),
)


def meals_of_day(seed: int, patient: int, day: int) -> tuple[Meal, ...]:
    """Breakfast, lunch, snack and dinner of one day, in order, in minutes since power-on."""
    rng = stream("meals", seed, patient, day)
    found = []
    for habit in _HABITS:
        start = day * DAY_MIN + rng.randint(habit.earliest_min, habit.latest_min)
        mean = habit.carbs_g
        carbs = spread(rng, mean, habit.deviation_g, 0.5 * mean, 1.6 * mean)
        error = 1.0 + COUNTING_ERROR * bell(rng)
        guessed = carbs * (0.6 if error < 0.6 else 1.4 if error > 1.4 else error)
        found.append(Meal(start, habit.eaten_min, carbs, float(int(guessed + 0.5))))
    return tuple(found)


def walk_of_day(seed: int, patient: int, day: int) -> tuple[int, int]:
    """Start and end of the afternoon walk, in minutes since power-on."""
    rng = stream("walk", seed, patient, day)
    start = day * DAY_MIN + rng.randint(16 * 60 + 30, 17 * 60 + 30)
    return start, start + rng.randint(30, 50)


def steps_per_min(seed: int, patient: int, day: int) -> tuple[float, ...]:
    """Steps in each minute of one day: none at night, a little by day, a walk in the afternoon."""
    rng = stream("steps", seed, patient, day)
    first, last = walk_of_day(seed, patient, day)
    steps = []
    for minute in range(day * DAY_MIN, (day + 1) * DAY_MIN):
        if first <= minute < last:
            steps.append(WALK_STEPS_PER_MIN + float(rng.randint(-10, 10)))
        else:
            is_awake = 6 * 60 + 30 <= minute % DAY_MIN < 23 * 60
            steps.append(float(rng.randint(0, 15)) if is_awake and rng.random() < 0.5 else 0.0)
    return tuple(steps)


class Clinician:
    """Signs temporary targets. The key is derived from the seed and never leaves the world."""

    def __init__(self, seed: int) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(
            hashlib.sha256(f"clinician/{seed}".encode()).digest()
        )

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes that go into the prescription."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, request: TargetRequest) -> TargetRequest:
        """The same request with a valid signature."""
        fields = (request.counter, request.target_mg_dl, request.starts_at_min)
        signature = self._key.sign(request.signed_bytes())
        return TargetRequest(*fields, request.duration_min, request.expires_at_min, signature)

    def requests_of_day(self, day: int) -> tuple[TargetRequest, ...]:
        """A mild one before breakfast (06:00) and one for the afternoon (14:00, 150 mg/dL for two hours)."""
        plan = ((6 * 60, 125.0, 60), (14 * 60, 150.0, 120))
        return tuple(
            self.sign(
                TargetRequest(
                    counter=2 * day + place + 1,
                    target_mg_dl=target,
                    starts_at_min=day * DAY_MIN + start,
                    duration_min=duration,
                    expires_at_min=day * DAY_MIN + start + 30,
                    signature=bytes(64),
                )
            )
            for place, (start, target, duration) in enumerate(plan)
        )
