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

_WIDTH_PX, _HEIGHT_PX = 600, 360
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 74, 52, 26, 50
#: Where the scale begins at the least: nobody measures the opening of a window more finely.
_MS_MIN = 0.01
#: Lines between two decades.
_BETWEEN = (2, 5)
_ATTACKED, _ALONE, _BUDGET = "#b3261e", "#2f6b8f", "#57534e"
_GRID, _GRID_FAINT, _INK, _INK_FAINT = "#ddd6cc", "#f0ece5", "#1c1b1a", "#57534e"
_TITLES = {
    "none": "No priority: all processes are ordinary ones",
    RT: "Priority rt: what is critical comes first",
}
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; margin: 2.5rem auto; max-width: 1280px; padding: 0 1.5rem;
color: #1c1b1a; background: #fff; }
h1 { font-size: 1.7rem; line-height: 1.25; margin-bottom: .4rem; }
h2 { font-size: 1.25rem; margin: 3rem 0 .8rem; padding-top: 1.2rem; border-top: 1px solid #ddd6cc; }
.lead { color: #57534e; margin: 0 0 1.2rem; max-width: 60rem; } .granted { margin: .3rem 0; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 1.6rem; }
figure { margin: 0; padding: 1.1rem 1.2rem; border: 1px solid #ddd6cc; border-radius: 8px; max-width: 640px;
break-inside: avoid; display: flex; flex-direction: column; justify-content: space-between; }
figcaption { margin-bottom: .8rem; } figcaption small { color: #57534e; font-size: .9rem; }
svg { display: block; width: 100%; height: auto; }
.key { margin: .2rem 0 1rem; color: #57534e; } .key span { white-space: nowrap; margin-right: 1.6rem; }
.key svg { display: inline-block; width: 30px; height: 12px; margin-right: .5rem; vertical-align: 0; }
.scroll { overflow-x: auto; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { text-align: right; padding: .3rem .7rem; border-bottom: 1px solid #f0ece5; }
td, td .not, td .met { white-space: nowrap; } th { border-bottom: 2px solid #bdb5aa; vertical-align: bottom; }
td:first-child, th:first-child, td:nth-child(2), td:last-child, th:last-child { text-align: left; }
td:first-child { font-weight: 600; } tr.last td { border-bottom: 1px solid #bdb5aa; }
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
    pairs = "1 pair" if found.rounds == 1 else f"{found.rounds} pairs"
    return escape(
        f"Real clock, a frame every {design.frame_ms} ms, {found.walls_standing} walls up. {found.attacker} is taken "
        f"over and strikes in each window it gets; {pairs} of runs of {found.frames} frames for each "
        f"attack, attacked and unattacked in turn. Load average {found.loads[0]:.1f} before and {found.loads[1]:.1f} "
        f"after, on {len(os.sched_getaffinity(0))} processors."
    )


def _granted(found: Measured) -> Iterator[str]:
    if found.granted is None:
        return
    for key, name in (("cpus", "Processors of its own"), ("rt", "Real-time priority")):
        state = str(found.granted[key])
        why = f" ({found.granted[f'{key}_reason']}); {found.granted[f'{key}_remedy']}"
        yield f'<p class="granted"><b>{name}</b>: {escape(state + ("" if state == "enforced" else why))}</p>'


def _sections(found: Measured) -> Iterator[str]:
    samples = [s for pairs in found.pairs.values() for p in pairs for s in (p.attacked, p.alone)]
    budget_ms = found.design.window_of(found.partition).budget_ms
    axes = _Axes.around(samples, budget_ms)
    for priority, pairs in found.pairs.items():
        yield f"<h2>{_TITLES[priority]}</h2>"
        yield f'{_key(budget_ms)}<div class="panels">'
        for pair in pairs:
            yield _panel(pair, axes, budget_ms)
        yield '</div><div class="scroll">'
        yield from _table(pairs)
        yield "</div>"


class _Axes:
    """Both logarithmic: milliseconds to the right, the share of windows at least so late upwards."""

    def __init__(self, ms_min: float, ms_max: float, share_min: float) -> None:
        self.ms_min, self.ms_max, self.share_min = ms_min, ms_max, share_min
        self._decades_x = math.log10(ms_max / ms_min)
        self._decades_y = -math.log10(share_min)

    @classmethod
    def around(cls, samples: list[Sample], budget_ms: int) -> _Axes:
        """Whole decades with room for all that was measured, and for the budget."""
        all_ms = [ms for sample in samples for ms in sample.lateness_ms]
        earliest, latest = min(all_ms, default=1.0), max(*all_ms, float(budget_ms), 1.0)
        windows = max((len(sample.lateness_ms) for sample in samples), default=10)
        return cls(
            10.0 ** math.floor(math.log10(max(earliest, _MS_MIN))),
            10.0 ** math.ceil(math.log10(latest * 1.1)),
            10.0 ** -math.ceil(math.log10(max(windows, 10))),
        )

    def x(self, ms: float) -> float:
        """Pixels."""
        inner = _WIDTH_PX - _LEFT_PX - _RIGHT_PX
        return _LEFT_PX + inner * math.log10(max(ms, self.ms_min) / self.ms_min) / self._decades_x

    def y(self, share: float) -> float:
        """Pixels."""
        inner = _HEIGHT_PX - _TOP_PX - _BOTTOM_PX
        return _TOP_PX + inner * -math.log10(max(share, self.share_min)) / self._decades_y


def _panel(pair: Pair, axes: _Axes, budget_ms: int) -> str:
    kind = KINDS[pair.kind]
    what = f"{pair.kind}: share of windows at least so late, attacked and unattacked"
    head = f'viewBox="0 0 {_WIDTH_PX} {_HEIGHT_PX}" role="img" aria-label="{escape(what)}" {_FONT}'
    parts = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {head}>',
        *_grid(axes),
        *_budget(axes, budget_ms),
        _curve(pair.alone, axes, _ALONE),
        _curve(pair.attacked, axes, _ATTACKED),
        *_marks(pair.alone, axes, _ALONE, "unattacked"),
        *_marks(pair.attacked, axes, _ATTACKED, "attacked"),
        "</svg>",
    )
    words = (
        f"<b>{escape(pair.kind)}</b> ({escape(kind.attack_id)}): it {escape(kind.what)}.<br>"
        f'Aim <span class="{_class_of(pair)}">{escape(pair.judgement.value)}</span>: '
        f"<small>{escape(_in_short(pair))}</small>"
    )
    return f"<figure><figcaption>{words}</figcaption>{''.join(parts)}</figure>"


def _in_short(pair: Pair) -> str:
    """What the aim is about, of one attack: both percentiles, their ratio, and the deadlines."""
    above, below = pair.attacked.at(AIM_PERCENT).value, pair.alone.at(AIM_PERCENT).value
    ratio = pair.ratio(AIM_PERCENT).value
    if above is None or below is None or ratio is None:
        late = f"too few windows for a p{AIM_PERCENT:g}"
    else:
        late = f"p{AIM_PERCENT:g} {above:.3g} ms, unattacked {below:.3g} ms: {ratio:.2f} times"
    missed = pair.attacked.missed
    return f"{late}; {missed or 'no'} {'deadline' if missed == 1 else 'deadlines'} missed under attack"


def _grid(axes: _Axes) -> Iterator[str]:
    bottom, right = _HEIGHT_PX - _BOTTOM_PX, _WIDTH_PX - _RIGHT_PX
    for decade in range(round(math.log10(axes.ms_min)), round(math.log10(axes.ms_max)) + 1):
        for digit in (1, *_BETWEEN):
            ms = digit * 10.0**decade
            if ms <= axes.ms_max * 1.001:
                x, colour = axes.x(ms), _GRID if digit == 1 else _GRID_FAINT
                yield f'<line x1="{x:.1f}" y1="{_TOP_PX}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}"/>'
                if digit == 1:
                    yield f'<text x="{x:.1f}" y="{bottom + 19}" text-anchor="middle" fill="{_INK}">{ms:g}</text>'
    for decade in range(round(math.log10(axes.share_min)), 1):
        y = axes.y(10.0**decade)
        yield f'<line x1="{_LEFT_PX}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{_GRID}"/>'
        share = f"{10.0 ** (decade + 2):g} %"
        yield f'<text x="{_LEFT_PX - 8}" y="{y + 4.5:.1f}" text-anchor="end" fill="{_INK}">{share}</text>'
    for percent in PERCENTS:
        share_left = 1.0 - percent / 100.0
        if share_left >= axes.share_min:
            y = axes.y(share_left)
            yield f'<line x1="{right}" y1="{y:.1f}" x2="{right + 5}" y2="{y:.1f}" stroke="{_INK_FAINT}"/>'
            yield f'<text x="{right + 9}" y="{y + 4.5:.1f}" fill="{_INK_FAINT}">p{percent:g}</text>'
    middle_x, middle_y = (_LEFT_PX + right) / 2, (_TOP_PX + bottom) / 2
    yield f'<text x="{middle_x}" y="{bottom + 42}" text-anchor="middle" fill="{_INK_FAINT}">lateness, ms</text>'
    yield (
        f'<text transform="translate(14,{middle_y}) rotate(-90)" text-anchor="middle" fill="{_INK_FAINT}">'
        "windows at least so late</text>"
    )


def _budget(axes: _Axes, budget_ms: int) -> Iterator[str]:
    x, bottom = axes.x(budget_ms), _HEIGHT_PX - _BOTTOM_PX
    yield (
        f'<line x1="{x:.1f}" y1="{_TOP_PX}" x2="{x:.1f}" y2="{bottom}" stroke="{_BUDGET}" stroke-width="1.5" '
        'stroke-dasharray="5 4"/>'
    )
    yield f'<text x="{x:.1f}" y="{_TOP_PX - 8}" text-anchor="middle" fill="{_BUDGET}">budget {budget_ms} ms</text>'


def _curve(sample: Sample, axes: _Axes, colour: str) -> str:
    """Steps: so many windows were at least this late."""
    words: list[str] = []
    for ms, share in survival(sample.lateness_ms):
        x, y = axes.x(ms), axes.y(share)
        words.append(f"M{x:.1f} {y:.1f}" if not words else f"V{y:.1f}")
        words[-1:] = [f"H{x:.1f}", words[-1]] if len(words) > 1 else words[-1:]
    if words:
        words.append(f"V{_HEIGHT_PX - _BOTTOM_PX}")
    return f'<path d="{" ".join(words)}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>'


def _marks(sample: Sample, axes: _Axes, colour: str, name: str) -> Iterator[str]:
    """A point on the curve at each percentile that is known, which tells its value."""
    shares = dict(survival(sample.lateness_ms))
    for percent in PERCENTS:
        value = sample.at(percent).value
        if value is not None:
            at = f'cx="{axes.x(value):.1f}" cy="{axes.y(shares[value]):.1f}"'
            yield f'<circle {at} r="4" fill="#fff" stroke="{colour}" stroke-width="2">'
            yield f"<title>{name}, p{percent:g}: {value:.3g} ms</title></circle>"


def _key(budget_ms: int) -> str:
    """What the lines are, once for all pictures of a section."""
    some = (
        ("attacked", _ATTACKED, ""),
        ("unattacked", _ALONE, ""),
        (f"budget of a window, {budget_ms} ms: opened later, its deadline is missed", _BUDGET, "5 4"),
    )
    lines = (
        f'<span><svg viewBox="0 0 30 12" aria-hidden="true"><line x1="0" y1="6" x2="30" y2="6" stroke="{colour}" '
        f'stroke-width="3" stroke-dasharray="{dashes}"/></svg>{text}</span>'
        for text, colour, dashes in some
    )
    return f'<p class="key">{"".join(lines)}</p>'


def _class_of(pair: Pair) -> str:
    return "met" if pair.judgement is Judgement.MET else "not"


def _table(pairs: list[Pair]) -> Iterator[str]:
    names = (
        "attack",
        "",
        *(f"p{percent:g} ms" for percent in PERCENTS),
        "max ms",
        "windows",
        "deadlines missed",
        "frames struck",
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
        "<li>A curve says which share of windows was at least so late; further left is better. Both scales are "
        "logarithmic; the points are the percentiles of the table. A deadline is missed "
        "when a window does not open, opens later than its budget lasts, or does not end in its budget.</li>"
    )
    yield (
        f"<li>The aim is a p{AIM_PERCENT:g} of at most {AIM_RATIO_MAX:g} times the unattacked device's, and no "
        "deadline missed under attack. Bounds of a ratio hold with 95 % confidence if windows were independent, which "
        "neighbours in time are not; a ? says that too few windows were measured for a bound.</li>"
    )
    yield "<li>It is this machine, under this load, for so long. It proves no worst case.</li></ul>"
