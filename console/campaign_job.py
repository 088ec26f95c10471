"""The verb ``campaign``: hand out the trials, keep the results, count them, show them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from console import campaign_page, failures, jobs
from console.ablation_job import as_named
from console.as_json import head
from console.failures import Refused
from console.output import Output
from evidence import flaws, matrix
from evidence.campaign import hands, html, remote, strata
from evidence.campaign.results import Result
from evidence.campaign.store import Identity, Store, write_parquet
from evidence.campaign.strata import WALL_SETS, Campaign, Sampler
from evidence.campaign.tally import TOLD_MAX, Tally, tally
from evidence.outcome import Outcome
from evidence.workers import Summary, Worker
from monitor.design import Design
from sandbox import walls
from world.making import load_world

#: In a pipe, a line of progress comes at most this often.
TOLD_EVERY_S = 20.0
#: Breaches of each attack that are asked what let them through.
FLAWS_OF_EACH = 3
DATA, TABLE, PAGE = "campaign.sqlite", "trials.parquet", "campaign.html"


def campaign(output: Output, given: Mapping[str, Any]) -> int:
    """Status 0 only if every trial behind all walls has an answer and none is a breach."""
    design = jobs.sound_design(given["design"])
    sampler = planned(design, given)
    if given["plan"]:
        output.show(campaign_page.plan(sampler, not_drawn(design, given)))
        return failures.HELD
    with _folder(given["keep"], design) as folder:
        told: set[int] = set()
        found = _performed(output, given, design, sampler, folder, told)
        named = _flaws(found, design)
        if given["keep"] is not None:
            (folder / PAGE).write_text(html.page(found, design, named), encoding="utf-8")
            output.show(f"kept in {given['keep']}: {DATA}, {TABLE}, {PAGE}")
    output.show(campaign_page.page(found, design, named, told, not_drawn(design, given)))
    output.verdict(campaign_page.closing(found, design.label))
    status = failures.NOT_HELD if found.problems else failures.HELD
    output.write_json(as_json(found, design, named, status))
    return status


def planned(design: Design, given: Mapping[str, Any]) -> Sampler:
    """The campaign that the options ask for. Raises ``UnknownAttack`` and ``Refused``."""
    attacks = matrix.built_for(design)
    on_flash = {name for name, attack in attacks.items() if attack.tamper is not None}
    # An attack on the flash has so many variants and no more; a bound over repeats of them would bound nothing.
    known = attacks if given["attacks"] else [name for name in attacks if name not in on_flash]
    wanted = jobs.wanted(given["attacks"], known)
    if not wanted:
        raise Refused(
            f"{design.name} has no attack that can be tried on it; see the README on attacks of one's own"
        )
    world = load_world(design, 1, 0)
    one = Campaign(
        str(as_named(given["design"])),
        given["seed"],
        given["trials"],
        wanted,
        {name: matrix.targets_of(attacks[name], design) for name in wanted},
        strata.phases_of(world),
        tuple(name for name in WALL_SETS if name in given["walls"]) or WALL_SETS[:1],
    )
    if one.trials < len(wanted) * len(one.wall_sets):
        raise Refused(
            f"--trials {one.trials}: there are {len(wanted)} attacks and {len(one.wall_sets)} sets of walls; "
            f"ask for {len(wanted) * len(one.wall_sets)} or more, or name fewer attacks"
        )
    sampler = Sampler(one, attacks)
    if sampler.trials_max is not None and one.trials > sampler.trials_max:
        names = [name for name in wanted if name in on_flash]
        raise Refused(
            f"--trials {one.trials}: {', '.join(names)} {'strikes' if len(names) == 1 else 'strike'} the flash of a "
            "device that is off, the same in every phase and on every day; more would repeat some, so ask for "
            f"{sampler.trials_max} or less"
        )
    return sampler


def not_drawn(design: Design, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Attacks that a campaign does not try unless they are named: those on the flash."""
    if given["attacks"]:
        return ()
    return tuple(name for name, attack in matrix.built_for(design).items() if attack.tamper is not None)


@contextmanager
def _folder(keep: Path | None, design: Design) -> Iterator[Path]:
    if keep is None:
        with TemporaryDirectory(prefix="bulkhead-campaign-") as name:
            yield Path(name)
        return
    jobs.require_outside("--keep", keep, design)
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"--keep {keep}: {error.strerror}; name a folder that can be written") from None
    yield keep


def _performed(
    output: Output, given: Mapping[str, Any], design: Design, sampler: Sampler, folder: Path, told: set[int]
) -> Tally:
    """Try what has no result yet, and count all. ``told`` gets the numbers of the breaches told meanwhile."""
    mine = remote.this_host(design)
    identity = Identity(sampler.campaign, mine.design, mine.code, mine.available)
    with Store(folder / DATA, identity) as store:
        done = store.done()
        missing = [number for number in range(sampler.campaign.trials) if number not in done]
        if done:
            output.show(f"{len(done):,} of {sampler.campaign.trials:,} trials are there already")
        if missing:
            unavailable = sorted(walls.ALL - set(mine.available))
            asked = given["workers"] or os.cpu_count() or 1
            with (
                hands.cluster(given["scheduler"], min(asked, len(missing))) as client,
                _progress(output, len(done), sampler.campaign.trials, told) as seen,
            ):
                workers = hands.agreed(client, mine, sampler.campaign.design)

                def on_result(result: Result) -> None:
                    store.keep(result)
                    seen(result)

                hands.perform(client, sampler, missing, workers, unavailable, on_result)
        if given["keep"] is not None:
            write_parquet(folder / TABLE, store.results())
        return tally(sampler, store.results())


