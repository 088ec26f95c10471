"""What each verb that runs the device does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from console import as_json, failures, verdict_page
from console.failures import Refused
from console.options import frames_of, kept_in
from console.output import Output
from console.scene import STORY_RUNS, Subject
from console.views import view_for
from evidence import story as stories
from faults import catalogue
from faults.catalogue import Injection
from faults.experiment import ATTACKED
from monitor import rules
from monitor.design import Design
from monitor.loader import load_design, load_schemas
from sandbox import walls
from world.bench import Plan, load_world

#: An attack needs this long before the end of the run to show its effect.
SETTLING_MIN = 60


def story(output: Output, given: Mapping[str, Any]) -> int:
    """The main job. Raises what ``console.failures`` turns into sentences."""
    design = attackable(given)
    frames = frames_of(design, given["days"])
    minutes = design.frame_ms / 60_000
    schedule = [one for one in catalogue.default_schedule() if one.frame + SETTLING_MIN / minutes <= frames]
    if not schedule:
        raise Refused("the takeover is at 08:00, and the run ends before its effect could be seen; use --days 0.5 or more")
    return tell(output, given, design, frames, catalogue.with_spans(schedule), "story")


def attackable(given: Mapping[str, Any]) -> Design:
    """The design, if the attacks of the catalogue can be tried on it. Raises ``Refused`` and ``DesignError``."""
    design = sound_design(given["design"])
    if all(partition.name != ATTACKED for partition in design.partitions):
        raise Refused(
            f"{design.name} has no partition called {ATTACKED}, which is what the attacks take over; "
            "the verbs check and run take any design"
        )
    if not hasattr(load_world(design, given["seed"], given["patient"]), "truth"):
        raise Refused(f"the world of {design.name} tells no true glucose, so harm cannot be graded; use the verb run")
    return design


def sound_design(folder: Path) -> Design:
    """The design, if it keeps the rules. Raises ``DesignError`` and ``Refused``."""
    design = load_design(folder, walls.ALL)
    findings = rules.check(design, load_schemas(design))
    if findings:
        first = findings[0]
        raise Refused(
            f"{design.name} breaks {len(findings)} rule(s), first {first.rule}: {first.message}; {first.remedy} "
            "(the verb check shows all)"
        )
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
    plan = Plan(given["design"], frames, given["seed"], given["patient"], accept_degraded=given["degraded"])
    subject = Subject(design, plan.patient, plan.seed, frames)
    with view_for(output.console, subject, STORY_RUNS, is_quiet=output.is_quiet, is_paced=True) as view:
        found = stories.tell(plan, schedule, view.begin, keep)
    status = failures.HELD if found.held else failures.NOT_HELD
    output.show(
        verdict_page.page(
            found, output.page_width, is_ascii=output.is_ascii, has_colour=output.has_colour, keep=keep
        )
    )
    output.verdict(verdict_page.closing(found))
    output.write_json(as_json.story(found, verb, status))
    return status
