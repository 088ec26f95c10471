"""Boots a design, attacks it, and says of the result what may be asserted.

An assertion about something that was not observed fails, and says so. Every failure carries the experiment's one line,
from which the very same run can be made again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NoReturn, Self, TypeVar

import msgspec

from evidence import command, experiment, fitting, matrix, noninterference, sightings
from evidence.experiment import Experiment, Finding, LineWrong, References
from evidence.harm import Severity
from evidence.outcome import Outcome
from faults import attack_files
from faults import experiment as runs
from faults.attack import Attack, Injection, Value
from faults.attacks import s01_script
from faults.experiment import Run
from faults.seen import Missed
from monitor.design import Design
from monitor.loader import load_design, load_schemas
from sandbox import walls
from world.bench import Plan
from world.nursery import Nursery

#: When an attack begins unless a test says otherwise: the device is up and in its stride.
FRAME = matrix.FRAME
#: How often a run is made at most when what it came to may be a busy host's doing.
ASKED_MAX = 6
T = TypeVar("T")


class UsageWrong(ValueError):
    """A test asks for what there is not; the sentence says what there is."""


class Warm:
    """What the tests of one session share: a nursery, made when it is first needed, and the runs of comparison."""

    def __init__(self) -> None:
        self._nursery: Nursery | None = None
        self._references: References | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._nursery is not None:
            self._nursery.close()

    @property
    def references(self) -> References:
        """The runs of comparison; each is done once."""
        if self._references is None:
            self._nursery = Nursery()
            self._references = References(self._nursery)
        return self._references


@dataclass(frozen=True, slots=True)
class PortUnderTest:
    """One output port of a design: its full name, its message type, and how large a message may be."""

    name: str
    message_type: type[msgspec.Struct]
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Calm:
    """A run in which nobody attacks. ``asked`` is how often it was made: see ``Harness``."""

    run: Run
    asked: int

    def assert_finished(self) -> Self:
        """It ran to its end and left a whole journal."""
        __tracebackhide__ = True
        for why in sightings.unfinished(self.run):
            raise AssertionError(f"the run of {self.run.design.name} {why}")
        return self

    def assert_no_missed_deadline(self) -> Self:
        """No critical partition lost a window."""
        __tracebackhide__ = True
        self.assert_finished()
        _deadline(self.run, self.asked, "")
        return self


def _deadline(run: Run, asked: int, tail: str) -> None:
    __tracebackhide__ = True
    lost = _lost(run)
    if lost:
        first = lost[0]
        raise AssertionError(
            f"{first.partition} lost {len(lost)} windows, the first in frame {first.frame}, "
            f"in each of {asked} runs{tail}"
        )


def _lost(run: Run) -> tuple[Missed, ...]:
    return sightings.missed(run, noninterference.critical(run.design))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an experiment. Each assertion returns the result, so that several can follow one another."""

    finding: Finding
    #: How often the run was made: see ``Harness``.
    asked: int = 1

    @property
    def outcome(self) -> Outcome:
        """One of the eight names; only HELD is good news."""
        return self.finding.outcome

    @property
    def line(self) -> str:
        """The experiment in one line, from which it can be run again."""
        return self.finding.experiment.line

    @property
    def lost_windows(self) -> tuple[Missed, ...]:
        """The windows that critical partitions lost in the attacked run."""
        return _lost(self.finding.run)

    def assert_held(self) -> Self:
        """The outcome is HELD; UNKNOWN and all the others fail."""
        __tracebackhide__ = True
        if self.outcome is not Outcome.HELD:
            self._fail("assert_held()", f"{self.outcome.value}, not HELD: {'; '.join(self.finding.reasons)}")
        return self

    def assert_breach(self) -> Self:
        """Something got through: the positive control of a test that asserts that nothing does."""
        __tracebackhide__ = True
        if not self.finding.got_through:
            why = "; ".join(self.finding.reasons)
            self._fail(
                "assert_breach()",
                f"{self.outcome.value}, and nothing got through, so this attack shows nothing: {why}",
            )
        return self

    def assert_noninterference(self) -> Self:
        """What the critical partitions emitted is what they emit when a player sends what the gates admitted."""
        __tracebackhide__ = True
        self._assert_observed("assert_noninterference()", "noninterference")
        left_out = self.finding.experiment.without
        if left_out:
            self._fail(
                "assert_noninterference()",
                "noninterference was not observed: with walls left out the run is compared with the calm twin, not "
                f"with a replay; left out: {', '.join(walls.in_order(left_out))}",
            )
        comparison = self.finding.comparison
        if comparison is None or comparison.is_vacuous:
            self._fail(
                "assert_noninterference()",
                "noninterference was not observed: the critical partitions emitted nothing to compare",
            )
        if comparison.difference is not None:
            self._fail(
                "assert_noninterference()",
                f"interference: attacked run against replay: {comparison.difference}{self._lost_too()}",
            )
        return self

    def assert_contained(self) -> Self:
        """No effect was seen, no secret came out, and nothing that the attack started is alive."""
        __tracebackhide__ = True
        self._assert_observed("assert_contained()", "containment")
        run = self.finding.run
        for one, effect in zip(run.schedule, self.finding.effects, strict=True):
            if effect.succeeded:
                self._fail(
                    "assert_contained()",
                    f"not contained: {one.attack_id} in frame {one.frame}: {effect.sentence}",
                )
        for leak in sightings.leaks(run):
            self._fail("assert_contained()", f"not contained: a secret got out {leak}")
        if run.survivors:
            names = ", ".join(f"{one.comm} ({one.pid})" for one in run.survivors)
            self._fail("assert_contained()", f"not contained: still alive after the run: {names}")
        for one, effect in zip(run.schedule, self.finding.effects, strict=True):
            if effect.succeeded is None:
                self._fail(
                    "assert_contained()", f"containment was not observed: {one.attack_id}: {effect.sentence}"
                )
        return self

    def assert_harm_at_most(self, grade: str) -> Self:
        """The patient's harm against the calm twin is ``S0`` .. ``S4`` at most. Raises ``UsageWrong``."""
        __tracebackhide__ = True
        if grade not in Severity.__members__:
            raise UsageWrong(f"{grade!r} is no grade of harm; there are {', '.join(Severity.__members__)}")
        self._assert_observed(f"assert_harm_at_most({grade!r})", "harm")
        severity = self.finding.severity
        if severity is None:
            self._fail(
                f"assert_harm_at_most({grade!r})",
                "harm was not observed: the world of this design gives no truth() to grade, or no twin to it",
            )
        if severity > Severity[grade]:
            self._fail(
                f"assert_harm_at_most({grade!r})",
                f"the patient was harmed: grade {severity.name}, at most {grade} is accepted",
            )
        return self

    def assert_no_missed_deadline(self) -> Self:
        """No critical partition lost a window."""
        __tracebackhide__ = True
        self._assert_observed("assert_no_missed_deadline()", "deadlines")
        _deadline(self.finding.run, self.asked, self._tail("assert_no_missed_deadline()"))
        return self

    def _assert_observed(self, assertion: str, what: str) -> None:
        """The run ended as planned, and an attack really ran in it."""
        __tracebackhide__ = True
        for why in sightings.unfinished(self.finding.run):
            self._fail(assertion, f"NO-REPLY: {what} was not observed: the run {why}")
        if self.finding.run.was_refused:
            self._fail(assertion, f"{what} was not observed: the device did not start, so there was no day")
        if not any(self.finding.activated):
            self._fail(assertion, f"NOT-ACTIVATED: {what} was not observed: the attack never ran")

    def _lost_too(self) -> str:
        lost = (*self.lost_windows, *_lost(self.finding.reference))
        if not lost:
            return ""
        return (
            f" ({lost[0].partition} lost its window in frame {lost[0].frame}, in each of {self.asked} runs)"
        )

    def _tail(self, assertion: str) -> str:
        """How to run it again, and the very assertion that failed: another might pass on the same run."""
        return (
            f"\n  again:     {command.command()} replay {shlex.quote(self.line)}"
            f"\n  as a test: bulkhead.replay({self.line!r}).{assertion}"
        )

    def _fail(self, assertion: str, why: str) -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError(why + self._tail(assertion))


