"""What each verb that runs the device does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from console import (
    VERSION,
    as_json,
    catalogue_page,
    design_code,
    design_page,
    failures,
    figures,
    image_probe,
    journal_page,
    passport_page,
    run_page,
    verdict_page,
)
from console.failures import Refused
from console.options import DEFAULT_DESIGN, frames_of, kept_in, schedule_of
from console.output import Output
from console.scene import STORY_RUNS, Subject
from console.views import view_for
from evidence import harm
from evidence import story as stories
from evidence.attesting import Attester
from faults import attack_files, catalogue, experiment
from faults.attack import ATTACKED, Injection
from faults.catalogue import UnknownAttack
from faults.words import counted, some_of
from monitor import journal, rules
from monitor.design import Design
from monitor.loader import load_design, load_schemas
from monitor.schedule import ClockRefused, parse_clock
from monitor.schedule import plan as timetable
from sandbox import walls
from world import devices
from world.bench import Plan
from world.factory.publication import is_at_home, of_device
from world.making import load_world

#: What one run by itself is called.
SINGLE_RUN = "run"
TWIN_RUN = "twin"
#: An attack needs this long before the end of the run to show its effect.
SETTLING_MIN = 60


def story(output: Output, given: Mapping[str, Any]) -> int:
    """The main job. Raises what ``console.failures`` turns into sentences."""
    design = attackable(given)
    frames = frames_of(design, given["days"])
    minutes = design.frame_ms / 60_000
    whole_day = catalogue.default_schedule()
    schedule = [one for one in whole_day if one.frame + SETTLING_MIN / minutes <= frames]
    if not schedule:
        raise Refused(
            "the takeover is at 08:00, and the run ends before it could show; use --days 0.5 or more"
        )
    left_out = len(whole_day) - len(schedule)
    if left_out:
        word = "attack does" if left_out == 1 else "attacks do"
        output.show(Text(f"{left_out} of the {len(whole_day)} {word} not fit into this run and are left out"))
    return tell(output, given, design, frames, catalogue.with_spans(schedule), "story")


def wanted(asked: Sequence[str], known: Iterable[str]) -> tuple[str, ...]:
    """The ids of the attacks that were asked for, each once; all that there are, when none was.

    Raises ``UnknownAttack``.
    """
    known = tuple(known)
    named = tuple(dict.fromkeys(name.upper() for name in asked)) or known
    for name in named:
        if name not in known:
            raise UnknownAttack(
                f"no attack {name} can be run; there are {some_of(known)} (the verb attack lists all)"
            )
    return named


def require_outside(option: str, path: Path, design: Design) -> None:
    """See that results are kept outside the design's folder, whose digest they would change. Raises ``Refused``."""
    if path.resolve().is_relative_to(design.folder.resolve()):
        raise Refused(
            f"{option} {path}: it lies in the design's own folder, whose files are part of what is tested; "
            "name a place outside"
        )


def attackable(given: Mapping[str, Any]) -> Design:
    """The design, if the attacks of the catalogue can be tried on it.

    Raises ``Refused`` and ``DesignError``.
    """
    design = sound_design(given["design"], given["seed"], given["patient"])
    if all(partition.name != ATTACKED for partition in design.partitions):
        raise Refused(
            f"{design.name} has no partition called {ATTACKED}, which is what the attacks take over; "
            "the verbs check and run take any design"
        )
    _require_truth(design, given, "use the verb run without --attack")
    return design


def gradable(given: Mapping[str, Any]) -> Design:
    """The design, if harm can be graded in its world. Raises ``Refused`` and ``DesignError``."""
    design = sound_design(given["design"], given["seed"], given["patient"])
    _require_truth(design, given, "leave out --twin")
    return design


def _require_truth(design: Design, given: Mapping[str, Any], remedy: str) -> None:
    if not hasattr(load_world(design, given["seed"], given["patient"]), "truth"):
        raise Refused(f"the world of {design.name} tells no true glucose, so harm cannot be graded; {remedy}")


def sound_design(folder: Path, seed: int = 1, patient: int = 0) -> Design:
    """The design, if it breaks no rule that it does not say it breaks, and its world can be made.

    Raises ``DesignError`` and ``Refused``.
    """
    design = load_design(folder, walls.ALL)
    design_code.require_sound_schemas(design, folder)
    found = rules.check(design, load_schemas(design))
    findings = rules.unaccepted(design, found)
    if findings:
        first = findings[0]
        raise Refused(
            f"{design.name} breaks {counted(len(findings), 'rule')}, first {first.rule}: {first.message}; "
            f"{first.remedy} (the verb check shows all)"
        )
    kept = sorted(design.accepts - {finding.rule for finding in found})
    if kept:
        raise Refused(
            f"[device] accepts holds {kept[0]}, which is no rule that the design breaks; take it out"
        )
    design_code.require_sound_world(design, folder, seed, patient)
    return design


