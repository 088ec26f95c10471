"""An experiment: a design, a seed, injections in their frames, and the walls left out. And what became of it.

An experiment is a value and has one line of text, from which the same value can be read again. ``perform`` runs it:
the attacked run, and what it is compared with. With all walls up that is the run in which nobody attacks and a player
sends exactly what the gates had admitted (``evidence.noninterference``); with walls left out it is the calm twin.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from evidence import harm, noninterference, sightings, treatment
from evidence.attesting import Attester
from evidence.noninterference import Comparison, Emission
from evidence.outcome import Outcome
from evidence.stopping import standing
from faults import attack_files, catalogue, detectors
from faults import experiment as runs
from faults.attack import ATTACKED, Effect, Injection, Value
from faults.experiment import Run
from monitor.schedule import ClockRefused, parse_clock
from sandbox import walls
from world.bench import Plan
from world.nursery import Nursery
from world.truth import Truth

#: How many frames a run goes on after the last frame in which an effect may show.
MARGIN_FRAMES = 2
#: How many runs of comparison are remembered: a campaign of thousands must not fill the memory.
REFERENCES_MAX = 96
_INJECTION = re.compile(r"([A-Z][0-9]{2})@([0-9]{1,12})(?:/([a-z_0-9]+))?(?:\((.*)\))?", re.DOTALL)
#: One parameter of an injection: a name, and a text in quotes or a bare word.
_GIVEN = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)=("(?:[^"\\]|\\.)*"|[^,"]*)(,|\Z)', re.DOTALL)
#: A text that needs no quotes, unless JSON means something else by it.
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_ .+-]*")
_JSON_WORDS = ("true", "false", "null", "NaN", "Infinity")
#: A year of frames of five minutes; no attack shows later than that, and a run's journal stays within bounds.
FRAMES_MAX = 366 * 288
SEED_MAX = 2**32 - 1
PATIENT_MAX = 1_000_000
INJECTIONS_MAX = 288
#: What a parameter's whole number may be: it travels to the partition as MessagePack.
_WHOLE_MAX = 2**63 - 1


class LineWrong(ValueError):
    """A line of text that is no experiment; the sentence says which word is wrong."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment. ``frames`` is how long it runs; ``without`` the walls left out.

    ``restored`` are walls that a partition lacks by its design and that are put up all the same, as ``partition.wall``.
    """

    design: Path
    injections: tuple[Injection, ...]
    frames: int
    seed: int = 1
    patient: int = 0
    without: frozenset[str] = frozenset()
    clock: str = "virtual"
    restored: frozenset[str] = frozenset()

    @property
    def line(self) -> str:
        """Everything, in one line; ``read`` makes the same experiment of it."""
        left_out = "all" if self.without == walls.ALL else ",".join(sorted(self.without)) or "none"
        words = [
            f"design={self.design}",
            f"seed={self.seed}",
            f"patient={self.patient}",
            f"frames={self.frames}",
            f"clock={self.clock}",
            f"without={left_out}",
            *([f"restored={','.join(sorted(self.restored))}"] if self.restored else []),
            *map(_told, self.injections),
        ]
        return shlex.join(words)

    @property
    def plan(self) -> Plan:
        """The run that it asks for, before anybody is taken over."""
        return Plan(
            self.design,
            self.frames,
            self.seed,
            self.patient,
            self.clock,
            self.without,
            restored=self.restored,
        )

    @property
    def schedule(self) -> list[Injection]:
        """The injections in their order, each reaching to the next one's frame."""
        return catalogue.with_spans(self.injections)


def single(
    design: Path,
    injection: Injection,
    without: frozenset[str] = frozenset(),
    *,
    seed: int = 1,
    patient: int = 0,
) -> Experiment:
    """One attack, in a run just long enough to see its effect."""
    attack = attack_files.built(design if design.is_dir() else design.parent)[injection.attack_id]
    frames = injection.frame + attack.shows_within_frames + MARGIN_FRAMES
    return Experiment(design, (injection,), frames, seed, patient, without)


def _told(one: Injection) -> str:
    where = "" if one.partition == ATTACKED else f"/{one.partition}"
    given = parameters_told(one.parameters)
    return f"{one.attack_id}@{one.frame}{where}" + (f"({given})" if given else "")


def parameters_told(parameters: Mapping[str, Value]) -> str:
    """``signer=revoked``, as it stands in the brackets of a line; empty for none."""
    return ",".join(f"{name}={_value_told(value)}" for name, value in sorted(parameters.items()))


