"""What became of a trial: its own run, and its control without walls, put together into one outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec

from evidence.campaign.strata import Trial
from evidence.masking import masked_by
from evidence.outcome import Outcome
from evidence.workers import Summary
from sandbox import walls

Ask = Callable[[str], Summary]
#: How often a trial and its control are run at most until the control's effect is seen.
CONTROLS_MAX = 3


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One trial, judged. ``control`` is ``None`` when none was needed: the outcome stood without it.

    ``took_s`` is how long both took on the host that performed them.
    """

    number: int
    attack_id: str
    walls: str
    phase: str
    outcome: str
    reason: str
    summary: Summary
    control: Summary | None = None
    took_s: float = 0.0

    @property
    def line(self) -> str:
        """The experiment, to be run again with ``replay``."""
        return self.summary.line

    @property
    def kill_ms(self) -> tuple[float, ...]:
        """Violation to last process gone, in the walled run, in milliseconds."""
        return self.summary.kill_ms


def control_line(trial: Trial) -> str:
    """The same attack with the same parameters in the same frame of the same day, and no wall."""
    return replace(trial.experiment, without=walls.ALL).line


def performed(trial: Trial, ask: Ask, unavailable: frozenset[str] = frozenset()) -> Result:
    """Perform a trial. ``ask`` has one experiment performed; ``unavailable`` are walls this host cannot raise.

    HELD only if a control had its effect. What got through, or has no answer, needs no control.
    """
    summary = ask(trial.experiment.line)
    if summary.outcome != Outcome.HELD.value:
        return _result(trial, Outcome(summary.outcome), "; ".join(summary.reasons), summary)
    if trial.stratum.walls == "none":
        return _without_effect(trial, summary, summary, unavailable)
    control = ask(control_line(trial))
    asked, most = 1, 1 if masked_by(trial.stratum.attack_id, unavailable) else CONTROLS_MAX
    while not control.got_through and asked < most:
        # A busy host may miss an effect that lasts for a moment: with walls as well as without.
        summary = ask(trial.experiment.line)
        if summary.outcome != Outcome.HELD.value:
            return _result(trial, Outcome(summary.outcome), "; ".join(summary.reasons), summary)
        control, asked = ask(control_line(trial)), asked + 1
    if control.got_through:
        again = [f"seen to have an effect without walls in run {asked} only"] if asked > 1 else []
        return _result(trial, Outcome.HELD, "; ".join([*summary.reasons, *again]), summary, control)
    if control.got_through is None:
        why = f"its control cannot be told: {control.outcome}: {'; '.join(control.reasons)}"
        return _result(trial, Outcome.UNKNOWN, why, summary, control)
    return _without_effect(trial, summary, control, unavailable)


def _without_effect(trial: Trial, summary: Summary, control: Summary, unavailable: frozenset[str]) -> Result:
    host = masked_by(trial.stratum.attack_id, unavailable)
    outcome = Outcome.MASKED_BY_HOST if host else Outcome.VACUOUS
    why = host or f"without walls it has no effect either: {'; '.join(control.reasons)}"
    return _result(trial, outcome, why, summary, control)


def _result(
    trial: Trial, outcome: Outcome, reason: str, summary: Summary, control: Summary | None = None
) -> Result:
    stratum = trial.stratum
    return Result(
        trial.number,
        stratum.attack_id,
        stratum.walls,
        stratum.phase,
        outcome.value,
        reason[:2_000],
        summary,
        control,
    )
