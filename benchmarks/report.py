"""The table on a screen, and the same as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Spread
from benchmarks.machine import Machine

FORMAT = 1


def as_json(figures: list[Figure], machine: Machine, failures: dict[str, str]) -> bytes:
    """One object:
    ``format``, ``machine``, ``figures`` (as in ``Figure``) and ``failures`` (row -> sentence).
    """
    value: dict[str, Any] = {"format": FORMAT, "machine": machine, "figures": figures, "failures": failures}
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def show(console: Console, figures: list[Figure], machine: Machine, failures: dict[str, str]) -> None:
    """Print the table, its remarks and the machine."""
    table = Table(title="What it costs, beside what", title_justify="left", expand=False)
    for heading in ("what", "ours", "peer"):
        table.add_column(heading, overflow="fold")
    table.add_column("ratio", justify="right")
    table.add_column("aim", justify="right")
    table.add_column("here")
    for figure in figures:
        table.add_row(*_cells(figure), end_section=False)
    console.print(table)
    for name in dict.fromkeys((f.unit, f.beside) for f in figures):
        console.print(f"peer of the figures in {name[0]}: {name[1]}", highlight=False)
    for figure in figures:
        if figure.remark:
            console.print(f"{figure.what}: {figure.remark}", highlight=False)
    for row, why in failures.items():
        console.print(f"{row}: could not be measured: {why}", highlight=False, style="red")
    console.print(
        f"{machine.processor}, {machine.cores} cores; {machine.kernel}; {machine.python}; "
        f"{machine.libraries}; "
        f"load {machine.load_before:.2f} before, {machine.load_after:.2f} after. "
        "Medians, smallest .. largest; aims are judged for this machine and load only.",
        highlight=False,
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    words = {True: "[green]met[/]", False: "[yellow]not met[/]", None: ""}
    ratio = "" if figure.ratio is None else f"{figure.ratio:.3g}x"
    peer = "" if figure.peer is None else _spread(figure.peer, figure.unit)
    return figure.what, _spread(figure.ours, figure.unit), peer, ratio, figure.aim, words[figure.is_met]


def _spread(value: Spread, unit: str) -> str:
    digits = "{:,.0f}" if value.median >= 1_000 else "{:.3g}"
    if value.count < 2:
        return f"{digits.format(value.median)} {unit}"
    low, high = digits.format(value.low), digits.format(value.high)
    return f"{digits.format(value.median)} {unit} ({low} .. {high})"
