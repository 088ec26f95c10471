"""Curves, bars and sparklines out of characters. Pure: numbers in, lines of text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

#: Braille dots of one character cell, by column and row: Unicode puts the fourth row last.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BRAILLE = 0x2800
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.-=+*#@"
AXIS_CHARS = 5


@dataclass(frozen=True, slots=True)
class Curve:
    """Values evenly spread over the time axis, of which they fill ``len(values) / points`` from the left."""

    values: Sequence[float]
    style: str
    low_style: str = ""  # for what lies below the band, when given


@dataclass(frozen=True, slots=True)
class Axes:
    """What the plot spans: ``points`` values from left to right, ``low`` to ``high`` from bottom to top.

    ``band`` is shaded and its ends are labelled; ``hours`` is the length of the time axis for its labels. Where
    a curve goes below ``low``, the lowest label says so (``<20``): what is drawn there is the edge, not the value.
    """

    points: int
    low: float
    high: float
    band: tuple[float, float]
    hours: float


def chart(
    curves: Sequence[Curve], axes: Axes, width: int, height: int, *, is_ascii: bool = False
) -> list[Text]:
    """``height`` lines of plot and one of hours, each at most ``width`` wide. Later curves lie on top."""
    columns = max(width - AXIS_CHARS, 4)
    cells: dict[tuple[int, int], tuple[int, str]] = {}
    for curve in curves:
        _draw(cells, curve, axes, columns, height)
    band_rows = {_row(axes, edge, height) for edge in axes.band}
    is_cut = any(value < axes.low for curve in curves for value in curve.values)
    lines = []
    for row in range(height):
        line = Text(_label(axes, row, height, is_cut=is_cut), style="dim")
        inside = min(band_rows) <= row <= max(band_rows)
        for column in range(columns):
            bits, style = cells.get((column, row), (0, ""))
            if bits:
                line.append("*" if is_ascii else chr(_BRAILLE | bits), style)
            elif row in band_rows:
                line.append("-" if is_ascii else "┄", "green dim")
            else:
                shade = inside and (column + row) % 2 == 0
                line.append("·" if shade and not is_ascii else " ", "green dim")
        lines.append(line)
    return [*lines, _hours(axes, columns)]


def _draw(
    cells: dict[tuple[int, int], tuple[int, str]], curve: Curve, axes: Axes, columns: int, height: int
) -> None:
    """Set the dots of one curve: one height per dot column, joined upwards or downwards to the one before."""
    dots_across, dots_down = 2 * columns, 4 * height
    before: int | None = None
    for x in range(dots_across):
        first = x * axes.points // dots_across
        last = max((x + 1) * axes.points // dots_across, first + 1)
        part = curve.values[first:last]
        if not part:
            break
        value = sum(part) / len(part)
        y = _dot(axes, value, dots_down)
        style = curve.low_style if curve.low_style and value < axes.band[0] else curve.style
        start = y if before is None else before + (1 if y > before else -1 if y < before else 0)
        for dot in range(min(start, y), max(start, y) + 1):
            cell = (x // 2, dot // 4)
            bits, _ = cells.get(cell, (0, ""))
            cells[cell] = (bits | _DOTS[x % 2][dot % 4], style)
        before = y


def _dot(axes: Axes, value: float, dots_down: int) -> int:
    """The dot row of a value, counted from the top; what lies outside sticks to the edge."""
    share = (value - axes.low) / (axes.high - axes.low)
    return min(max(round((1.0 - share) * (dots_down - 1)), 0), dots_down - 1)


def _row(axes: Axes, value: float, height: int) -> int:
    return _dot(axes, value, 4 * height) // 4


def _label(axes: Axes, row: int, height: int, *, is_cut: bool) -> str:
    for value in (*axes.band, axes.high, axes.low):
        if _row(axes, value, height) == row:
            below = "<" if is_cut and value == axes.low else ""
            return f"{f'{below}{value:.0f}':>4} "
    return " " * AXIS_CHARS


def _hours(axes: Axes, columns: int) -> Text:
    """Hours under the plot, as dense as they fit."""
    steps = (1, 2, 3, 4, 6, 12, 24, 48, 96, 240, 480)
    step = next((s for s in steps if s * columns / max(axes.hours, 0.1) >= 6), steps[-1])
    marks = [" "] * (columns + AXIS_CHARS)
    hour = 0
    while hour <= axes.hours:
        text = f"{hour % 24:02d}:00" if axes.hours > 1 else f"{hour:02d}h"
        at = AXIS_CHARS + round(hour * columns / max(axes.hours, 0.1))
        if at + len(text) <= len(marks):
            marks[at : at + len(text)] = text
        hour += step
    return Text("".join(marks).rstrip(), style="dim")


def sparkline(values: Sequence[float], points: int, width: int, *, is_ascii: bool = False) -> str:
    """The largest value in each of ``width`` buckets of ``points``, as blocks; the largest of all is full."""
    blocks = _ASCII_BLOCKS if is_ascii else _BLOCKS
    top = max(values, default=0.0) or 1.0
    line = []
    for column in range(width):
        first = column * points // width
        part = values[first : max((column + 1) * points // width, first + 1)]
        if not part:
            break
        line.append(blocks[min(int(max(part) / top * len(blocks)), len(blocks) - 1)])
    return "".join(line)


def bar(share: float, width: int, *, is_ascii: bool = False) -> str:
    """A progress bar: ``share`` from 0 to 1 of ``width`` characters."""
    done = round(min(max(share, 0.0), 1.0) * width)
    full, empty = ("#", ".") if is_ascii else ("━", "─")
    return full * done + empty * (width - done)