def _value_told(value: Value) -> str:
    """Numbers and truth values as JSON has them; a text bare unless it could be taken for something else."""
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = _WORD.fullmatch(value) and value not in _JSON_WORDS
    return value if is_plain else json.dumps(value)


def read(line: str) -> Experiment:
    """The experiment that a line tells of. Raises ``LineWrong``.

    Whether its design has what it names is for ``evidence.fitting`` to say.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise LineWrong(f"{line!r}: {error}") from None
    if not words:
        raise LineWrong("the line is empty; write one such as design=designs/insulin_pump frames=19 C18@14")
    given: dict[str, str] = {}
    injections: list[Injection] = []
    for word in words:
        match = _INJECTION.fullmatch(word)
        if match is not None:
            injections.append(_injection(word, match))
            continue
        name, equals, value = word.partition("=")
        if not equals or name not in ("design", "seed", "patient", "frames", "clock", "without", "restored"):
            raise LineWrong(f"{word!r} is neither an attack such as K01@96 nor one of design=, seed=, ...")
        if name in given:
            raise LineWrong(f"{name}= stands there twice, as {given[name]!r} and {value!r}; leave one out")
        given[name] = value
    if len(injections) > INJECTIONS_MAX:
        raise LineWrong(f"{len(injections)} injections are more than an experiment takes ({INJECTIONS_MAX})")
    return _experiment(given, injections)


#: Name -> the usual text, the least and the most.
_NUMBERS: Mapping[str, tuple[str, int, int]] = {
    "seed": ("1", 0, SEED_MAX),
    "patient": ("0", 0, PATIENT_MAX),
    "frames": ("", 1, FRAMES_MAX),
}


def _experiment(given: Mapping[str, str], injections: Sequence[Injection]) -> Experiment:
    numbers = {}
    for name, (usual, least, most) in _NUMBERS.items():
        text = given.get(name, usual)
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            shown = text if len(text) <= 24 else f"{text[:20]}..."
            why = f"this is no whole number from {least} to {most}; write {name}={max(least, 100)}"
            raise LineWrong(f"{name}={shown}: {why}")
        numbers[name] = int(text)
    design = given.get("design", "")
    if not design or not design.isprintable():
        raise LineWrong(
            f"design={design!r} is not the name of a folder"
            if design
            else "design= is missing; name the folder of the device"
        )
    left_out = given.get("without", "none")
    try:
        without = frozenset[str]() if left_out == "none" else walls.parse_without(left_out)
    except walls.UnknownWall as error:
        raise LineWrong(f"without={left_out}: {error}") from None
    if left_out != "none" and not without:
        raise LineWrong("without= names no wall; name one, several with commas between, all, or none")
    clock = given.get("clock", "virtual")
    try:
        parse_clock(clock)
    except ClockRefused as error:
        raise LineWrong(str(error)) from None
    return Experiment(
        Path(design),
        tuple(injections),
        without=without,
        clock=clock,
        restored=frozenset(filter(None, given.get("restored", "").split(","))),
        **numbers,
    )


def _injection(word: str, match: re.Match[str]) -> Injection:
    attack_id, frame, partition, given = match.groups()
    parameters: dict[str, Value] = {}
    position = 0
    while given and position < len(given):
        part = _GIVEN.match(given, position)
        if part is None or (part[3] and part.end() == len(given)):
            raise LineWrong(f"{word!r}: the brackets hold name=value pairs, with commas between")
        name, text, _ = part.groups()
        if name in parameters:
            raise LineWrong(f"{word!r}: {name}= stands there twice; leave one out")
        parameters[name] = _value(word, name, text)
        position = part.end()
    if given == "":
        raise LineWrong(f"{word!r}: the brackets are empty; leave them out, or write name=value pairs")
    return Injection(int(frame), attack_id, parameters, partition=partition or ATTACKED)


def _value(word: str, name: str, text: str) -> Value:
    """A number or a truth value as JSON has them, else the text itself. Raises ``LineWrong``."""
    try:
        value = json.loads(text)
    except ValueError:  # bare, or digits beyond what is read at all
        value = text
        if not _WORD.fullmatch(text):
            raise LineWrong(
                f"{word!r}: {name}={text[:40]} is neither a number nor a word; put quotes around"
            ) from None
    if isinstance(value, bool):
        return value
    is_number = isinstance(value, int) and abs(value) <= _WHOLE_MAX
    is_number |= isinstance(value, float) and math.isfinite(value)
    if is_number or (isinstance(value, str) and _can_travel(value)):
        return cast(Value, value)
    raise LineWrong(
        f"{word!r}: {name}={text[:40]} is no value: write a number within bounds, true, false or a text"
    )


def _can_travel(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- performing it ---


@dataclass(frozen=True, slots=True)
class Reference:
    """What an attacked run is compared with: what the critical partitions emitted, and the patient's truth."""

    emissions: tuple[Emission, ...]
    truth: Truth | None
    run: Run


