"""``python -m benchmarks``: measure the rows of the table of costs and print it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import (
    boot,
    campaigns,
    device_runs,
    kill,
    lateness,
    machine,
    patient_days,
    peers,
    power_on,
    report,
    throughput,
)
from benchmarks.figures import Effort, Figure, Row
from world.bench import BenchError

ROWS: tuple[Row, ...] = (
    *throughput.ROWS[:1],
    *kill.ROWS,
    *power_on.ROWS,
    *boot.ROWS[:1],
    *patient_days.ROWS,
    *lateness.ROWS,
    *campaigns.ROWS,
    *throughput.ROWS[1:],
    *boot.ROWS[1:],
)


def measured(rows: list[Row], effort: Effort, console: Console) -> tuple[list[Figure], dict[str, str]]:
    """The figures of all rows, and for each row that could not be measured, why."""
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    total_s = sum(row.steps(effort) * row.step_s for row in rows)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total_s)
        for row in rows:
            progress.update(task, description=row.what)
            try:
                figures += row.measure(effort, lambda row=row: progress.advance(task, row.step_s))  # type: ignore[misc]
            except (device_runs.RunFailed, peers.PeerFailed, BenchError, OSError) as error:
                failures[row.name] = str(error)
    return figures, failures


@click.command()
@click.option(
    "--row", "names", multiple=True, type=click.Choice([row.name for row in ROWS]), help="Only this row."
)
@click.option("--quick", is_flag=True, help="Fewer repetitions: a first look in about two minutes.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the table as JSON, too.",
)
def main(names: tuple[str, ...], quick: bool, json_file: Path | None) -> None:
    """Measure what the walls cost, each figure beside its peer in the same run, and print the table.

    Example: python -m benchmarks --quick --row kill --json costs.json
    """
    console = Console()
    here = machine.describe()
    rows = [row for row in ROWS if not names or row.name in names]
    figures, failures = measured(rows, Effort(is_quick=quick), console)
    here = replace(here, load_after=os.getloadavg()[0])
    report.show(console, figures, here, failures)
    if json_file is not None:
        json_file.write_bytes(report.as_json(figures, here, failures))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
