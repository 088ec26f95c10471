"""What ``campaign`` shows on a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console.shrink_page import one_word
from evidence.campaign.results import Result
from evidence.campaign.strata import Sampler, space
from evidence.campaign.tally import NO_ANSWER, TOLD_MAX, Cell, Tally, per_cent, told, walls_told
from evidence.outcome import Outcome
from faults.words import counted
from monitor.design import Design


def plan(sampler: Sampler, not_drawn: Sequence[str] = ()) -> Group:
    """What a campaign would try, before anything is run, and which attacks it leaves out."""
    campaign = sampler.campaign
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "parameter sets", "trials", "first line"):
        table.add_column(heading, overflow="fold")
    for place, attack_id in enumerate(campaign.attacks):
        count = len(range(place, campaign.trials, len(campaign.attacks)))
        size = f"{space(sampler.attacks[attack_id]):,}" + (", all" if sampler.enumerates(attack_id) else "")
        table.add_row(attack_id, size, f"{count:,}", sampler.trial(place).experiment.line)
    phases = ", ".join(f"{name} (frames {a}-{b})" for name, (a, b) in campaign.phases.items())
    head = f"{counted(campaign.trials, 'trial')}, seed {campaign.seed}; phases: {phases}"
    head += f"; walls: {', '.join(campaign.wall_sets)}"
    return Group(Text(head), Text(), table, *_not_drawn(not_drawn))


def _not_drawn(ids: Sequence[str]) -> Iterator[Text]:
    if ids:
        text = (
            f"not drawn: {', '.join(ids)}, on the flash of a device that is off: each has a few variants, the same in "
            "every phase and on every day (named, they are tried; the verb ablate tries them, too)"
        )
        yield Text(text, style="dim")


def page(
    found: Tally,
    design: Design,
    flaws: Sequence[str] = (),
    told_before: Collection[int] = (),
    not_drawn: Sequence[str] = (),
) -> Group:
    """Everything that was counted, and what of the design is known to have let something through.

    ``told_before`` are the numbers of the breaches that were told when they came: they are not told twice.
    """
    parts: list[RenderableType] = [
        Text(),
        Text(f"{design.name}: {told(found.walled.breaches)}", style="bold"),
    ]
    but_for = ", but for what the design itself leaves out" if design.lacking else ""
    parts.append(Text(f"{walls_told(found.standing)}{but_for}"))
    if design.label:
        parts.append(Text(design.label, style="bold yellow"))
    worst = found.walled.breaches_at_worst
    if found.walled.of(*NO_ANSWER):
        parts.append(Text(f"if every trial without an answer were a breach: {told(worst)}", style="yellow"))
    parts += [Text(), _families(found), Text(), *_phases(found), *_left_out(found), _kills(found)]
    untold = [one for one in found.breaches if one.number not in told_before]
    parts += [breach(one) for one in untold[:TOLD_MAX]]
    if len(untold) > TOLD_MAX:
        parts.append(
            Text(f"and {len(untold) - TOLD_MAX:,} more breaches; --json has them all", style="bold red")
        )
    parts += [Text(f"flaw: {one}", style="bold red") for one in flaws]
    parts += _told_one_by_one("no answer", found.without_answer)
    parts += _told_one_by_one("not counted", found.without_count)
    parts += _not_drawn(not_drawn)
    parts += [Text(), closing(found, design.label)]
    return Group(*parts)


_COLUMNS = (
    Outcome.HELD,
    Outcome.BREACH,
    Outcome.VACUOUS,
    Outcome.MASKED_BY_HOST,
    Outcome.NOT_ACTIVATED,
    Outcome.UNKNOWN,
    Outcome.NO_REPLY,
)


def _families(found: Tally) -> Table:
    """One line a family; columns of outcomes that nobody had are left out."""
    shown = [one for one in _COLUMNS if one is Outcome.HELD or found.walled.of(one)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("all walls")
    for outcome in shown:
        table.add_column(outcome.value, justify="right")
    table.add_column("breaches below", justify="right")
    table.add_column("parameter sets", justify="right")
    for one in found.families:
        bounds = one.cell.breaches
        sets = (
            f"all {one.space:,}"
            if one.is_enumerated and one.tried == one.space
            else f"{one.tried:,} of {one.space:,}"
        )
        limit = per_cent(bounds.upper) if bounds.of else "unknown"
        style = "red" if bounds.count else ""
        table.add_row(one.attack_id, *_cells(one.cell, shown), limit, sets, style=style)
    return table


def _cells(cell: Cell, shown: list[Outcome]) -> Iterator[str]:
    return (f"{cell.of(one):,}" if cell.of(one) else "·" for one in shown)


def _phases(found: Tally) -> Iterator[Text]:
    for name, cell in found.by_phase.items():
        yield Text(f"{name}: {told(cell.breaches)}")


def _left_out(found: Tally) -> Iterator[Text]:
    """Walls that were left out: how often something got through. Not part of the claim."""
    for name, cell in found.by_walls.items():
        through = cell.of(Outcome.BREACH)
        yield Text(f"{name}: {through:,} of {counted(cell.trials, 'trial')} got through")


def _kills(found: Tally) -> Text:
    kills = found.kills
    if not kills.count:
        return Text("no partition was killed, so there is no latency to tell")
    told_ms = [
        f"{word} {value:.1f} ms" if value is not None else f"{word} unknown"
        for word, value in (("p50", kills.quantile_ms(0.5)), ("p99", kills.quantile_ms(0.99)))
    ]
    rest = f", {kills.censored:,} more without an answer count as longer" if kills.censored else ""
    return Text(
        f"{counted(kills.count, 'kill')}, violation to last process gone: {', '.join(told_ms)}, "
        f"max {kills.times_ms[-1]:.1f} ms{rest}"
    )


def breach(result: Result) -> Text:
    """A breach: what got through, and how to see it again."""
    return Text.assemble(
        (f"BREACH {result.attack_id} ", "bold red"),
        f"{result.reason}\n       replay, or shrink, {one_word(result.line)}",
        no_wrap=True,
        overflow="ignore",
    )


def _told_one_by_one(what: str, some: tuple[Result, ...]) -> Iterator[Text]:
    for one in some[:TOLD_MAX]:
        yield Text(
            f"{what}: {one.outcome} {one.attack_id}: {one.reason}\n       replay {one_word(one.line)}",
            style="yellow",
            no_wrap=True,
            overflow="ignore",
        )
    if len(some) > TOLD_MAX:
        yield Text(f"and {len(some) - TOLD_MAX:,} more; --json has them all", style="yellow")


def closing(found: Tally, label: str = "") -> Text:
    """The one line that even quiet prints. ``label`` is that of a design that admits a flaw."""
    degraded = f"  {label}" if label else ""
    if found.problems:
        return Text(f"NOT HELD  {'; '.join(found.problems)}{degraded}", style="bold red")
    return Text(f"HELD  {told(found.walled.breaches)}{degraded}", style="bold green")