@dataclass(frozen=True, slots=True)
class Harness:
    """A device under test. ``folder`` is its design, as far as one is named.

    A run in which a critical partition or the world lost a window, or the attacker the one in which it should have
    begun, is made again, ``ASKED_MAX`` times in all: on the virtual clock that is what a busy host does. So a device
    that loses a window by chance in some runs is not found out here; one that loses it each time is. An effect that was
    seen, or a secret that came out, stands at once.
    """

    warm: Warm
    folder: Path | None = None

    def design(self, folder: str | Path) -> Harness:
        """The harness of another design. Raises ``DesignError`` in one sentence when it cannot be read."""
        found = Harness(self.warm, Path(folder))
        assert found.loaded
        return found

    @property
    def loaded(self) -> Design:
        """The design as frozen values. Raises ``DesignError`` and ``UsageWrong``."""
        return load_design(self._named_folder, walls.ALL)

    @property
    def schemas(self) -> ModuleType:
        """The module of the design's message types."""
        return load_schemas(self.loaded)

    @property
    def _named_folder(self) -> Path:
        if self.folder is None:
            raise UsageWrong(
                "no design is named: put the tests beside a device.toml, give --bulkhead-design FOLDER, set "
                "bulkhead_design in pytest's own settings, or call bulkhead.design(FOLDER)"
            )
        whole = self.folder.resolve()
        return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole

    def port(self, name: str) -> PortUnderTest:
        """An output port by its full name, ``partition.port``. Raises ``UsageWrong``."""
        return _one_of({port.name: port for port in self.outputs()}, name, "an output port")

    def outputs(self, partition: str | None = None) -> tuple[PortUnderTest, ...]:
        """The output ports of the design, or of one partition."""
        design, schemas = self.loaded, self.schemas
        return tuple(
            PortUnderTest(port.full_name, getattr(schemas, port.message), port.bytes_max)
            for port in design.ports
            if port.is_output and partition in (None, port.partition)
        )

    @property
    def attacks(self) -> tuple[str, ...]:
        """The ids of all attacks that can be tried on this device."""
        design = self.loaded
        found = attack_files.built(design.folder)
        return tuple(name for name, attack in found.items() if matrix.target_of(attack, design) is not None)

    def run(
        self, frames: int = 20, without: str | Iterable[str] = (), seed: int = 1, patient: int = 0
    ) -> Calm:
        """A run in which nobody attacks. Raises ``BenchError`` when the device does not boot."""
        plan = Plan(self._named_folder, frames, seed, patient, "virtual", _left_out(without))
        nursery = self.warm.references.nursery
        run, asked = runs.run(plan, nursery=nursery), 1
        while sightings.was_disturbed(run) and asked < ASKED_MAX:
            run, asked = runs.run(plan, nursery=nursery), asked + 1
        return Calm(run, asked)

    def inject(
        self,
        attack_id: str,
        frame: int = FRAME,
        *,
        partition: str | None = None,
        without: str | Iterable[str] = (),
        seed: int = 1,
        patient: int = 0,
        **parameters: Value,
    ) -> Result:
        """One attack on the running device. ``without`` names walls to leave out, or is ``"all"``.

        Raises ``UsageWrong`` for an attack, a partition or a parameter that there is not, and for a value beyond the
        range of its parameter.
        """
        design = self.loaded
        attack = _one_of(attack_files.built(design.folder), attack_id, "an attack")
        target = partition or matrix.target_of(attack, design)
        if target is None:
            raise UsageWrong(f"{attack_id} finds no target in {design.name}; name one with partition=")
        _one_of({one.name: one for one in design.partitions}, target, "a partition")
        known = dict.fromkeys((*attack.parameters, *(("script",) if attack is s01_script.ATTACK else ())))
        for name in parameters:
            _one_of(known, name, f"a parameter of {attack_id}")
        injection = Injection(frame, attack_id, parameters, partition=target)
        one = experiment.single(self._named_folder, injection, _left_out(without), seed=seed, patient=patient)
        return self.perform(_fitting(one, design))

    def send(
        self, partition: str, scripts: Sequence[str], frame: int = FRAME, without: str | Iterable[str] = ()
    ) -> Result:
        """What each of ``scripts`` says (``faults.attacks.s01_script``), sent by ``partition``, one script a frame."""
        design = self.loaded
        _one_of({one.name: one for one in design.partitions}, partition, "a partition")
        written = list(enumerate(map(s01_script.parse, scripts), frame))
        injections = tuple(
            Injection(at, s01_script.ATTACK.id, {"script": s01_script.told(steps)}, partition=partition)
            for at, steps in written
        )
        frames = frame + len(injections) + s01_script.ATTACK.shows_within_frames + experiment.MARGIN_FRAMES
        one = Experiment(self._named_folder, injections, frames, without=_left_out(without))
        return self.perform(_fitting(one, design))

    def replay(self, line: str) -> Result:
        """An experiment again, from its line. Raises ``LineWrong`` and ``UsageWrong``."""
        one = experiment.read(line)
        return self.perform(_fitting(one, load_design(one.design, walls.ALL)))

    def perform(self, one: Experiment) -> Result:
        """An experiment that is a value already. Raises ``BenchError`` and ``DesignError``."""
        found, asked = experiment.perform(one, self.warm.references), 1
        while _may_be_the_hosts_doing(found) and asked < ASKED_MAX:
            found, asked = experiment.perform(one, self.warm.references), asked + 1
        return Result(found, asked)