@dataclass(slots=True)
class References:
    """Runs of comparison, each done once as long as it is remembered. ``nursery``: where their monitors come from."""

    nursery: Nursery | None = None
    runs_done: int = 0
    _known: dict[tuple[object, ...], Reference] = field(default_factory=dict)

    def calm(self, plan: Plan, faults: tuple[Injection, ...] = ()) -> Reference:
        """The same run with all walls, and nobody attacks; the world has these ``faults``."""
        return self._get(replace(plan, without=frozenset(), clock="virtual"), (), faults)

    def replayed(self, plan: Plan, admitted: tuple[Emission, ...], run: Run) -> Reference:
        """The same run in the same world, its faults included: nobody attacks, and a player sends ``admitted``."""
        overlays = noninterference.players(run.design, admitted)
        return self._get(replace(plan, clock="virtual", overlays=overlays), admitted, run.world_faults)

    def _get(self, plan: Plan, admitted: tuple[Emission, ...], faults: tuple[Injection, ...]) -> Reference:
        is_played = bool(plan.overlays)
        struck = tuple((one.frame, one.attack_id, *sorted(one.parameters.items())) for one in faults)
        key = (plan.design, plan.frames, plan.seed, plan.patient, plan.restored, is_played, admitted, struck)
        if key not in self._known:
            run = runs.run(plan, faults, nursery=self.nursery)
            self.runs_done += 1
            truth = run.world.truth() if hasattr(run.world, "truth") else None
            critical = noninterference.critical(run.design)
            reference = Reference(sightings.emitted(run, critical), truth, run)
            if sightings.was_disturbed(run):
                return reference  # by a busy host, for nobody attacks: the next to ask has it done anew
            if len(self._known) >= REFERENCES_MAX:
                del self._known[next(iter(self._known))]  # the oldest
            self._known[key] = reference
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of an experiment. ``effects`` are in the order of the injections.

    ``reasons`` says why the outcome is what it is, in sentences; ``comparison`` is of the critical partitions' output.
    """

    experiment: Experiment
    outcome: Outcome
    effects: tuple[Effect, ...]
    reasons: tuple[str, ...]
    chain: str
    comparison: Comparison | None
    severity: harm.Severity | None
    kill_ms: tuple[float, ...]
    wall_s: float
    standing: frozenset[str]
    #: Whether a taken-over partition lost a window in the attack's frames: a busy host does that, too.
    lost_a_window: bool
    #: Whether each injection ran, in their order.
    activated: tuple[bool, ...]
    #: The attacked run and, where ``comparison`` is of a replay, that run; else the calm twin.
    run: Run
    reference: Run
    #: How the attackers were treated (``evidence.treatment``), in words, in the order of the injections.
    treated: tuple[str, ...] = ()
    #: Where secrets of the critical partitions turned up, as sentences.
    leaks: tuple[str, ...] = ()

    @property
    def got_through(self) -> bool:
        """Whether something got through: an effect, a secret, a difference."""
        return self.outcome is Outcome.BREACH or any(effect.succeeded for effect in self.effects)


def perform(experiment: Experiment, references: References) -> Finding:
    """Run it, and what it is compared with, and judge. Raises ``BenchError`` and ``DesignError``.

    HELD here means that nothing got through; whether the attack could have (that it works without walls) is for
    whoever knows the control to add.
    """
    run = runs.run(_verified(experiment), experiment.schedule, nursery=references.nursery)
    is_walled = not experiment.without
    others = noninterference.others(run.design)
    admitted = sightings.emitted(run, others)
    calm = references.calm(experiment.plan)
    twin = references.calm(experiment.plan, run.world_faults)
    reference = references.replayed(experiment.plan, admitted, run) if is_walled else twin
    effects = []
    activated = []
    treated = []
    lost_a_window = False
    for one in run.schedule:
        seen = sightings.observations(run, reference.run, is_replay=is_walled, attacker=one.partition)
        effects.append(detectors.detect(one.attack_id, seen, one, run.design.folder))
        lost_a_window |= bool(seen.missed_by(one, one.partition)) if seen.missed is not None else False
        activated.append(detectors.was_activated(one.attack_id, seen, one))
        how = treatment.treatment(run, one, effects[-1], calm.run) if activated[-1] else ()
        treated.append(treatment.text(how))
    comparison = sightings.compared(run, reference.emissions)
    severity = _severity(run, calm, experiment)
    # What a fault of the world costs its patient is told, and is no breach; what the attack adds to it is. Where the
    # run had to end, the attack's own detector says what the device was allowed to do from then on. And where the fault
    # is in a critical partition itself, what that one emits is the fault's own doing: nothing had to reach it.
    is_inside = bool(taken_over(run) & noninterference.critical(run.design))
    added = None if run.ended_by is not None or is_inside else _severity(run, twin, experiment)
    is_compared = is_walled and not is_inside and not run.was_refused
    idle = [one.attack_id for one, ran in zip(run.schedule, activated, strict=True) if not ran]
    leaks = sightings.leaks(run)
    outcome, reasons = verdict(
        Facts(effects, idle, comparison if is_compared else None, added, leaks, sightings.unfinished(run))
    )
    return Finding(
        experiment,
        outcome,
        tuple(effects),
        tuple(reasons),
        run.chain,
        comparison,
        severity,
        tuple(run.kill_ms),
        run.record.wall_s,
        standing(run),
        lost_a_window,
        tuple(activated),
        run,
        reference.run,
        tuple(treated),
        leaks,
    )


def _verified(experiment: Experiment) -> Plan:
    """The plan, with a verifier for a device that is tampered with: what it believes is part of what is judged."""
    folder = experiment.design if experiment.design.is_dir() else experiment.design.parent
    attacks = attack_files.built(folder)
    if any(attacks[one.attack_id].tamper is not None for one in experiment.injections):
        return replace(experiment.plan, verifier=Attester(experiment.without))
    return experiment.plan


def taken_over(run: Run) -> frozenset[str]:
    """The partitions in which an attack ran inside."""
    attacks = attack_files.built(run.design.folder)
    return frozenset(one.partition for one in run.schedule if attacks[one.attack_id].inject is not None)


def _severity(run: Run, calm: Reference, experiment: Experiment) -> harm.Severity | None:
    """The patient's harm against the calm twin, or ``None`` when it cannot be graded."""
    if calm.truth is None or not hasattr(run.world, "truth"):
        return None
    onset_min = _onset_frame(run, experiment) * run.design.frame_ms // 60_000
    try:
        return harm.grade(run.world.truth(), calm.truth, onset_min).severity
    except ValueError:
        return None


