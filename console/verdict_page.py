"""The verdict page of the main job: what held, what did not, and what that does not show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from console import figures, plot
from console.scene import walls_seen
from console.screen import LOW_STYLE, OPEN_STYLE, WALLED_STYLE, axes, too_low
from console.telling import clock_text
from evidence import harm
from evidence.command import command
from evidence.harm import HarmGrade, Severity
from evidence.outcome import Outcome
from evidence.story import Story, Trial
from faults import attack_files, catalogue
from faults.experiment import Run
from faults.words import counted

CURVE_HEIGHT = 11
LIMITS = (
    (
        "Linux walls are not a hypervisor: the partitions share a kernel, caches and memory buses, and one "
        "flaw of that kernel breaches them all. What held, held in this emulation, on this host, for these "
        "attacks."
    ),
    (
        "The virtual clock hides timing between partitions by construction; the patient is a model, the "
        "attacks are a sample. The real clock (run --clock real) and hardware show what this cannot."
    ),
)


def page(
    story: Story, width: int, *, is_ascii: bool = False, has_colour: bool = True, keep: Path | None = None
) -> Group:
    """The whole page, ``width`` characters wide."""
    return Group(
        *_headline(story),
        Text(),
        *_runs(story, width, is_ascii=is_ascii, has_colour=has_colour),
        *_bytes(story),
        Text(),
        Rule("what was tried, what stopped it; open: what it did without walls", align="left", style="dim"),
        trials_table(story),
        *_left_out(story),
        Text(),
        *_costs(story, keep),
        Text(),
        Rule("what this does not show", align="left", style="dim"),
        *[Text(f"- {line}", style="dim") for line in LIMITS],
        Text(),
        closing(story),
    )


def closing(story: Story) -> Text:
    """One line: the verdict, for those who read the end only."""
    held = sum(trial.outcome is Outcome.HELD for trial in story.trials)
    text = _word(story)
    label = figures.degraded(story.attacked)
    if label:
        text.append(f"  {label}", "bold yellow")
    text.append(f"  {held} of {len(story.trials)} attacks held; therapy's output ", "default")
    text.append(_bytes_sentence(story), "default")
    return text


def _word(story: Story) -> Text:
    """HELD; NOT HELD when something was seen to give way; INCONCLUSIVE when it could not be judged."""
    if story.held:
        return Text("HELD", style="bold green")
    return Text("NOT HELD" if story.gave_way else "INCONCLUSIVE", style="bold red")


def in_one_line(story: Story) -> Text:
    """``closing``, and the first reason if it did not hold."""
    text = closing(story)
    return text.append(f"; {story.problems[0]}") if story.problems else text


def _headline(story: Story) -> Iterator[Text]:
    yield closing(story)
    seen = walls_seen(story.attacked.record.notes)
    plan = story.attacked.record.plan
    yield Text(
        f"{story.attacked.design.name}, patient {plan.patient}, seed {plan.seed}, {counted(plan.frames, 'frame')}; "
        f"{seen.sentence() if seen else 'the monitor did not say which walls stand'}",
        style="dim",
    )
    for problem in story.problems:
        yield Text(f"  x {problem}", style="red")


# --- the runs side by side ---


def _runs(story: Story, width: int, *, is_ascii: bool, has_colour: bool) -> Iterator[RenderableType]:
    yield Rule("the patient", align="left", style="dim")
    yield from _curves(story, width, is_ascii=is_ascii, has_colour=has_colour)
    yield Text()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("run", no_wrap=True)
    for name in ("70-180", "<70", "<54", ">180", "mean", "LBGI"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("harm", no_wrap=True)
    for name, run, grade in (
        ("attacked, walls up", story.attacked, story.harm_attacked),
        ("replayed", story.replayed, None),
        ("calm (the twin)", story.calm, None),
        ("attacked, no walls", story.open, story.harm_open),
    ):
        table.add_row(name, *_figures(run), _grade(grade))
    yield table
    for name, grade in (("behind the walls", story.harm_attacked), ("without walls", story.harm_open)):
        yield Text(f"harm {name}: ", style="dim").append_text(_grade(grade)).append(f", {grade.reason}")
    yield Text(harm.LEGEND, style="dim")


def _figures(run: Run) -> tuple[str, ...]:
    found = figures.glycaemia_of(run)
    if found is None:
        return ("-",) * 6
    shares = (found.in_range_percent, found.below_70_percent, found.below_54_percent, found.above_180_percent)
    return (*(f"{share:.1f} %" for share in shares), f"{found.mean_mg_dl:.0f}", f"{found.lbgi:.2f}")


def _grade(grade: HarmGrade | None) -> Text:
    if grade is None:
        return Text("")
    return Text(grade.severity.name, style="green" if grade.severity is Severity.S0 else LOW_STYLE)


def _curves(story: Story, width: int, *, is_ascii: bool, has_colour: bool) -> Iterator[RenderableType]:
    """Both glucose curves: over each other where colour tells them apart, else side by side."""
    walled, opened = figures.truth_of(story.attacked), figures.truth_of(story.open)
    if walled is None or opened is None:
        return
    span = axes(max(len(walled.glucose_mg_dl), len(opened.glucose_mg_dl), 1))
    under = plot.Curve(walled.glucose_mg_dl, WALLED_STYLE)
    over = plot.Curve(opened.glucose_mg_dl, OPEN_STYLE, LOW_STYLE)
    if has_colour:
        legend = Text("     true glucose in mg/dL: ", style="dim")
        legend.append("behind the walls", WALLED_STYLE).append(" and ", "dim").append(
            "without walls", OPEN_STYLE
        )
        yield legend
        yield from plot.chart([over, under], span, width, CURVE_HEIGHT, is_ascii=is_ascii)
        yield from too_low(opened)
        return
    half = (width - 2) // 2
    left = plot.chart([under], span, half, CURVE_HEIGHT, is_ascii=is_ascii)
    right = plot.chart([over], span, half, CURVE_HEIGHT, is_ascii=is_ascii)
    yield Text(f"{'     mg/dL, attacked behind the walls':<{half + 2}}     mg/dL, attacked without walls")
    for one, other in zip(left, right, strict=True):
        one.pad_right(max(half + 2 - len(one), 0))
        yield one + other
    yield from too_low(opened)


# --- therapy's bytes, the trials, the costs ---


def _bytes(story: Story) -> Iterator[Text]:
    yield Text()
    text = Text("therapy's output ", style="bold")
    text.append(_bytes_sentence(story), "green" if story.comparison.holds else "bold red")
    text.append(
        " (noninterference: attacked against replayed, where nobody attacks and a player sends ", "dim"
    )
    text.append("exactly what the gates had let through)", "dim")
    yield text
    if story.open_comparison.difference is not None:
        yield Text(f"without walls it differed first in {story.open_comparison.difference}", style="dim")


def _bytes_sentence(story: Story) -> str:
    comparison = story.comparison
    if comparison.is_vacuous:
        return "is empty: nothing was compared"
    if comparison.difference is not None:
        return f"differs first in {comparison.difference}"
    return f"is the same in {counted(comparison.messages, 'message')}, byte for byte"


_OUTCOME_STYLES = {Outcome.HELD: "bold green", Outcome.BREACH: "bold red"}


def trials_table(story: Story) -> Table:
    """One row for each trial: when, which, outcome, what it tried, who stopped it, what it did open."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("at", no_wrap=True, style="dim", vertical="top")
    table.add_column("id", no_wrap=True, style="bold")
    table.add_column("outcome", no_wrap=True)
    table.add_column("what", overflow="fold")
    for trial in story.trials:
        outcome = Text(trial.outcome.value, style=_OUTCOME_STYLES.get(trial.outcome, "bold yellow"))
        at = clock_text(trial.injection.frame, story.attacked.design.frame_ms)
        table.add_row(at, trial.row.id, outcome, _trial_text(trial))
    return table