def tell(
    output: Output,
    given: Mapping[str, Any],
    design: Design,
    frames: int,
    schedule: Sequence[Injection],
    verb: str,
) -> int:
    """Four runs of one day, watched and judged."""
    keep = kept_in(given["keep"], stories.RUNS)
    output.show(opening(design, passport_page.stamps(design, frozenset())))
    plan = Plan(given["design"], frames, given["seed"], given["patient"], accept_degraded=given["degraded"])
    subject = subject_of(design, plan, schedule)
    with view_for(output.console, subject, STORY_RUNS, is_quiet=output.is_quiet, is_paced=True) as view:
        found = stories.tell(plan, schedule, view.begin, keep, needs_harm=verb == "story")
    status = failures.HELD if found.held else failures.NOT_HELD
    output.show(
        verdict_page.page(
            found, output.page_width, is_ascii=output.is_ascii, has_colour=output.has_colour, keep=keep
        )
    )
    output.verdict(verdict_page.in_one_line(found))
    output.write_json(as_json.story(found, verb, status))
    return status


def opening(design: Design, stamps: Sequence[passport_page.Stamp]) -> Group:
    """Before anything is switched on: the design is sound, and this is what the host enforces."""
    name = Text(f"Bulkhead {VERSION}  ", style="bold")
    return Group(
        name.append_text(design_page.closing(design, design_page.Checked())),
        passport_page.summary(stamps),
        Text(),
    )


def attack(output: Output, given: Mapping[str, Any]) -> int:
    """Named attacks, judged; without names the catalogue."""
    if not given["attacks"]:
        output.show(catalogue_page.page())
        output.verdict(catalogue_page.closing())
        output.write_json(as_json.catalogue_object())
        return failures.HELD
    design = attackable(given)
    frames = frames_of(design, given["days"])
    schedule = schedule_of(given["attacks"], design, frames)
    return tell(output, given, design, frames, schedule, "attack")


def _to_run(given: Mapping[str, Any]) -> Design:
    """The design, if what is asked for can be done with it. Raises ``DesignError`` and ``Refused``."""
    if given["attack"]:
        design = attackable(given)
    elif given["twin"]:
        design = gradable(given)
    else:
        design = sound_design(given["design"], given["seed"], given["patient"])
    try:
        timetable(design, parse_clock(given["clock"]))
    except ClockRefused as error:  # the monitor would say so too, but after the first lines of the run
        raise Refused(str(error)) from None
    return design


def verifier_of(given: Mapping[str, Any]) -> Attester | None:
    """Who challenges the device: somebody who knows its factory, or the session's; nobody if it lies elsewhere."""
    folder = given["device"]
    if folder is None:
        return Attester(given["without"])
    return Attester(given["without"], lambda: of_device(folder)) if is_at_home(folder) else None


def device_of(given: Mapping[str, Any], design: Design) -> devices.Device | None:
    """The device of ``--device``, if one was named. Raises ``Refused`` and ``packing.ImageError``."""
    if given["device"] is None:
        return None
    if given.get("attack"):
        raise Refused(
            f"--device {given['device']}: an attack brings an image of its own, and this device runs what was signed "
            "into its flash; leave out one of the two"
        )
    return devices.found_in(given["device"], design)


def run(output: Output, given: Mapping[str, Any]) -> int:
    """One run, attacked or not; with ``twin`` a second one, calm, against which harm is graded."""
    design = _to_run(given)
    frames = frames_of(design, given["days"])
    schedule = schedule_of(given["attack"], design, frames)
    keep = kept_in(given["keep"], (SINGLE_RUN,))
    made = device_of(given, design)
    plan = Plan(
        given["design"],
        frames,
        given["seed"],
        given["patient"],
        given["clock"],
        given["without"],
        accept_degraded=given["degraded"],
        device=made,
        verifier=verifier_of(given),
    )
    runs = {SINGLE_RUN: (_title(plan, schedule), 0.7 if given["twin"] else 1.0)}
    if given["twin"]:
        runs[TWIN_RUN] = ("the twin: the same patient and day, nobody attacks", 0.3)
    subject = subject_of(design, plan, schedule)
    warn_of_images(output, design, given["design"])
    grade = None
    with view_for(output.console, subject, runs, is_quiet=output.is_quiet) as view:
        ears = view.begin(SINGLE_RUN, 1, len(runs))
        found = experiment.run(plan, schedule, ears, keep / f"{SINGLE_RUN}.bhj" if keep else None)
        if given["twin"]:
            calm = replace(plan, clock="virtual", without=frozenset(), verifier=Attester())
            twin = experiment.run(calm, (), view.begin(TWIN_RUN, 2, len(runs)))
            onset_min = min((one.frame for one in schedule), default=0) * design.frame_ms // 60_000
            grade = harm.grade(found.world.truth(), twin.world.truth(), onset_min)
    status = failures.NOT_HELD if figures.run_problems(found) else failures.HELD
    output.show(run_page.page(found, grade, output.page_width, is_ascii=output.is_ascii, keep=keep))
    output.verdict(run_page.closing(found))
    output.write_json(as_json.run(found, grade, status))
    return status


