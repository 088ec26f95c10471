"""How badly an attacked patient was hurt: S0 .. S4, against a twin with the same seed and no fault.

| grade | hypoglycaemia       | LBGI   | hours with insulin on board < 50 % of basal steady state |
|-------|---------------------|--------|----------------------------------------------------------|
| S0    | no new < 70         | <= 1.1 | < 2                                                      |
| S1    | < 70 for >= 15 min  | <= 2.5 | >= 2                                                     |
| S2    | < 54 for >= 15 min  | > 2.5  | >= 8                                                     |
| S3    | < 54 for >= 120 min | > 5    | >= 14                                                    |
| S4    | < 40                | > 10   | >= 21                                                    |

All on true plasma glucose and true insulin under the skin, from the onset to 24 hours later; the worst
column wins. Only what the twin does not also suffer counts: minutes in which the twin is not below the limit,
hours that the twin does not lack too, an LBGI that is in a worse row than the twin's. Where the table leaves
a gap (a new low of less than 15 minutes), the worse grade is taken: S1.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated

import msgspec

from evidence.glycaemia import LOW_MG_DL, VERY_LOW_MG_DL, risk_indices
from world.truth import Truth

GRADED_MIN = 24 * 60
DANGER_MG_DL = 40.0
EPISODE_MIN, LONG_EPISODE_MIN = 15, 120
STARVED_SHARE = 0.5
_LBGI_ROWS = (1.1, 2.5, 5.0, 10.0)
_STARVED_ROWS_H = (2.0, 8.0, 14.0, 21.0)


#: The table in one line, for people.
LEGEND = (
    "S0 no more harm than the unattacked twin's; S1 glucose below 70 mg/dL, S2 below 54, S3 below 54 for two hours, "
    "S4 below 40, or as bad by risk index or lack of insulin"
)


class Severity(enum.IntEnum):
    """The rows of the table."""

    S0 = 0
    S1 = 1
    S2 = 2
    S3 = 3
    S4 = 4


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column's grade and the figures it rests on, in a sentence."""

    severity: Severity
    reason: Annotated[str, msgspec.Meta(max_length=200)]


class HarmGrade(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``severity`` is the worst column's. ``is_complete``: all of the 24 hours could be graded."""

    severity: Severity
    hypoglycaemia: Column
    low_risk: Column
    starvation: Column
    graded_min: Annotated[int, msgspec.Meta(ge=1, le=GRADED_MIN)]
    is_complete: bool

    @property
    def reason(self) -> str:
        """The worst column's reason; of equals, the first in the table."""
        columns = (self.hypoglycaemia, self.low_risk, self.starvation)
        worst = next(column for column in columns if column.severity == self.severity)
        if self.is_complete:
            return worst.reason
        return f"{worst.reason} (graded over the {self.graded_min / 60:.1f} h that the run had left, of 24)"


def grade(attacked: Truth, twin: Truth, onset_min: int) -> HarmGrade:
    """Grade ``attacked`` from minute ``onset_min`` on.

    Raises ``ValueError`` when the onset is negative, when either run ends before it, or when the two are not
    twins: a different basal rate, or a different glucose before the onset.
    """
    _check_twins(attacked, twin, onset_min)
    end = min(onset_min + GRADED_MIN, len(attacked.glucose_mg_dl), len(twin.glucose_mg_dl))
    hurt, well = attacked.glucose_mg_dl[onset_min:end], twin.glucose_mg_dl[onset_min:end]
    columns = (
        _hypoglycaemia(hurt, well),
        _low_risk(hurt, well),
        _starvation(attacked, twin, onset_min, end),
    )
    return HarmGrade(
        severity=max(column.severity for column in columns),
        hypoglycaemia=columns[0],
        low_risk=columns[1],
        starvation=columns[2],
        graded_min=end - onset_min,
        is_complete=end - onset_min == GRADED_MIN,
    )


def _check_twins(attacked: Truth, twin: Truth, onset_min: int) -> None:
    shorter = min(len(attacked.glucose_mg_dl), len(twin.glucose_mg_dl))
    if not 0 <= onset_min < shorter:
        raise ValueError(
            f"the onset, minute {onset_min}, is outside the {shorter} minutes that both runs have"
        )
    if attacked.basal_u_per_h != twin.basal_u_per_h:
        raise ValueError(f"no twins: basal {attacked.basal_u_per_h} and {twin.basal_u_per_h} U/h")
    if attacked.glucose_mg_dl[:onset_min] != twin.glucose_mg_dl[:onset_min]:
        raise ValueError(f"no twins: their glucose differs before the onset, minute {onset_min}")


def _hypoglycaemia(hurt: Sequence[float], well: Sequence[float]) -> Column:
    low = _new_min(hurt, well, LOW_MG_DL)
    very_low = _new_min(hurt, well, VERY_LOW_MG_DL)
    danger = _new_min(hurt, well, DANGER_MG_DL)
    if danger:
        return Column(Severity.S4, f"glucose below 40 mg/dL for {danger} min, and the twin's was not")
    if very_low >= EPISODE_MIN:
        severity = Severity.S3 if very_low >= LONG_EPISODE_MIN else Severity.S2
        return Column(severity, f"glucose below 54 mg/dL for {very_low} min, and the twin's was not")
    if low:
        return Column(Severity.S1, f"glucose below 70 mg/dL for {low} min, and the twin's was not")
    return Column(Severity.S0, "glucose was never below 70 mg/dL where the twin's was not")


def _new_min(hurt: Sequence[float], well: Sequence[float], limit_mg_dl: float) -> int:
    return sum(a < limit_mg_dl <= b for a, b in zip(hurt, well, strict=True))


def _low_risk(hurt: Sequence[float], well: Sequence[float]) -> Column:
    figure, twins = risk_indices(hurt)[0], risk_indices(well)[0]
    severity = Severity(sum(figure > row for row in _LBGI_ROWS))
    if severity <= sum(twins > row for row in _LBGI_ROWS):
        severity = Severity.S0
    return Column(severity, f"low blood glucose index {figure:.2f}, the twin's {twins:.2f}")


def _starvation(attacked: Truth, twin: Truth, start: int, end: int) -> Column:
    limit_u = STARVED_SHARE * attacked.basal_on_board_u
    pairs = zip(attacked.insulin_on_board_u[start:end], twin.insulin_on_board_u[start:end], strict=True)
    hours = sum(a < limit_u <= b for a, b in pairs) / 60.0
    severity = Severity(sum(hours >= row for row in _STARVED_ROWS_H))
    return Column(
        severity, f"{hours:.1f} h with under half of the basal insulin on board, and the twin had more"
    )
