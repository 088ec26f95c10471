"""How late windows open: order statistics of what was measured, and what they say of an aim. Pure.

A percentile is by nearest rank: the smallest value that so many percent of all do not exceed. Its bounds are those of
the binomial distribution (David and Nagaraja, Order Statistics, section 7.1): with the confidence given, the true
percentile lies between two of the values themselves. Where too few were measured for an upper bound there is none.
Windows of one run are neighbours in time, not independent, so that bounds are narrower than they should be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from faults.window_times import WindowTimes

PERCENTS = (50.0, 99.0, 99.9)
#: Fewer windows than this say nothing of one in a thousand.
WINDOWS_MIN = {50.0: 1, 99.0: 100, 99.9: 1_000}
CONFIDENCE = 0.95
#: The aim: attacked beside unattacked, at ``AIM_PERCENT``, and no deadline missed.
AIM_RATIO_MAX, AIM_PERCENT = 2.0, 99.9


class Judgement(StrEnum):
    """What became of one aim. Only ``MET`` is good news."""

    MET = "met"
    NOT_MET = "not met"
    UNKNOWN = "UNKNOWN"
    NOT_ACTIVATED = "NOT-ACTIVATED"


@dataclass(frozen=True, slots=True)
class Percentile:
    """``value`` in milliseconds with its bounds; ``None``: unknown, because too few windows were measured."""

    percent: float
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """All windows of one device in some runs, which are its ``rounds``."""

    rounds: tuple[WindowTimes, ...]

    @property
    def lateness_ms(self) -> list[float]:
        """All of them, in ascending order."""
        return sorted(ms for times in self.rounds for ms in times.lateness_ms)

    @property
    def missed(self) -> int:
        """Deadlines missed in all runs."""
        return sum(times.missed for times in self.rounds)

    @property
    def frames(self) -> int:
        """Windows that were due."""
        return sum(times.frames for times in self.rounds)

    @property
    def max_ms(self) -> float | None:
        """The latest, ``None`` when none opened."""
        return max(self.lateness_ms, default=None)

    def at(self, percent: float) -> Percentile:
        """A percentile of all windows."""
        return percentile(self.lateness_ms, percent)


@dataclass(frozen=True, slots=True)
class Pair:
    """One kind of attack beside the same device unattacked, in runs in turn.

    ``struck`` is in how many frames the attack was seen to be at work, ``of_frames`` of how many. ``problems`` are
    sentences about runs that told nothing.
    """

    kind: str
    attacked: Sample
    alone: Sample
    struck: int
    of_frames: int
    problems: tuple[str, ...] = ()

    def ratio(self, percent: float) -> Percentile:
        """Attacked divided by unattacked. Bounds: both percentiles at their unfavourable ends, each at 97.5 %."""
        each = (1.0 + CONFIDENCE) / 2.0
        above = percentile(self.attacked.lateness_ms, percent, each)
        below = percentile(self.alone.lateness_ms, percent, each)
        return Percentile(
            percent,
            _divided(above.value, below.value),
            _divided(above.low, below.high),
            _divided(above.high, below.low),
        )

    @property
    def ratio_by_round(self) -> list[float]:
        """The ratio at ``AIM_PERCENT``'s nearest rank in each pair of runs: how much it moves by itself."""
        return [
            value
            for one, other in zip(self.attacked.rounds, self.alone.rounds, strict=True)
            if (value := _divided(_worst(one, AIM_PERCENT), _worst(other, AIM_PERCENT))) is not None
        ]

    @property
    def judgement(self) -> Judgement:
        """The aim, where the attack was at work and enough windows were measured. What is not known is not met."""
        if self.problems:
            return Judgement.UNKNOWN
        if not self.struck:
            return Judgement.NOT_ACTIVATED
        if self.attacked.missed:
            return Judgement.NOT_MET
        ratio = self.ratio(AIM_PERCENT).value
        if ratio is None:
            return Judgement.UNKNOWN
        return Judgement.MET if ratio <= AIM_RATIO_MAX else Judgement.NOT_MET


def percentile(ordered: Sequence[float], percent: float, confidence: float = CONFIDENCE) -> Percentile:
    """Of values in ascending order. Unknown with fewer values than ``WINDOWS_MIN`` has, or than a percentile needs."""
    least = WINDOWS_MIN.get(percent, math.ceil(100.0 / (100.0 - percent)))
    if len(ordered) < least:
        return Percentile(percent, None, None, None)
    value = ordered[_rank(len(ordered), percent) - 1]
    low, high = ranks(len(ordered), percent / 100.0, confidence)
    return Percentile(
        percent,
        value,
        ordered[low - 1] if low else None,
        ordered[high - 1] if high <= len(ordered) else None,
    )


def ranks(count: int, share: float, confidence: float) -> tuple[int, int]:
    """The ranks, from 1, of two of ``count`` values between which the true quantile lies with that confidence.

    0 and ``count + 1`` say that no value is a bound.
    """
    tail = (1.0 - confidence) / 2.0
    below = 0.0
    low, high = 0, count + 1
    for successes in range(count + 1):
        # The value of rank r is above the quantile when fewer than r of all are at or below it.
        below += _binomial(count, successes, share)
        if below <= tail:
            low = successes + 1
        if below >= 1.0 - tail and successes < count:
            high = successes + 1
            break
    return low, high


def _binomial(count: int, successes: int, share: float) -> float:
    if share in (0.0, 1.0):
        return float(successes == (count if share else 0))
    logarithm = (
        math.lgamma(count + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(count - successes + 1)
        + successes * math.log(share)
        + (count - successes) * math.log1p(-share)
    )
    return math.exp(logarithm)


def survival(ordered: Sequence[float]) -> list[tuple[float, float]]:
    """``(ms, share of windows at least so late)``, one point for each different value, in ascending order."""
    points: list[tuple[float, float]] = []
    for index, value in enumerate(ordered):
        if not points or value > points[-1][0]:
            points.append((value, (len(ordered) - index) / len(ordered)))
    return points


def _worst(times: WindowTimes, percent: float) -> float | None:
    ordered = sorted(times.lateness_ms)
    return ordered[_rank(len(ordered), percent) - 1] if ordered else None


def _rank(count: int, percent: float) -> int:
    """The nearest rank, from 1. Rounded first: 99.9 hundredths of 2000 are 1998, and a little more in binary."""
    return max(math.ceil(round(percent * count / 100.0, 6)), 1)


def _divided(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
