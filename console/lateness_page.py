"""What ``lateness`` shows: each attack beside the same device unattacked, in milliseconds and as a ratio."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.rule import Rule as Line
from rich.table import Table
from rich.text import Text

from evidence.lateness import AIM_PERCENT, AIM_RATIO_MAX, PERCENTS, Judgement, Pair, Percentile, Sample
from evidence.lateness_runs import KINDS, RT, Measured

_STYLES = {Judgement.MET: "bold green", Judgement.NOT_MET: "bold red"}
_TITLES = {
    "none": "no priority: all processes are ordinary ones",
    RT: "priority rt: what is critical comes first",
}


def page(found: Measured) -> Group:
    """What was run, a table for each priority, and what follows."""
    return Group(
        Line("what was run", align="left", style="dim"), *_run(found), *_tables(found), closing(found)
    )


def _run(found: Measured) -> Iterator[Text]:
    design = found.design
    windows = ", ".join(f"{w.partition} {w.budget_ms} ms" for w in design.windows)
    yield Text(
        f"{design.name} on the real clock, {found.walls_standing} walls up: a frame every {design.frame_ms} ms "
        f"(windows: {windows}), {found.rounds} pairs of runs of {found.frames} frames for each attack, in turn."
    )
    yield Text(
        f"{found.attacker} is taken over and strikes in each window it gets; late windows cost it no life here. "
        f"Lateness is that of {found.partition}'s windows."
    )
    yield Text(
        f"load average {found.loads[0]:.1f} before and {found.loads[1]:.1f} after, on "
        f"{len(os.sched_getaffinity(0))} processors; a quiet host has less than its own runs cause",
        style="dim",
    )
    if found.granted is not None:
        yield from granted_lines(found.granted)
    yield Text()


def granted_lines(granted: dict[str, object]) -> Iterator[Text]:
    """What the host gave of the priority asked for, in the passport's words."""
    for key, name in (("cpus", "processors of its own"), ("rt", "real-time priority")):
        line = Text(f"{name}: ").append(
            str(granted[key]), "green" if granted[key] == "enforced" else "yellow"
        )
        if granted[key] != "enforced":
            line.append(f" ({granted[f'{key}_reason']}); {granted[f'{key}_remedy']}")
        elif key == "cpus":
            line.append(f" ({_cpus(granted, 'critical_cpus')} for what is critical, ")
            line.append(f"{_cpus(granted, 'other_cpus')} for the rest of the device)")
        yield line


def _cpus(granted: dict[str, object], key: str) -> str:
    listed = granted[key]
    return ", ".join(listed) if isinstance(listed, list) else ""


def _tables(found: Measured) -> Iterator[RenderableType]:
    for priority, pairs in found.pairs.items():
        yield Line(_TITLES[priority], align="left", style="dim")
        yield _table(pairs)
        for pair in pairs:
            yield from (Text(f"{pair.kind}: {problem}", style="yellow") for problem in pair.problems)
        yield Text()
    yield Text(
        f"Milliseconds from a window's time to its opening. The aim: p{AIM_PERCENT:g} at most {AIM_RATIO_MAX:g} times "
        "the unattacked device's, and no deadline missed under attack. A ratio lies between its bounds with 95 % "
        "confidence, if windows were independent; ? where too few were measured to say.",
        style="dim",
    )


def _table(pairs: list[Pair]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("attack", "", "p50", "p99", "p99.9", "max", "windows", "missed", "struck", "aim"):
        table.add_column(heading, justify="left" if heading in ("attack", "", "aim") else "right")
    for pair in pairs:
        attack = f"{pair.kind} {KINDS[pair.kind].attack_id}"
        aim = Text(pair.judgement.value, _STYLES.get(pair.judgement, "bold yellow"))
        struck = f"{pair.struck}/{pair.of_frames}"
        table.add_row(attack, "attacked", *_cells(pair.attacked), struck, aim)
        table.add_row("", "unattacked", *_cells(pair.alone), "", "")
        ratios = [pair.ratio(percent) for percent in PERCENTS]
        table.add_row("", "ratio", *("too few" if r.value is None else f"{r.value:.1f}x" for r in ratios))
        table.add_row("", "between", *map(_bounds, ratios))
    return table


def _cells(sample: Sample) -> list[str]:
    values = [sample.at(percent).value for percent in PERCENTS]
    return [
        *("unknown" if value is None else ms(value) for value in values),
        "unknown" if sample.max_ms is None else ms(sample.max_ms),
        f"{len(sample.lateness_ms)}",
        f"{sample.missed}",
    ]


def _bounds(ratio: Percentile) -> str:
    low, high = ("?" if end is None else f"{end:.1f}" for end in (ratio.low, ratio.high))
    return "" if ratio.value is None else f"{low}..{high}"


def ms(value: float) -> str:
    """Milliseconds with digits that mean something."""
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def closing(found: Measured) -> Text:
    """One line: how many attacks met the aim, with the priority that counts."""
    met = sum(pair.judgement is Judgement.MET for pair in found.judged)
    others = [f"{p.kind}: {p.judgement.value}" for p in found.judged if p.judgement is not Judgement.MET]
    text = f"{met} of {len(found.judged)} attacks met the aim with priority {found.judged_priority}"
    if found.granted is not None and "enforced" not in (found.granted["cpus"], found.granted["rt"]):
        text += ", of which this host grants nothing"
    return Text(
        text + (f" ({', '.join(others)})" if others else ""), "bold green" if not others else "bold yellow"
    )


def progress(done: int, total: int, what: str, left_s: float) -> Text:
    """One line while it goes on."""
    left = f", about {left_s:.0f} s left" if done < total else ""
    return Text(f"{done} of {total} runs{left}  {what}", style="dim")
