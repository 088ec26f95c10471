"""Reads docs/ARCHITECTURE.md and says where it and the tree differ."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.tree import ROOMS, TRUSTED, Source


def rows(text: str, heading: str | None = None) -> Iterator[list[str]]:
    """The cells of each table row, or of those under ``heading``, without the heads of the tables."""
    under = ""
    previous = ""
    for line in text.splitlines():
        if line.startswith("## "):
            under = line[3:].strip()
        is_row = line.startswith("|") and previous.startswith("|") and not line.startswith("|-")
        if is_row and heading in (None, under):
            yield [cell.strip() for cell in line.strip("|").split("|")]
        previous = line


def named_paths(text: str) -> list[str]:
    """Backticked paths in the tables, except under Processes, where the first column holds names."""
    everything = [row for row in rows(text) if row not in list(rows(text, "Processes"))]
    first = [row[0] for row in everything] + [row[1] for row in rows(text, "Processes")]
    return [path for cell in first for path in re.findall(r"`([^`]+)`", cell)]


def wrong_paths(text: str, root: Path) -> list[str]:
    """Paths in the tables that are not there. A folder ends in ``/``."""
    return [
        p for p in named_paths(text) if not ((root / p).is_dir() if p.endswith("/") else (root / p).is_file())
    ]


def wrong_processes(text: str, root: Path) -> list[str]:
    """Processes whose name is no text constant in the file that the table gives for them."""
    complaints = []
    for row in rows(text, "Processes"):
        (name,), (path,) = (re.findall(r"`([^`]+)`", cell) for cell in row[:2])
        constants = {n.value for n in ast.walk(Source(root, Path(path)).tree) if isinstance(n, ast.Constant)}
        if name not in constants:
            complaints.append(f"{name}: not named in {path}")
    return complaints


def missing_rows(text: str, everything: list[Source]) -> list[str]:
    """A row, ready to be put in, for each room and each module of the trusted rooms that the map lacks."""
    on_map = set(named_paths(text))
    rooms = sorted({f"{s.room}/" for s in everything if s.room in ROOMS} - on_map)
    missing = [f"| `{room}` | |" for room in rooms]
    for s in everything:
        if s.room in TRUSTED and s.path.stem != "__init__" and str(s.path) not in on_map:
            promise = (ast.get_docstring(s.tree) or "").partition("\n")[0].rstrip(".")
            missing.append(f"| `{s.path}` | {promise} |")
    return missing
