"""How little was seen: bounds on a proportion, and how long kills took. All from SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95
#: A quantile is read off only where so many values lie beyond it as well.
BEYOND_MIN = 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """``count`` of ``of``, and the one-sided Clopper-Pearson bound above, as proportions; 1.0 when nothing was seen."""

    count: int
    of: int
    upper: float


def at_most(count: int, of: int, confidence: float = CONFIDENCE) -> Bounds:
    """The one-sided upper bound of a proportion (Clopper and Pearson, Biometrika 1934;26:404).

    Raises ``ValueError`` unless 0 <= count <= of.
    """
    if not 0 <= count <= of:
        raise ValueError(f"{count} of {of}: a count is between 0 and what it is of")
    if of == 0:
        return Bounds(0, 0, 1.0)
    interval = stats.binomtest(count, of, alternative="less").proportion_ci(confidence, method="exact")
    return Bounds(count, of, float(interval.high))


@dataclass(frozen=True, slots=True)
class Latency:
    """An empirical distribution of times in milliseconds, ``censored`` of them known only to be longer.

    ``times_ms`` and ``share`` are the steps: the share of times at or below. A quantile is ``None`` when the
    distribution does not reach it or too few values lie beyond it.
    """

    count: int
    censored: int
    times_ms: tuple[float, ...]
    share: tuple[float, ...]

    def quantile_ms(self, wanted: float) -> float | None:
        """The smallest time at or below which at least the share ``wanted`` of all lies."""
        if (1.0 - wanted) * (self.count + self.censored) < BEYOND_MIN:
            return None
        return next(
            (time for time, share in zip(self.times_ms, self.share, strict=True) if share >= wanted), None
        )


def latency(times_ms: Sequence[float], censored_ms: Sequence[float] = ()) -> Latency:
    """The distribution of ``times_ms`` when further times are only known to exceed ``censored_ms`` (Kaplan-Meier)."""
    if not times_ms:
        return Latency(0, len(censored_ms), (), ())
    sample = stats.CensoredData(uncensored=list(times_ms), right=list(censored_ms))
    steps = stats.ecdf(sample).cdf
    return Latency(
        len(times_ms),
        len(censored_ms),
        tuple(float(one) for one in steps.quantiles),
        tuple(float(one) for one in steps.probabilities),
    )
