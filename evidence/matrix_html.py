"""The attack x wall matrix as one self-contained HTML page: no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from evidence.ablation import Row
from evidence.matrix import Matrix
from evidence.outcome import Outcome
from faults import attack_files, catalogue
from faults.words import counted
from sandbox import walls

_CELL_PX = 26
_ID_PX, _NAME_PX, _HEAD_PX = 46, 190, 110
#: Fill of a cell by the size of the smallest cut set that holds the wall.
_FILLS = {1: "#b3261e", 2: "#e8833a", 3: "#e9c46a"}
_FILL_LARGER, _FILL_NONE = "#9db4c0", "#f3f1ec"
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; padding: 0 1rem; color: #1c1b1a; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.lead { color: #57534e; margin-top: 0; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .35rem .6rem;
border-bottom: 1px solid #e7e2da; } code { font-size: .9em; background: #f3f1ec; padding: .05rem .3rem; }
.held { color: #2f6b3a; } .not { color: #9a3412; font-weight: 600; }
.key span { display: inline-block; width: 1em; height: 1em; margin: 0 .35em 0 1em; vertical-align: -.15em; }
"""


def page(matrix: Matrix) -> str:
    """The whole page."""
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(matrix.design.name)}: which walls carry what</title>",
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(matrix.design.name)}: which walls carry what</h1>",
            f'<p class="lead">{_lead(matrix)}</p>',
            *_conclusions(matrix),
            "<h2>Attack by wall</h2>",
            _key(),
            f'<div class="scroll">{_picture(matrix)}</div>',
            "<h2>What must fall before it gets through</h2>",
            *_table(matrix),
            *_limits(matrix),
            "</body></html>",
        )
    )


def _lead(matrix: Matrix) -> str:
    held = sum(row.outcome is Outcome.HELD for row in matrix.rows)
    questions = sum(row.questions for row in matrix.rows)
    return (
        f"{held} of {len(matrix.rows)} attacks held with all {len(matrix.available)} walls of this host. The smallest "
        "sets of walls that must fall before each gets through were found in "
        f"{counted(questions, 'run')} of the device: each set below was seen to let its attack through, and each of "
        "its walls, put back alone, was seen to stop it."
    )


def _conclusions(matrix: Matrix) -> Iterator[str]:
    yield "<ul>"
    for name, ids in matrix.alone.items():
        yield f"<li><b>{escape(name)}</b> is all that stands against {escape(', '.join(ids))}.</li>"
    if matrix.idle:
        yield (
            f"<li>Walls that carry nothing here: {escape(', '.join(matrix.idle))}. No attack of these gets through "
            "because one of them is missing; they stand for what these attacks do not try.</li>"
        )
    for problem in matrix.problems:
        yield f'<li class="not">{escape(problem)}</li>'
    yield "</ul>"


def _key() -> str:
    words = ((1, "alone stops it"), (2, "falls with one other"), (3, "with two others"))
    spans = [f'<span style="background:{_FILLS[size]}"></span>{text}' for size, text in words]
    spans.append(f'<span style="background:{_FILL_LARGER}"></span>with more')
    spans.append(f'<span style="background:{_FILL_NONE}"></span>does not matter')
    return f'<p class="key">{"".join(spans)}</p>'


