"""How much of an announced meal has yet to reach the blood: the two gut compartments of Hovorka's model.

With both time constants equal, the part left after t minutes is (1 + t/T) exp(-t/T), T = 40 minutes.
Tabulated per five minutes and rounded, for the reason given in ``insulin_on_board``.
"""

from __future__ import annotations

from math import exp
from typing import NamedTuple

from insulin_on_board import HORIZONS_SLOTS, SLOT_MIN

GUT_TIME_MIN = 40.0
#: Between an announcement and the middle of eating.
EATEN_AFTER_MIN = 15
FORGOTTEN_AFTER_MIN = 360
MEALS_MAX = 16

_LEFT = tuple(
    round((1.0 + t / GUT_TIME_MIN) * exp(-t / GUT_TIME_MIN), 12)
    for t in range(0, 2 * FORGOTTEN_AFTER_MIN + 60, SLOT_MIN)
)


class Eaten(NamedTuple):
    """An announced meal."""

    at_min: int
    carbs_g: float


class CarbsOnBoard:
    """Meals announced in this life. A meal is forgotten after six hours."""

    def __init__(self) -> None:
        self._meals: list[Eaten] = []

    def add(self, meal: Eaten) -> None:
        """Remember one more meal; of too many, the oldest goes."""
        self._meals = [*self._meals, meal][-MEALS_MAX:]

    def forget_old(self, now_min: int) -> None:
        """Drop meals that are over, and those announced for a time that is not yet in sight."""
        if self._meals:
            self._meals = [m for m in self._meals if abs(now_min - m.at_min) <= FORGOTTEN_AFTER_MIN]

    def grams(self, now_min: int, ahead_slots: int = 0) -> float:
        """Carbohydrate still to come, ``ahead_slots`` from now."""
        total = 0.0
        for meal in self._meals:
            slots = (now_min - meal.at_min - EATEN_AFTER_MIN) // SLOT_MIN + ahead_slots
            if slots <= 0:
                total += meal.carbs_g
            elif slots < len(_LEFT):
                total += meal.carbs_g * _LEFT[slots]
        return total

    def left_at_horizons(self, now_min: int) -> list[float]:
        """``grams`` at each of ``HORIZONS_SLOTS``."""
        if not self._meals:
            return [0.0] * len(HORIZONS_SLOTS)
        return [self.grams(now_min, slots) for slots in HORIZONS_SLOTS]
