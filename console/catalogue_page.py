"""The catalogue of attacks as a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from faults import catalogue
from faults.catalogue import Row


def page() -> Group:
    """Every attack: id, what it tries, its numbers in public catalogues; first those that can be run."""
    rows = catalogue.rows().values()
    return Group(
        Text("Attacks that can be run", style="bold green"),
        _table("what it tries", [row for row in rows if row.built]),
        Text(),
        Text("Declared, not built yet", style="bold"),
        _table("what the catalogue says, in its own technical words", [row for row in rows if not row.built]),
        Text(),
        closing(),
    )


def _table(heading: str, rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True, style="bold")
    table.add_column(heading, ratio=1)
    table.add_column("expected", max_width=20)
    for name in ("CWE", "EMB3D", "ATT&CK"):
        table.add_column(name, no_wrap=True, style="dim")
    for row in rows:
        table.add_row(
            row.id, row.plain or row.attempt, row.expected, _short(row.cwe), row.emb3d or "", row.ics or ""
        )
    return table


def closing() -> Text:
    """One line: how many there are."""
    rows = catalogue.rows().values()
    built = sum(row.built for row in rows)
    return Text(f"{len(rows)} attacks and faults, {built} of which can be run: attack ID [ID ...]")


def _short(cwe: str) -> str:
    return cwe.removeprefix("CWE-")
