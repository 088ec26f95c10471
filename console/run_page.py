"""What ``run`` shows at the end: the figures of one run, without a judgement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from console import figures, plot
from console.scene import walls_seen
from console.screen import LOW_STYLE, WALLED_STYLE, axes, too_low
from evidence import harm
from evidence.at_end import off_at_end
from evidence.harm import HarmGrade
from faults.experiment import Run
from faults.words import counted
from ipc_schemas import codec
from monitor import journal

CURVE_HEIGHT = 10
_MODE_PORT = "therapy.status"


def page(
    run: Run, grade: HarmGrade | None, width: int, *, is_ascii: bool = False, keep: Path | None = None
) -> Group:
    """The whole page."""
    return Group(
        closing(run),
        *_what(run),
        *_patient(run, grade, width, is_ascii=is_ascii),
        Text(),
        *_machine(run),
        *_journal(run, keep),
    )


def closing(run: Run) -> Text:
    """One line: did the run reach its end, with its critical partitions up? And which others are off?"""
    problems = figures.run_problems(run)
    if problems:
        text = Text(f"NOT DONE  {'; '.join(problems)}", style="bold red")
    else:
        frames = counted(run.record.plan.frames, "frame")
        text = Text(f"DONE  {frames} in {run.record.wall_s:.1f} s", style="bold green")
    for off in off_at_end(run):
        if not off.is_critical:
            text.append(f"; {figures.off_text(off, run)}", "bold yellow")
    label = figures.degraded(run)
    return text.append(f"  {label}", "bold yellow") if label else text


def _what(run: Run) -> Iterator[Text]:
    plan, seen = run.record.plan, walls_seen(run.record.notes)
    yield Text(
        f"{run.design.name}, patient {plan.patient}, seed {plan.seed}, clock {plan.clock}; "
        f"{seen.sentence() if seen else 'the monitor did not say which walls stand'}",
        style="dim",
    )
    if run.schedule:
        ids = ", ".join(one.attack_id for one in run.schedule)
        yield Text(f"attacked with {ids}; this run is not judged: the verb attack does that", style="dim")


def _patient(run: Run, grade: HarmGrade | None, width: int, *, is_ascii: bool) -> Iterator[RenderableType]:
    truth, found = figures.truth_of(run), figures.glycaemia_of(run)
    if truth is None or found is None:
        return
    yield Text()
    curve = plot.Curve(truth.glucose_mg_dl, WALLED_STYLE, LOW_STYLE)
    yield from plot.chart([curve], axes(len(truth.glucose_mg_dl)), width, CURVE_HEIGHT, is_ascii=is_ascii)
    yield from too_low(truth)
    yield Text(
        f"glucose: {found.in_range_percent:.1f} % of time from 70 to 180 mg/dL, "
        f"{found.below_70_percent:.1f} % below 70, {found.below_54_percent:.1f} % below 54, "
        f"{found.above_180_percent:.1f} % above 180; mean {found.mean_mg_dl:.0f}, LBGI {found.lbgi:.2f}"
    )
    yield Text(
        f"insulin: {sum(truth.delivered_u):.1f} U; pump suspended by its watchdog for "
        f"{len(truth.suspended_min)} min; {counted(len(truth.alarms), 'alarm')}"
    )
    modes = therapy_modes(run.reading)
    if modes:
        shares = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in modes.items())
        yield Text(f"therapy's mode, by its own status: {shares}")
    if grade is not None:
        yield Text(
            f"harm, beside the twin that nobody attacks: {grade.severity.name}, {grade.reason}", style="bold"
        )
        yield Text(harm.LEGEND, style="dim")


def therapy_modes(reading: journal.Reading | None) -> dict[str, float]:
    """The share of therapy's status messages in each mode; empty for a design without such messages."""
    if reading is None or not isinstance(reading.entries[0], journal.Header):
        return {}
    numbers = {number for number, name in reading.entries[0].ports if name == _MODE_PORT}
    counts: dict[str, int] = {}
    for entry in reading.entries:
        for batch in entry.admitted if isinstance(entry, journal.Frame) else ():
            if batch.port in numbers:
                for mode in _modes(batch.messages):
                    counts[mode] = counts.get(mode, 0) + 1
    total = sum(counts.values())
    return {mode: count / total for mode, count in sorted(counts.items(), key=lambda item: -item[1])}


def _modes(messages: bytes) -> Iterator[str]:
    decoded = codec.decode_any(messages)
    for message in decoded if isinstance(decoded, list) else ():
        if isinstance(message, dict) and isinstance(message.get("mode"), str):
            yield "".join(c for c in message["mode"] if c.isalnum() or c == "_")[:32]


def _machine(run: Run) -> Iterator[Text]:
    counted = figures.tally(run.reading)
    yield Text(f"messages: {counted.admitted} admitted, {counted.refused} refused")
    if counted.rulings:
        yield Text("rulings: " + ", ".join(f"{event} {count}" for event, count in counted.rulings.items()))
    kills = figures.spread(run.kill_ms)
    if kills is not None:
        yield Text(
            f"kills: {figures.KILL_SPAN}, p50 {kills.p50_ms:.1f} ms, max {kills.max_ms:.1f} ms "
            f"(n = {kills.count}); {figures.KILL_LIMITS}"
        )
    again = ", ".join(f"{name} {count}" for name, count in figures.restarts(run).items())
    yield Text(f"restarts: {again}; {figures.boot_text(run)}")
    for name, late in figures.lateness_ms(run).items():
        yield Text(
            f"window lateness of {name}: p50 {late.p50_ms:.2f} ms, p99 {late.p99_ms:.2f} ms, "
            f"max {late.max_ms:.2f} ms (n = {late.count})"
        )


def _journal(run: Run, keep: Path | None) -> Iterator[Text]:
    yield Text(f"journal: chain {run.chain or '(none)'}")
    if keep is not None:
        yield Text(f"  check it: {figures.verify_command(keep / 'run.bhj', run)}")
