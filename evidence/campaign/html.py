"""A campaign as one self-contained HTML page: no script, nothing fetched."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from evidence.campaign.results import Result
from evidence.campaign.statistics import Latency
from evidence.campaign.tally import NO_ANSWER, TOLD_MAX, Family, Tally, per_cent, told, walls_told
from evidence.command import command
from evidence.outcome import Outcome
from faults import attack_files
from faults.words import counted
from monitor.design import Design

_FILLS = {
    Outcome.HELD: "#4d7c5b",
    Outcome.BREACH: "#b3261e",
    Outcome.VACUOUS: "#c9c2b6",
    Outcome.MASKED_BY_HOST: "#9db4c0",
    Outcome.NOT_ACTIVATED: "#c9c2b6",
    Outcome.UNKNOWN: "#e8a33a",
    Outcome.NO_REPLY: "#e8833a",
}
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 980px; padding: 0 1rem; color: #1c1b1a; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.lead { font-size: 1.1rem; } .not { color: #9a3412; font-weight: 600; } .scroll { overflow-x: auto; }
code { font-size: .9em; background: #f3f1ec; padding: .05rem .3rem; overflow-wrap: anywhere; }
.key span { display: inline-block; width: 1em; height: 1em; margin: 0 .35em 0 1em; vertical-align: -.15em; }
.key { margin-left: -1em; } table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .35rem 1rem .35rem 0; border-bottom: 1px solid #e7e2da; }
th { font-size: .9rem; } td:last-child, th:last-child { padding-right: 0; white-space: nowrap; }
td:nth-child(3) { width: 38%; } .bar { display: flex; height: 1.1em; margin-top: .2em; }
svg { max-width: 100%; height: auto; } text { font: 12px system-ui, sans-serif; fill: #1c1b1a; }
"""


def page(found: Tally, design: Design, flaws: Sequence[str] = ()) -> str:
    """The whole page. ``flaws``: what of the design is known to have let something through, as sentences."""
    title = f"{design.name}: a campaign of {counted(found.campaign.trials, 'trial')}"
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *_lead(found, design),
            *(f'<p class="not">Flaw: {escape(one)}</p>' for one in flaws),
            "<h2>Attack by attack, behind all walls</h2>",
            _key(found),
            '<div class="scroll">',
            *_families(found, design),
            "</div>",
            "<h2>By phase of the therapy</h2><ul>",
            *(
                f"<li>{escape(name)}: {escape(told(cell.breaches))}</li>"
                for name, cell in found.by_phase.items()
            ),
            "</ul><h2>From a violation to the last process gone</h2>",
            _kills(found.kills),
            *_notable("What got through", found.breaches),
            *_notable("Without an answer", found.without_answer),
            *_notable("Not counted", found.without_count),
            *_limits(found, design),
            "</body></html>",
        )
    )


def _lead(found: Tally, design: Design) -> Iterator[str]:
    if design.label:
        yield f'<p class="not">{escape(design.label)}</p>'
    yield f'<p class="lead"><b>{escape(told(found.walled.breaches))}</b>, over trials whose attack ran, and had its'
    yield f" effect when the same was tried without walls; {escape(walls_told(found.standing))}.</p>"
    if found.walled.of(*NO_ANSWER):
        yield f"<p>If every trial without an answer were a breach: {escape(told(found.walled.breaches_at_worst))}.</p>"
    for problem in found.problems:
        yield f'<p class="not">{escape(problem)}</p>'


def _key(found: Tally) -> str:
    shown = [one for one in _FILLS if found.walled.of(one)]
    spans = (f'<span style="background:{_FILLS[one]}"></span>{one.value}' for one in shown)
    return f'<p class="key">{"".join(spans)}</p>'