def _onset_frame(run: Run, experiment: Experiment) -> int:
    """The first frame in which the patient may be hurt: of an attack on the flash, that of power-on."""
    attacks = attack_files.built(run.design.folder)
    frames = [0 if attacks[one.attack_id].tamper is not None else one.frame for one in experiment.injections]
    return min(frames, default=0)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a verdict rests on. ``comparison`` is ``None`` where none counts, ``added_harm`` where none can be graded.

    ``leaks`` are places where secrets turned up, ``unfinished`` what the run lacks, ``idle`` attacks that never ran.
    """

    effects: Sequence[Effect]
    idle: Sequence[str] = ()
    comparison: Comparison | None = None
    added_harm: harm.Severity | None = None
    leaks: Sequence[str] = ()
    unfinished: Sequence[str] = ()


def verdict(facts: Facts) -> tuple[Outcome, list[str]]:
    """BREACH before all else: whatever is missing beside it, something got through."""
    got_through = [effect.sentence for effect in facts.effects if effect.succeeded]
    compared, added = facts.comparison, facts.added_harm
    if compared is not None and compared.difference is not None:
        got_through.append(
            f"what the critical partitions emit is not that of the replay: {compared.difference}"
        )
    got_through += [f"a secret of therapy got out: {leak}" for leak in facts.leaks]
    if added is not None and added > harm.Severity.S0 and compared is not None:
        got_through.append(f"the patient was harmed: grade {added.name}")
    if got_through:
        return Outcome.BREACH, got_through
    if facts.unfinished:
        return Outcome.NO_REPLY, [f"the run {each}" for each in facts.unfinished]
    if not facts.effects:
        return Outcome.NOT_ACTIVATED, ["the experiment has no injection"]
    if facts.idle:
        return Outcome.NOT_ACTIVATED, [f"{', '.join(facts.idle)} never ran"]
    blind = [effect.sentence for effect in facts.effects if effect.succeeded is None]
    if compared is not None and compared.is_vacuous:
        blind.append("therapy emitted nothing, so there was nothing to compare")
    if blind:
        return Outcome.UNKNOWN, blind
    return Outcome.HELD, [effect.sentence for effect in facts.effects]