@dataclass(slots=True)
class _Pace:
    """What a pipe is told, now and then."""

    output: Output
    done: int
    total: int
    counted: dict[str, int] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)
    told_s: float = field(default_factory=time.monotonic)
    new: int = 0

    def hear(self, result: Result) -> str:
        """Count one; what to say of it all."""
        self.new += 1
        self.done += 1
        self.counted[result.outcome] = self.counted.get(result.outcome, 0) + 1
        return ", ".join(f"{count:,} {name}" for name, count in sorted(self.counted.items()))

    def tell(self, result: Result) -> None:
        """A line, if the last one is a while ago."""
        words, now_s = self.hear(result), time.monotonic()
        if now_s - self.told_s >= TOLD_EVERY_S or self.done == self.total:
            left_s = (now_s - self.started_s) / self.new * (self.total - self.done)
            self.output.show(f"{self.done:,} of {self.total:,}, about {left_s:,.0f} s left: {words}")
            self.told_s = now_s


def _tell_breach(console: Console, result: Result, told: set[int]) -> None:
    """Tell a breach behind all walls as it comes, on lines that are not folded: they are to be copied."""
    is_news = result.outcome == Outcome.BREACH.value and result.walls == "all"
    if is_news and len(told) < TOLD_MAX:
        told.add(result.number)
        console.print(campaign_page.breach(result), soft_wrap=True)


@contextmanager
def _progress(output: Output, done: int, total: int, told: set[int]) -> Iterator[Callable[[Result], None]]:
    """Yields who is to hear each result. A bar on a terminal, lines in a pipe.

    Breaches are told at once; ``told`` gets their numbers.
    """
    pace = _Pace(output, done, total)
    if not output.console.is_terminal or output.is_quiet:

        def hear(result: Result) -> None:
            if not output.is_quiet:
                _tell_breach(output.console, result, told)
            pace.tell(result)

        yield hear
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=output.console, transient=True) as progress:
        task = progress.add_task("", total=total, completed=done)

        def show(result: Result) -> None:
            _tell_breach(progress.console, result, told)
            progress.update(task, advance=1, description=pace.hear(result))

        yield show


def _flaws(found: Tally, design: Design) -> tuple[str, ...]:
    """What of the design let through what got through: asked of the device, for the first breaches of each attack."""
    first: dict[str, list[Summary]] = {}
    for one in found.breaches:
        first.setdefault(one.attack_id, []).append(one.summary)
    some = [summary for summaries in first.values() for summary in summaries[:FLAWS_OF_EACH]]
    with Worker() as worker:
        return tuple(
            dict.fromkeys(told for summary in some for told in flaws.named(summary, design, worker.ask))
        )


def as_json(found: Tally, design: Design, named: tuple[str, ...], status: int) -> dict[str, Any]:
    """The object that ``docs/json.md`` describes."""
    return head("campaign", status) | {
        "design": design.name,
        "design_digest": design.digest,
        "seed": found.campaign.seed,
        "trials": found.campaign.trials,
        "done": found.done,
        "problems": found.problems,
        "degraded": design.label,
        "standing": walls.in_order(found.standing),
        "flaws": list(named),
        "walled": _cell(found.walled),
        "families": [
            {
                "id": one.attack_id,
                "parameter_sets_tried": one.tried,
                "parameter_sets": one.space,
                "is_enumerated": one.is_enumerated,
            }
            | _cell(one.cell)
            for one in found.families
        ],
        "phases": {name: _cell(cell) for name, cell in found.by_phase.items()},
        "left_out": {name: _cell(cell) for name, cell in found.by_walls.items()},
        "kill_ms": {
            "count": found.kills.count,
            "censored": found.kills.censored,
            "p50": found.kills.quantile_ms(0.5),
            "p99": found.kills.quantile_ms(0.99),
            "max": found.kills.times_ms[-1] if found.kills.times_ms else None,
        },
        "breaches": [_notable(one) for one in found.breaches],
        "without_answer": [_notable(one) for one in found.without_answer],
        "not_counted": [_notable(one) for one in found.without_count],
    }


def _cell(cell: Any) -> dict[str, Any]:
    best, worst = cell.breaches, cell.breaches_at_worst
    return {
        "outcomes": {one.value: cell.of(one) for one in Outcome},
        "breaches": best.count,
        "counted": best.of,
        "upper_95": best.upper,
        "upper_95_at_worst": worst.upper,
    }


def _notable(result: Result) -> dict[str, Any]:
    return {
        "number": result.number,
        "id": result.attack_id,
        "phase": result.phase,
        "outcome": result.outcome,
        "reason": result.reason,
        "line": result.line,
    }