def _trial_text(trial: Trial) -> Text:
    text = Text(trial.row.plain or trial.row.attempt)
    if trial.outcome is not Outcome.HELD:
        text.append(f"\n{trial.sentence}", _OUTCOME_STYLES.get(trial.outcome, "yellow"))
    expected = f"; expected: {trial.row.expected}" if trial.row.expected else ""
    nowhere = f" {trial.undelivered[:1].upper()}{trial.undelivered[1:]}." if trial.undelivered else ""
    return text.append(
        f"\n{trial.stopping.text}{expected}; open: {trial.open_effect.sentence}{nowhere}", "dim"
    )


def _left_out(story: Story) -> Iterator[Text]:
    """Of the whole day: what else can be run, and why it is not part of it."""
    if story.needs_harm:
        attacks = attack_files.built()
        can_run = [name for name, attack in attacks.items() if attack.tamper is None]
        rest = [attack_id for attack_id in can_run if attack_id not in catalogue.DEMO_ORDER]
        if rest:
            text = (
                f"{len(can_run)} attacks can be run; the day is a fixed choice of {len(catalogue.DEMO_ORDER)}, spaced "
                f"so that each has its turn. Not in it: {', '.join(rest)} ({command()} attack {' '.join(rest)}). "
                f"{len(attacks) - len(can_run)} more strike the flash of a device that is off "
                f"({command()} boot --attack B01)"
            )
            yield Text(text, style="dim")


def _costs(story: Story, keep: Path | None) -> Iterator[RenderableType]:
    run = story.attacked
    kills, launches = figures.spread(run.kill_ms), figures.spread(figures.launches_ms(run))
    yield Rule("what it cost, and how to check it", align="left", style="dim")
    if kills is None:
        yield Text("kills: none was needed")
    else:
        yield Text(
            f"kills: {figures.KILL_SPAN}, p50 {kills.p50_ms:.1f} ms, max {kills.max_ms:.1f} ms "
            f"(n = {kills.count}); {figures.KILL_LIMITS}"
        )
    counts = ", ".join(f"{name} {count}" for name, count in figures.restarts(run).items())
    again = (
        f", each back after p50 {launches.p50_ms:.0f} ms, max {launches.max_ms:.0f} ms" if launches else ""
    )
    yield Text(f"restarts: {counts}{again}")
    walls_s = " + ".join(f"{one.record.wall_s:.1f}" for one in (run, story.replayed, story.calm, story.open))
    yield Text(f"time: {walls_s} s for the four runs; {figures.boot_text(run)}")
    yield Text(f"journal of the attacked run: chain {run.chain or '(none)'}")
    if keep is not None:
        yield Text(f"  check it: {figures.verify_command(keep / 'attacked.bhj', run)}")
    else:
        yield Text("  keep the journals with --keep FOLDER, then check them with journal verify", style="dim")
