"""How late therapy's windows open, attacked beside unattacked, as one self-contained HTML page with curves."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from html import escape

from evidence.lateness import (
    AIM_PERCENT,
    AIM_RATIO_MAX,
    PERCENTS,
    Judgement,
    Pair,
    Percentile,
    Sample,
    survival,
)
from evidence.lateness_runs import KINDS, RT, Measured

_WIDTH_PX, _HEIGHT_PX = 400, 230
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 52, 14, 10, 40
_MS_MIN = 0.01
_ATTACKED, _ALONE, _BUDGET = "#b3261e", "#2f6b8f", "#8a8178"
_TITLES = {
    "none": "No priority: all processes are ordinary ones",
    RT: "Priority rt: what is critical comes first",
}
_FONT = 'font-family="system-ui, sans-serif" font-size="11"'
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1280px; padding: 0 1rem; color: #1c1b1a; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.lead { color: #57534e; margin-top: 0; } .panels { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .9rem; max-width: 400px; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; }
td, th { text-align: right; padding: .2rem .7rem; border-bottom: 1px solid #e7e2da; }
td:first-child, th:first-child, td:nth-child(2) { text-align: left; } tr.last td { border-bottom: 2px solid #bdb5aa; }
.met { color: #2f6b3a; font-weight: 600; } .not { color: #9a3412; font-weight: 600; }
"""


def page(found: Measured) -> str:
    """The whole page."""
    title = f"{found.design.name}: how late {found.partition}'s windows open"
    return "\n".join(
        (
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
            f'<p class="lead">{_lead(found)}</p>',
            *_granted(found),
            *_sections(found),
            *_limits(),
            "</body></html>",
        )
    )


def _lead(found: Measured) -> str:
    design = found.design
    return escape(
        f"Real clock, a frame every {design.frame_ms} ms, {found.walls_standing} walls up. {found.attacker} is taken "
        f"over and strikes in each window it gets; {found.rounds} pairs of runs of {found.frames} frames for each "
        f"attack, attacked and unattacked in turn. Load average {found.loads[0]:.1f} before and {found.loads[1]:.1f} "
        f"after, on {len(os.sched_getaffinity(0))} processors."
    )


def _granted(found: Measured) -> Iterator[str]:
    if found.granted is None:
        return
    for key, name in (("cpus", "processors of its own"), ("rt", "real-time priority")):
        state = str(found.granted[key])
        why = f" ({found.granted[f'{key}_reason']}); {found.granted[f'{key}_remedy']}"
        yield f"<p><b>{name}</b>: {escape(state + ('' if state == 'enforced' else why))}</p>"


def _sections(found: Measured) -> Iterator[str]:
    latest = max(
        (s.max_ms or 0.0 for pairs in found.pairs.values() for p in pairs for s in (p.attacked, p.alone)),
        default=1.0,
    )
    ms_max = 10.0 ** math.ceil(math.log10(max(latest, 1.0)))
    fewest = max((len(p.attacked.lateness_ms) for pairs in found.pairs.values() for p in pairs), default=10)
    share_min = 10.0 ** -math.ceil(math.log10(max(fewest, 10)))
    for priority, pairs in found.pairs.items():
        yield f'<h2>{_TITLES[priority]}</h2><div class="panels">'
        for pair in pairs:
            budget_ms = found.design.window_of(found.partition).budget_ms
            yield _panel(pair, _Axes(ms_max, share_min), budget_ms)
        yield '</div><div class="scroll">'
        yield from _table(pairs)
        yield "</div>"


class _Axes:
    """Both logarithmic: milliseconds to the right, the share of windows at least so late upwards."""

    def __init__(self, ms_max: float, share_min: float) -> None:
        self.ms_max, self.share_min = ms_max, share_min
        self._decades_x = math.log10(ms_max / _MS_MIN)
        self._decades_y = -math.log10(share_min)

    def x(self, ms: float) -> float:
        """Pixels."""
        inner = _WIDTH_PX - _LEFT_PX - _RIGHT_PX
        return _LEFT_PX + inner * math.log10(max(ms, _MS_MIN) / _MS_MIN) / self._decades_x

    def y(self, share: float) -> float:
        """Pixels."""
        inner = _HEIGHT_PX - _TOP_PX - _BOTTOM_PX
        return _TOP_PX + inner * -math.log10(max(share, self.share_min)) / self._decades_y


def _panel(pair: Pair, axes: _Axes, budget_ms: int) -> str:
    kind = KINDS[pair.kind]
    size = f'width="{_WIDTH_PX}" height="{_HEIGHT_PX}" viewBox="0 0 {_WIDTH_PX} {_HEIGHT_PX}"'
    parts = [
        f'<figure><svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(pair.kind)}" {_FONT}>',
        *_grid(axes, budget_ms),
        _curve(pair.alone, axes, _ALONE),
        _curve(pair.attacked, axes, _ATTACKED),
        *_key(),
        "</svg>",
    ]
    verdict = f'<span class="{_class_of(pair)}">{escape(pair.judgement.value)}</span>'
    words = f"<b>{escape(pair.kind)}</b> ({escape(kind.attack_id)}): it {escape(kind.what)}. Aim {verdict}."
    return "".join((*parts, f"<figcaption>{words}</figcaption></figure>"))


