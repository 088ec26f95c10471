"""The main job: one day attacked behind all walls, the same day replayed and calm, and the same attack with no walls.

Four runs of one seed:

- ``attacked``  the walls stand, the attacker holds the transfer partition
- ``replayed``  no attacker; a player sends exactly what the gates admitted in ``attacked`` (noninterference); what
                failed in the world from outside fails here, too
- ``calm``      no attacker and no fault at all: the twin that harm is graded against
- ``open``      the attacker again, with every wall left out: shows that each attack works when nothing stops it

An attack counts as HELD only if it ran, its effect was looked for and was absent, and the same attack had its effect
in ``open``. Everything else has another name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evidence import harm, masking, noninterference
from evidence.at_end import off_at_end
from evidence.attesting import Attester
from evidence.noninterference import Comparison
from evidence.outcome import Outcome
from evidence.sightings import compared, emitted, leaks, observations, unfinished
from evidence.stopping import Stopping, stopping, unavailable, undelivered
from faults import catalogue, detectors, experiment
from faults.attack import Effect, Injection
from faults.catalogue import Row
from faults.experiment import Ears, Run
from faults.seen import Observations
from sandbox import walls
from world.bench import Plan


@dataclass(frozen=True, slots=True)
class Trial:
    """One attack in the walled run: what it tried, what stopped it, and what the same attack did without walls.

    ``masked_by`` is why the host itself forbids it, empty when that is not known; ``undelivered`` is what of it went
    nowhere even without walls.
    """

    injection: Injection
    row: Row
    outcome: Outcome
    effect: Effect
    stopping: Stopping
    open_effect: Effect
    masked_by: str = ""
    undelivered: str = ""

    @property
    def sentence(self) -> str:
        """What was seen of its effect; and why it shows nothing, where that is known."""
        text = self.effect.sentence
        if self.outcome is Outcome.MASKED_BY_HOST:
            return f"{text} Nor without walls: this host itself forbids it, {self.masked_by}."
        if self.outcome is not Outcome.VACUOUS:
            return text
        text += " Nor has it an effect without walls."
        if self.injection.frame == 0:
            text += (
                " It struck in the first frame, before therapy had published what it goes by: "
                f"give it a later time, as {self.row.id}@00:30."
            )
        return text


@dataclass(frozen=True, slots=True)
class Story:
    """All that the main job found. ``comparison`` is T(attacked) against T(replayed)."""

    attacked: Run
    replayed: Run
    calm: Run
    open: Run
    comparison: Comparison
    open_comparison: Comparison
    trials: tuple[Trial, ...]
    harm_attacked: harm.HarmGrade
    harm_open: harm.HarmGrade
    canary_leaks: tuple[str, ...]
    #: Whether the open control must have hurt the patient: asked of the whole day, not of single attacks.
    needs_harm: bool = True

    @property
    def problems(self) -> list[str]:
        """Every reason why this day does not count as held, in plain sentences; empty when it does."""
        found = [
            f"{t.row.id} ({t.row.name}): {t.outcome.value}. {t.sentence}"
            for t in self.trials
            if t.outcome is not Outcome.HELD
        ]
        if not self.trials:
            found.append("no attack was tried, so nothing was shown")
        if self.comparison.is_vacuous:
            found.append("therapy emitted nothing, so there was nothing to compare")
        elif self.comparison.difference is not None:
            found.append(f"therapy's output changed under attack: {self.comparison.difference}")
        if self.was_harmed:
            found.append(f"the patient was harmed behind the walls: grade {self.harm_attacked.severity.name}")
        if self.needs_harm and self.harm_open.severity < harm.Severity.S3:
            found.append(
                "without walls the attack did no grave harm "
                f"(grade {self.harm_open.severity.name}), so it proves little"
            )
        found += [f"a secret of therapy got out: {leak}" for leak in self.canary_leaks]
        for name, run in (("attacked", self.attacked), ("replayed", self.replayed), ("calm", self.calm)):
            found += [f"the {name} run {problem}" for problem in unfinished(run)]
            found += [
                f"the {name} run ended with {off.who} off since frame {off.since_frame}"
                for off in off_at_end(run)
                if off.is_critical
            ]
        left_out = sorted(self.attacked.record.plan.without)
        if left_out:
            found.append(f"the attacked run was without {', '.join(left_out)}")
        return found

    @property
    def was_harmed(self) -> bool:
        """Whether the attacker hurt the patient behind the walls.

        A fault that came from outside the device may cost its patient something wherever the walls stand: that is told,
        and is no harm by an attacker.
        """
        from_outside = self.attacked.world_faults or self.attacked.ended_by is not None
        return self.harm_attacked.severity > harm.Severity.S0 and not from_outside

    @property
    def gave_way(self) -> bool:
        """Whether anything was seen to get through: an effect, a difference, harm behind the walls, or a secret."""
        return (
            any(trial.outcome is Outcome.BREACH for trial in self.trials)
            or self.comparison.difference is not None
            or self.was_harmed
            or bool(self.canary_leaks)
        )

    @property
    def held(self) -> bool:
        """Whether everything held."""
        return not self.problems


#: (name of the run, its number, how many runs there are)
Progress = Callable[[str, int, int], Ears]
RUNS = ("attacked", "replayed", "calm", "open")


def tell(
    plan: Plan,
    schedule: Sequence[Injection],
    progress: Progress,
    keep: Path | None = None,
    *,
    needs_harm: bool = True,
) -> Story:
    """Run the four runs and judge them. ``progress`` gives the ears for each run as it begins.

    Only the attacked run uses the plan's clock; the others go as fast as they can, which changes no byte.
    ``keep`` is a folder for the journals; without ``needs_harm`` the open control need not hurt the patient.
    Raises ``BenchError`` and ``DesignError``.
    """
    fast = replace(plan, clock="virtual")

    def done(name: str, what: Plan, attacks: Sequence[Injection]) -> Run:
        kept = keep / f"{name}.bhj" if keep else None
        what = replace(what, verifier=Attester(what.without))
        return experiment.run(what, attacks, progress(name, RUNS.index(name) + 1, len(RUNS)), kept)

    attacked = done("attacked", plan, schedule)
    design = attacked.design
    admitted = emitted(attacked, noninterference.others(design))
    played = replace(fast, overlays=noninterference.players(design, admitted))
    replayed = done("replayed", played, attacked.world_faults)
    calm = done("calm", fast, ())
    opened = done("open", replace(fast, without=walls.ALL), schedule)
    return replace(_judge(attacked, replayed, calm, opened), needs_harm=needs_harm)


def _judge(attacked: Run, replayed: Run, calm: Run, opened: Run) -> Story:
    onset_min = min((one.frame for one in attacked.schedule), default=0) * attacked.design.frame_ms // 60_000
    critical = noninterference.critical(attacked.design)
    comparison = compared(attacked, emitted(replayed, critical))
    open_comparison = compared(opened, emitted(calm, critical))
    seen = observations(attacked, replayed, is_replay=True)
    open_seen = observations(opened, calm, is_replay=False)
    trials = tuple(
        _trial((one, attacked, seen), (other, opened, open_seen))
        for one, other in zip(attacked.schedule, opened.schedule, strict=True)
    )
    calm_truth = calm.world.truth()
    return Story(
        attacked,
        replayed,
        calm,
        opened,
        comparison,
        open_comparison,
        trials,
        harm.grade(attacked.world.truth(), calm_truth, onset_min),
        harm.grade(opened.world.truth(), calm_truth, onset_min),
        leaks(attacked),
    )


#: One attack in one run, and what was seen of that run.
_Told = tuple[Injection, Run, Observations]


def _trial(walled: _Told, opened: _Told) -> Trial:
    one, run, seen = walled
    effect = detectors.detect(one.attack_id, seen, one)
    other, open_run, open_seen = opened
    open_effect = detectors.detect(one.attack_id, open_seen, other)
    masked = "" if open_effect.succeeded else masking.masked_by(one.attack_id, unavailable(run))
    return Trial(
        one,
        catalogue.row(one.attack_id),
        _outcome(one, seen, effect, open_effect, run, masked),
        effect,
        stopping(run, one),
        open_effect,
        masked,
        undelivered(open_run, other),
    )


def _outcome(
    one: Injection, seen: Observations, effect: Effect, open_effect: Effect, run: Run, masked: str = ""
) -> Outcome:
    if effect.succeeded:
        return Outcome.BREACH
    was_struck = (one.attack_id, one.frame) in run.struck
    if run.record.frames_done <= one.frame and not was_struck:
        return Outcome.NO_REPLY
    if not detectors.was_activated(one.attack_id, seen, one):
        return Outcome.NOT_ACTIVATED
    if effect.succeeded is None or open_effect.succeeded is None:
        return Outcome.UNKNOWN
    if open_effect.succeeded:
        return Outcome.HELD
    return Outcome.MASKED_BY_HOST if masked else Outcome.VACUOUS
