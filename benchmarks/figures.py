"""What a row measures, and the few statistics it is allowed: medians, percentiles, smallest and largest."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Spread:
    """A median with the smallest and largest value beside it, and how many values there were."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Raises ``ValueError`` when there are none."""
    if not values:
        raise ValueError("no value was measured")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that ``percent`` of all do not exceed.

    Raises ``ValueError``.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no value was measured")
    return ordered[
        max(math.ceil(round(percent * len(ordered) / 100, 6)), 1) - 1
    ]  # in binary 1998 is a little more


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``ratio`` is ours divided by the peer's;
    ``is_met`` is ``None`` without an aim.
    """

    row: str
    what: str
    unit: str
    ours: Spread
    beside: str
    peer: Spread | None = None
    ratio: float | None = None
    aim: str = ""
    is_met: bool | None = None
    remark: str = ""


def beside(
    row: str,
    what: str,
    unit: str,
    ours: Spread,
    peer_name: str,
    peer: Spread,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    also: bool = True,
    remark: str = "",
) -> Figure:
    """A figure beside its peer. ``also`` is a condition of the aim beyond the ratio (for example:
    no deadline missed).
    """
    ratio = ours.median / peer.median if peer.median else math.inf
    aim, is_met = "", None
    if at_least is not None:
        aim, is_met = f">= {at_least:g}x", ratio >= at_least and also
    elif at_most is not None:
        aim, is_met = f"<= {at_most:g}x", ratio <= at_most and also
    return Figure(row, what, unit, ours, peer_name, peer, ratio, aim, is_met, remark)


@dataclass(frozen=True)
class Effort:
    """How much is measured: ``is_quick`` for a first look, the rest for figures worth keeping."""

    is_quick: bool = False

    def pick(self, quick: int, full: int) -> int:
        """One of two counts."""
        return quick if self.is_quick else full


Step = Callable[[], None]


@dataclass(frozen=True)
class Row:
    """A row of the table: ``steps`` says how many runs it takes, ``step_s`` about how long one lasts.

    ``measure`` calls its argument after each run, so that whoever waits sees how far it is.
    """

    name: str
    what: str
    steps: Callable[[Effort], int]
    step_s: float
    measure: Callable[[Effort, Step], list[Figure]] = field(repr=False)