def _grid(axes: _Axes, budget_ms: int) -> Iterator[str]:
    bottom, right = _HEIGHT_PX - _BOTTOM_PX, _WIDTH_PX - _RIGHT_PX
    for decade in range(round(math.log10(_MS_MIN)), round(math.log10(axes.ms_max)) + 1):
        x = axes.x(10.0**decade)
        yield f'<line x1="{x:.1f}" y1="{_TOP_PX}" x2="{x:.1f}" y2="{bottom}" stroke="#e7e2da"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{10.0**decade:g}</text>'
    for decade in range(round(math.log10(axes.share_min)), 1):
        y = axes.y(10.0**decade)
        yield f'<line x1="{_LEFT_PX}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#e7e2da"/>'
        yield f'<text x="{_LEFT_PX - 5}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** (decade + 2):g} %</text>'
    x = axes.x(budget_ms)
    yield f'<line x1="{x:.1f}" y1="{_TOP_PX}" x2="{x:.1f}" y2="{bottom}" stroke="{_BUDGET}" stroke-dasharray="4 3"/>'
    yield f'<text x="{(_LEFT_PX + right) / 2}" y="{bottom + 32}" text-anchor="middle">ms late, or later</text>'


def _curve(sample: Sample, axes: _Axes, colour: str) -> str:
    """Steps: so many windows were at least this late."""
    words: list[str] = []
    for ms, share in survival(sample.lateness_ms):
        x, y = axes.x(ms), axes.y(share)
        words.append(f"M{x:.1f} {y:.1f}" if not words else f"V{y:.1f}")
        words[-1:] = [f"H{x:.1f}", words[-1]] if len(words) > 1 else words[-1:]
    if words:
        words.append(f"V{_HEIGHT_PX - _BOTTOM_PX}")
    return f'<path d="{" ".join(words)}" fill="none" stroke="{colour}" stroke-width="1.8"/>'


def _key() -> Iterator[str]:
    for row, (text, colour) in enumerate(
        (("attacked", _ATTACKED), ("unattacked", _ALONE), ("budget", _BUDGET))
    ):
        y = _HEIGHT_PX - _BOTTOM_PX - 44 + 14 * row
        yield f'<rect x="{_LEFT_PX + 8}" y="{y - 7}" width="14" height="3" fill="{colour}"/>'
        yield f'<text x="{_LEFT_PX + 27}" y="{y - 2}">{text}</text>'


def _class_of(pair: Pair) -> str:
    return "met" if pair.judgement is Judgement.MET else "not"


def _table(pairs: list[Pair]) -> Iterator[str]:
    names = (
        "attack",
        "",
        *(f"p{percent:g} ms" for percent in PERCENTS),
        "max ms",
        "windows",
        "missed",
        "struck",
        "aim",
    )
    yield f"<table><tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>"
    for pair in pairs:
        aim = f'<span class="{_class_of(pair)}">{escape(pair.judgement.value)}</span>'
        yield _row(
            (escape(pair.kind), "attacked", *_cells(pair.attacked), f"{pair.struck}/{pair.of_frames}", aim)
        )
        yield _row(("", "unattacked", *_cells(pair.alone), "", ""))
        ratios = (_ratio(pair.ratio(percent)) for percent in PERCENTS)
        yield _row(("", "ratio", *ratios, "", "", "", "", ""), "last")
    yield "</table>"
    for pair in pairs:
        for problem in pair.problems:
            yield f'<p class="not">{escape(pair.kind)}: {escape(problem)}</p>'


def _row(cells: tuple[str, ...], name: str = "") -> str:
    return f'<tr class="{name}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _cells(sample: Sample) -> tuple[str, ...]:
    values = [sample.at(percent).value for percent in PERCENTS] + [sample.max_ms]
    told = ("unknown" if value is None else f"{value:.3g}" for value in values)
    return (*told, str(len(sample.lateness_ms)), str(sample.missed))


def _ratio(ratio: Percentile) -> str:
    if ratio.value is None:
        return "too few windows"
    low, high = ("?" if end is None else f"{end:.1f}" for end in (ratio.low, ratio.high))
    return f"{ratio.value:.2f}x ({low} .. {high})"


def _limits() -> Iterator[str]:
    yield "<h2>How to read it, and what it does not show</h2><ul>"
    yield (
        "<li>A curve says which share of windows was at least so late; further left is better. A deadline is missed "
        "when a window does not open, opens later than its budget lasts, or does not end in its budget.</li>"
    )
    yield (
        f"<li>The aim is a p{AIM_PERCENT:g} of at most {AIM_RATIO_MAX:g} times the unattacked device's, and no "
        "deadline missed under attack. Bounds of a ratio hold with 95 % confidence if windows were independent, which "
        "neighbours in time are not; a ? says that too few windows were measured for a bound.</li>"
    )
    yield "<li>It is this machine, under this load, for so long. It proves no worst case.</li></ul>"