def subject_of(design: Design, plan: Plan, schedule: Sequence[Injection]) -> Subject:
    """What a view is told of a run before it begins."""
    attacks = attack_files.built(design.folder)
    inside = frozenset(one.frame for one in schedule if attacks[one.attack_id].inject is not None)
    return Subject(design, plan.patient, plan.seed, plan.frames, len(schedule), inside, plan.clock)


def warn_of_images(output: Output, design: Design, folder: Path) -> None:
    """Say before the run which partition's code will not load. The reference device's own is tested: it costs half a
    second.
    """
    if folder.resolve() == DEFAULT_DESIGN:
        return
    for image in image_probe.check_images(design):
        if image.fails:
            line = (
                f"{image.partition} will not run: {image.problem}; {image.remedy} (the verb check shows all)"
            )
            output.show(Text(line, style="bold yellow"))


def _title(plan: Plan, schedule: Sequence[Injection]) -> str:
    who = f"attacked with {', '.join(one.attack_id for one in schedule)}" if schedule else "nobody attacks"
    return f"{who}, clock {plan.clock}"


def check(output: Output, given: Mapping[str, Any]) -> int:
    """The design's rules, its world and the code of its partitions, each with pass or fail."""
    design = load_design(given["design"], walls.ALL)
    design_code.require_sound_schemas(design, given["design"])
    findings = rules.check(design, load_schemas(design))
    world_problem = design_code.problem_of_world(design, given["design"], given["seed"])
    images = image_probe.check_images(design)
    checked = design_page.Checked(findings, images, world_problem)
    status = failures.HELD if checked.is_sound else failures.NOT_HELD
    output.show(design_page.page(design, checked, output.page_width, is_ascii=output.is_ascii))
    output.verdict(design_page.closing(design, checked))
    output.write_json(as_json.check(design, checked, status))
    return status


def passport(output: Output, given: Mapping[str, Any]) -> int:
    """What this host enforces; status 1 when it lacks what the design requires."""
    design = load_design(given["design"], walls.ALL)
    stamps = passport_page.stamps(design, given["without"])
    status = failures.NOT_HELD if passport_page.lacking(stamps) else failures.HELD
    output.show(passport_page.page(stamps))
    output.verdict(passport_page.sentence(stamps))
    output.write_json(as_json.passport(stamps, status))
    return status


def journal_verify(output: Output, given: Mapping[str, Any]) -> int:
    """Status 1 when the chain does not hold, is another than expected, or when the end is missing: what was cut off
    may have mattered. Raises ``Refused`` where there is no journal.
    """
    path: Path = given["file"]
    expected: str | None = given["expect"]
    try:
        reading = journal_page.read(path)
    except journal.JournalBroken as broken:
        line = Text(f"BROKEN  {journal_page.sanitised(str(broken))}", style="bold red")
        output.show(line)
        output.verdict(line)
        output.write_json(as_json.journal_verify(path, None, str(broken), expected, failures.NOT_HELD))
        return failures.NOT_HELD
    is_other = expected is not None and not reading.chain.startswith(expected)
    line = journal_page.verdict(path, reading)
    anchor = journal_page.anchor(reading, expected)
    output.show(Group(line, Text(f"chain {reading.chain}"), anchor))
    output.verdict(anchor if is_other else line)
    is_whole = reading.is_complete and not reading.torn_bytes
    status = failures.HELD if is_whole and not is_other else failures.NOT_HELD
    problem = anchor.plain if is_other else ""
    output.write_json(as_json.journal_verify(path, reading, problem, expected, status))
    return status


def journal_show(output: Output, given: Mapping[str, Any]) -> int:
    """The journal's entries, decoded; of a damaged one those that hold, and then where it breaks (status 1)."""
    path: Path = given["file"]
    reading, problem = journal_page.readable(path)
    wanted = journal_page.filter_of(given["frames"], given["partition"], given["port"], reading)
    shown = list(journal_page.entries(reading, wanted))
    if not output.is_quiet:
        for entry in shown:
            output.console.print(journal_page.row(entry), soft_wrap=True)
        if not shown:
            output.console.print(journal_page.nothing(reading, given["frames"]), soft_wrap=True)
        if problem is not None:
            output.console.print(problem, soft_wrap=True)
    output.verdict(
        problem if problem is not None else Text("1 entry" if len(shown) == 1 else f"{len(shown)} entries")
    )
    status = failures.HELD if problem is None else failures.NOT_HELD
    words = problem.plain if problem is not None else ""
    output.write_json(as_json.journal_show(path, reading, words, shown, status))
    return status