def _families(found: Tally, design: Design) -> Iterator[str]:
    """A row a family: what it does, a bar of its trials by outcome, and how many breaches there may be."""
    attacks = attack_files.built(design.folder)
    most = max((one.cell.trials for one in found.families), default=1)
    headings = ("", "attack", "trials", "breaches at 95 %")
    yield f"<table><tr>{''.join(f'<th>{heading}</th>' for heading in headings)}</tr>"
    for one in found.families:
        bounds = one.cell.breaches
        limit = f"≤ {per_cent(bounds.upper)} of {bounds.of:,}" if bounds.of else "unknown"
        yield f"<tr><td><b>{escape(one.attack_id)}</b></td><td>{escape(attacks[one.attack_id].plain)}</td>"
        yield f"<td>{_bar(one, most)}</td><td>{limit}</td></tr>"
    yield "</table>"


def _bar(one: Family, most: int) -> str:
    """As long as its share of the trials of the family that has ``most``."""
    parts = []
    for outcome, fill in _FILLS.items():
        count = one.cell.of(outcome)
        if count:
            words = f"{one.attack_id}: {count:,} {outcome.value}"
            parts.append(f'<span style="flex:{count};background:{fill}" title="{escape(words)}"></span>')
    return (
        f'<div class="bar" style="width:{100 * one.cell.trials / max(most, 1):.1f}%">{"".join(parts)}</div>'
    )


def _kills(kills: Latency) -> str:
    """The share of kills done within a time, the time on a logarithmic scale."""
    if not kills.count:
        return "<p>No partition was killed.</p>"
    left, bottom, width, height = 46, 220, 640, 200
    low, high = math.log10(max(kills.times_ms[0], 0.1)), math.log10(max(kills.times_ms[-1] * 1.2, 1.0))

    def across(time_ms: float) -> float:
        return left + width * (math.log10(max(time_ms, 0.1)) - low) / max(high - low, 1e-9)

    path, share_before = [f"M{left},{bottom}"], 0.0
    for time_ms, share in zip(kills.times_ms, kills.share, strict=True):
        x = across(time_ms)
        path.append(f"L{x:.1f},{bottom - height * share_before:.1f}L{x:.1f},{bottom - height * share:.1f}")
        share_before = share
    path.append(f"L{left + width},{bottom - height * share_before:.1f}")
    parts = [f'<svg role="img" viewBox="0 0 {left + width + 60} {bottom + 44}" width="{left + width + 60}">']
    for share in (0.0, 0.5, 0.99):
        y = bottom - height * share
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" stroke="#e7e2da"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{100 * share:.0f} %</text>')
    for power in range(math.ceil(low), math.floor(high) + 1):
        for digit in (1, 2, 5):
            tick = digit * 10.0**power
            if low <= math.log10(tick) <= high:
                x = across(tick)
                parts.append(
                    f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}" stroke="#57534e"/>'
                )
                parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{left + width}" y="{bottom + 38}" text-anchor="end">milliseconds</text>')
    parts.append(f'<path d="{"".join(path)}" fill="none" stroke="#3b5b7a" stroke-width="2"/></svg>')
    rest = f"; {kills.censored:,} trials without an answer count as longer" if kills.censored else ""
    return f"{''.join(parts)}<p>{counted(kills.count, 'kill')}{rest}.</p>"


def _notable(title: str, some: tuple[Result, ...]) -> Iterator[str]:
    if not some:
        return
    yield f"<h2>{escape(title)}</h2><ul>"
    for one in some[:TOLD_MAX]:
        yield f"<li><b>{escape(one.attack_id)}</b> {escape(one.outcome)}: {escape(one.reason)}<br>"
        yield f"<code>{escape(one.line)}</code></li>"
    if len(some) > TOLD_MAX:
        yield f"<li>and {len(some) - TOLD_MAX:,} more</li>"
    yield "</ul>"


def _limits(found: Tally, design: Design) -> Iterator[str]:
    yield "<h2>What this does not show</h2><ul>"
    yield "<li>The bound holds for attacks, parameters, days and phases drawn as this campaign draws them, on this"
    yield " host; it says nothing of attacks that are not in the catalogue.</li>"
    yield "<li>Virtual time hides timing between partitions; the real-clock figures are another verb's.</li>"
    yield f"<li>Design {escape(design.digest[:16])}, seed {found.campaign.seed}: the same options try the same again."
    if found.breaches or found.without_answer or found.without_count:
        yield f" Each line above is an experiment, which <code>{escape(command())} replay</code> runs again."
    yield "</li></ul>"