def _fitting(one: Experiment, design: Design) -> Experiment:
    """The experiment, if the verb ``replay`` would take its line, too. Raises ``UsageWrong``."""
    try:
        fitting.require_fit(one, design)
    except LineWrong as error:
        raise UsageWrong(str(error)) from None
    return one


def _may_be_the_hosts_doing(found: Finding) -> bool:
    """Whether lost windows alone can have made this of it. What was seen to get through is the attack's doing."""
    if any(effect.succeeded for effect in found.effects) or sightings.leaks(found.run):
        return False
    if sightings.was_disturbed(found.run) or sightings.was_disturbed(found.reference):
        return True
    attacks = attack_files.built(found.run.design.folder)
    loses = any(_loses_its_window(attacks[one.attack_id], one) for one in found.experiment.injections)
    return found.lost_a_window and (not loses or not any(found.activated))


def _loses_its_window(attack: Attack, injection: Injection) -> bool:
    """Whether that is what happens to the attack when it is stopped."""
    if attack is not s01_script.ATTACK:
        return attack.costs_a_restart
    steps = s01_script.parse(str(injection.parameters.get("script", "")))
    return any(step.what == "silent" or step.times > 1 for step in steps)


def _left_out(without: str | Iterable[str]) -> frozenset[str]:
    """Raises ``UsageWrong``."""
    text = without if isinstance(without, str) else ",".join(without)
    try:
        return walls.parse_without(text) if text else frozenset()
    except walls.UnknownWall as error:
        raise UsageWrong(f"without={without!r}: {error}") from None


def _one_of(known: Mapping[str, T], name: str, what: str) -> T:
    """Raises ``UsageWrong``."""
    if name not in known:
        raise UsageWrong(f"{name!r} is not {what}; there are {', '.join(known) or 'none'}")
    return known[name]