def _picture(matrix: Matrix) -> str:
    """A cell for each attack and wall, coloured by the smallest cut set that holds the wall; the number is its size."""
    columns = walls.in_order(matrix.available)
    left = _ID_PX + _NAME_PX
    width, height = left + _CELL_PX * len(columns) + 60, _HEAD_PX + _CELL_PX * len(matrix.rows) + 4
    # As wide as the page at most: with all walls in view a picture says more than a part of it that scrolls.
    head = f'style="width:100%;max-width:{width}px;height:auto" viewBox="0 0 {width} {height}"'
    font = 'font-family="system-ui, sans-serif" font-size="12"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {head} role="img" aria-label="attack by wall" {font}>']
    for index, name in enumerate(columns):
        at = f"translate({left + _CELL_PX * index + _CELL_PX / 2 + 4},{_HEAD_PX - 8}) rotate(-60)"
        weight = "600" if name in matrix.carriers else "400"
        parts.append(f'<text transform="{at}" font-weight="{weight}">{escape(name)}</text>')
    rows, attacks = catalogue.rows(), attack_files.built(matrix.design.folder)
    for number, row in enumerate(matrix.rows):
        y = _HEAD_PX + _CELL_PX * number
        name = rows[row.attack_id].name if row.attack_id in rows else attacks[row.attack_id].name
        parts.append(f'<text x="0" y="{y + 17}" font-weight="600">{escape(row.attack_id)}</text>')
        name = row.variant or name  # which is that of the row above it, or follows from it
        parts.append(f'<text x="{_ID_PX}" y="{y + 17}">{escape(name)}</text>')
        parts += _cells(matrix, row, columns, left, y)
    return "".join((*parts, "</svg>"))


def _cells(matrix: Matrix, row: Row, columns: list[str], left: int, y: int) -> Iterator[str]:
    for index, wall in enumerate(columns):
        size = matrix.size_with(row, wall)
        fill = _FILLS.get(size, _FILL_LARGER) if size else _FILL_NONE
        x = left + _CELL_PX * index
        yield f'<rect x="{x}" y="{y}" width="{_CELL_PX - 2}" height="{_CELL_PX - 2}" rx="3" fill="{fill}">'
        yield f"<title>{escape(_cell_words(row, wall, size))}</title></rect>"
        if size:
            ink = "#fff" if size == 1 else "#1c1b1a"
            yield f'<text x="{x + _CELL_PX / 2 - 1}" y="{y + 17}" text-anchor="middle" fill="{ink}">{size}</text>'
    if row.outcome is not Outcome.HELD:
        x = left + _CELL_PX * len(columns) + 4
        yield f'<text x="{x}" y="{y + 17}" fill="#9a3412">{escape(row.outcome.value)}</text>'


def _cell_words(row: Row, wall: str, size: int) -> str:
    if not size:
        return f"{row.name}: {wall} does not matter"
    return f"{row.name}: {wall} " + (
        "alone stops it" if size == 1 else f"falls with {counted(size - 1, 'other')}"
    )


def _table(matrix: Matrix) -> Iterator[str]:
    attacks = attack_files.built(matrix.design.folder)
    headings = ("attack", "what it does", "minimal cut sets, each with the line that runs it again")
    yield f"<table><tr>{''.join(f'<th>{heading}</th>' for heading in headings)}</tr>"
    for row in matrix.rows:
        verdict = "held" if row.outcome is Outcome.HELD else "not"
        outcome = f'<span class="{verdict}">{escape(row.outcome.value)}</span>'
        yield f"<tr><td><b>{escape(row.name)}</b><br>{outcome}</td>"
        yield f"<td>{escape(attacks[row.attack_id].plain)}</td><td>"
        for cut in row.cuts:
            names = ", ".join(walls.in_order(cut.walls))
            yield f"{escape(names)}<br><code>{escape(cut.line)}</code><br>"
        if not row.cuts:
            yield escape(row.reason)
        if row.cuts and not row.is_complete:
            yield "<i>perhaps others</i>"
        yield "</td></tr>"
    yield "</table>"
    if matrix.on_a_stand_in:
        yield f"<p>{escape(matrix.on_a_stand_in)}</p>"


def _limits(matrix: Matrix) -> Iterator[str]:
    missing = walls.in_order(walls.ALL - matrix.available)
    yield "<h2>What this does not show</h2><ul>"
    yield "<li>Other attacks, other parameters, other hosts. An idle wall may carry another attack.</li>"
    yield "<li>The search believes that leaving out more walls never stops an attack; contradictions are named.</li>"
    if missing:
        yield f"<li>This host cannot raise {escape(', '.join(missing))}; nothing is said of them.</li>"
    yield "</ul>"
