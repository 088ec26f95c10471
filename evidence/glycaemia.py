"""Glycaemic metrics over a glucose trace in mg/dL, evenly sampled in time.

Sources: ranges, GMI and CV after the international consensus (Battelino et al., Diabetes Care 2019;42:1593);
LBGI and HBGI after Kovatchev et al., Diabetes Care 1997;20:1655; GRI after Klonoff et al., J Diabetes Sci
Technol 2023;17:1226. A simulated trace is true plasma glucose; a sensor's would include its errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import Annotated

import msgspec

VERY_LOW_MG_DL, LOW_MG_DL, HIGH_MG_DL, VERY_HIGH_MG_DL = 54.0, 70.0, 180.0, 250.0
#: The risk function is defined from here on: below, the model says nothing finer than "far too low".
RISK_LOWEST_MG_DL = 20.0
_Meta = msgspec.Meta
Percent = Annotated[float, _Meta(ge=0.0, le=100.0)]
Figure = Annotated[float, _Meta(ge=0.0, le=10_000.0)]


class Glycaemia(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shares of time in percent; ``below_70_percent`` includes ``below_54_percent``, and so for the highs."""

    readings: Annotated[int, _Meta(ge=1, le=10_000_000)]
    mean_mg_dl: Figure
    cv_percent: Figure
    gmi_percent: Figure
    in_range_percent: Percent
    below_70_percent: Percent
    below_54_percent: Percent
    above_180_percent: Percent
    above_250_percent: Percent
    lbgi: Figure
    hbgi: Figure
    gri: Percent


def glycaemia(glucose_mg_dl: Sequence[float]) -> Glycaemia:
    """All metrics of one trace. Raises ``ValueError`` when it is empty."""
    if not glucose_mg_dl:
        raise ValueError("an empty glucose trace has no metrics")
    n = len(glucose_mg_dl)
    mean = sum(glucose_mg_dl) / n
    deviation = sqrt(sum((g - mean) ** 2 for g in glucose_mg_dl) / (n - 1)) if n > 1 else 0.0
    below_54 = _percent(sum(g < VERY_LOW_MG_DL for g in glucose_mg_dl), n)
    below_70 = _percent(sum(g < LOW_MG_DL for g in glucose_mg_dl), n)
    above_180 = _percent(sum(g > HIGH_MG_DL for g in glucose_mg_dl), n)
    above_250 = _percent(sum(g > VERY_HIGH_MG_DL for g in glucose_mg_dl), n)
    lbgi, hbgi = risk_indices(glucose_mg_dl)
    return Glycaemia(
        readings=n,
        mean_mg_dl=mean,
        cv_percent=100.0 * deviation / mean if mean > 0.0 else 0.0,
        gmi_percent=3.31 + 0.02392 * mean,
        in_range_percent=_percent(sum(LOW_MG_DL <= g <= HIGH_MG_DL for g in glucose_mg_dl), n),
        below_70_percent=below_70,
        below_54_percent=below_54,
        above_180_percent=above_180,
        above_250_percent=above_250,
        lbgi=lbgi,
        hbgi=hbgi,
        gri=glycaemia_risk_index(below_54, below_70 - below_54, above_250, above_180 - above_250),
    )


def risk_indices(glucose_mg_dl: Sequence[float]) -> tuple[float, float]:
    """LBGI and HBGI: f = 1.509 (ln(G)^1.084 - 5.381), risk 10 f^2 on the side of f's sign, mean over all.

    Raises ``ValueError`` when the trace is empty.
    """
    if not glucose_mg_dl:
        raise ValueError("an empty glucose trace has no risk indices")
    low = high = 0.0
    for glucose in glucose_mg_dl:
        f = 1.509 * (log(max(glucose, RISK_LOWEST_MG_DL)) ** 1.084 - 5.381)
        if f < 0.0:
            low += 10.0 * f * f
        else:
            high += 10.0 * f * f
    return low / len(glucose_mg_dl), high / len(glucose_mg_dl)


def glycaemia_risk_index(very_low: float, low: float, very_high: float, high: float) -> float:
    """GRI of four shares in percent that do not overlap: <54, 54..70, >250, 180..250."""
    return min(100.0, 3.0 * very_low + 2.4 * low + 1.6 * very_high + 0.8 * high)


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole
