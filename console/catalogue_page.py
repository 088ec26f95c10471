"""The catalogue of attacks as a page."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from faults import catalogue


def page() -> Group:
    """Every attack: id, what it tries, its numbers in public catalogues, and whether it can be run."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("id", "runs"):
        table.add_column(name, no_wrap=True)
    table.add_column("what it tries")
    for name in ("CWE", "EMB3D", "ATT&CK"):
        table.add_column(name, no_wrap=True, style="dim")
    for row in catalogue.rows().values():
        runs = Text("yes", style="green") if row.built else Text("no", style="dim")
        sentence = Text(row.plain) if row.plain else Text(row.attempt, style="dim")
        table.add_row(
            Text(row.id, style="bold"), runs, sentence, _short(row.cwe), row.emb3d or "", row.ics or ""
        )
    return Group(table, Text(), closing())


def closing() -> Text:
    """One line: how many there are."""
    rows = catalogue.rows().values()
    built = sum(row.built for row in rows)
    return Text(f"{len(rows)} attacks and faults, {built} of which can be run: attack ID [ID ...]")


def _short(cwe: str) -> str:
    return cwe.removeprefix("CWE-")
