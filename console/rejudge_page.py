"""What ``rejudge`` shows: first in one line what would change, then each change, then what cannot be told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.rule import Rule as Line
from rich.table import Table
from rich.text import Text

from console.journal_page import sanitised
from faults.words import counted
from monitor import journal
from monitor.design import Design
from monitor.rejudge import ADMITTED, DISCARDED, Horizon, MessageChange, Rejudged

#: How many rows of one table are shown; the rest is counted.
ROWS_MAX = 40
_NOT_JUDGED = (
    "not judged again, for a journal does not hold what was used: window, processor, memory and log bounds"
)


@dataclass(frozen=True, slots=True)
class Told:
    """What was judged again: which recording, under which design, and what came of it."""

    header: journal.Header
    frames: int
    problem: str  # why the recording is not whole, or empty
    design: Design
    found: Rejudged

    @property
    def is_same_design(self) -> bool:
        """Whether the recording was made under this very design."""
        return self.header.design_digest == self.design.digest

    @property
    def holds(self) -> bool:
        """Whether nothing would differ, and nothing that might is left untold."""
        return not self.found.differs and self.found.is_told and not self.problem


def page(told: Told) -> Group:
    """The whole page."""
    found = told.found
    parts: list[RenderableType] = [closing(told), *_under(told)]
    for heading, table in (
        ("messages", _messages(found)),
        ("what events would come to", _actions(found)),
        ("only one of the two has", _missing(found)),
    ):
        if table.row_count:
            parts += [Text(), Line(heading, align="left", style="dim"), table]
    limits = list(_limits(told))
    if limits:
        parts += [Text(), Line("what the recording cannot tell", align="left", style="dim"), *limits]
    return Group(*parts, Text(_NOT_JUDGED, style="dim"))


def closing(told: Told) -> Text:
    """What would change, in one line."""
    found = told.found
    scope = f"{counted(found.judged_messages, 'message')} and {counted(found.judged_events, 'event')}"
    scope = f"{scope} of {counted(told.frames, 'frame')}, judged again under {told.design.name}"
    if told.holds:
        return Text("NOTHING WOULD DIFFER  ", style="bold green").append(scope, "default")
    if not found.differs:
        why = told.problem or "nothing differs in what was kept, but not all was"
        return Text("CANNOT BE TOLD  ", style="bold yellow").append(f"{why}; {scope}", "default")
    return Text("WOULD DIFFER  ", style="bold red").append(f"{'; '.join(_counts(found))}; {scope}", "default")


def _counts(found: Rejudged) -> Iterator[str]:
    """What differs for sure, by kind, and how much more if all had sent the same."""
    sure = [one for one in found.messages if one.is_sure]
    for words, number in (
        ("admitted then, refused now", sum(m.messages for m in sure if _is_refused_now(m))),
        ("admitted then, lost with the window now", sum(m.messages for m in sure if _is_lost(m))),
        ("refused then, lost with the window now", sum(m.messages for m in sure if _is_lost_now(m))),
        ("refused then, admitted now", sum(m.messages for m in sure if m.now == ADMITTED)),
        ("refused for another reason", sum(m.messages for m in sure if _is_refused_again(m))),
    ):
        if number:
            yield f"{counted(number, 'message')} {words}"
    actions = sum(one.is_sure for one in found.actions)
    if actions:
        yield f"{counted(actions, 'event')} with another action"
    gone = [each for each in found.missing if not each.is_new]
    if gone:
        yield f"{counted(len(gone), 'name')} not in this design"
    unsure = sum(m.messages for m in found.messages if not m.is_sure) + sum(
        not one.is_sure for one in found.actions
    )
    if unsure:
        yield f"{unsure} more if everybody had gone on to send the same"


def _is_refused_now(one: MessageChange) -> bool:
    return one.then == ADMITTED and one.now != DISCARDED


def _is_lost(one: MessageChange) -> bool:
    return one.then == ADMITTED and one.now == DISCARDED


def _is_lost_now(one: MessageChange) -> bool:
    return one.then != ADMITTED and one.now == DISCARDED


def _is_refused_again(one: MessageChange) -> bool:
    return one.then != ADMITTED and one.now not in (ADMITTED, DISCARDED)


def _under(told: Told) -> Iterator[Text]:
    same = "the very design" if told.is_same_design else "a design"
    yield Text(
        f"recorded under {sanitised(told.header.design)} {sanitised(told.header.design_digest[:12])}, judged again "
        f"under {same} {told.design.name} {told.design.digest[:12]}",
        style="dim",
    )
    if told.header.without:
        yield Text(f"without {sanitised(', '.join(told.header.without))}, as recorded", style="yellow")
    if told.problem:
        yield Text(sanitised(told.problem), style="bold yellow")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("messages", "times") else "left")
    return table


def _filled(table: Table, rows: Mapping[tuple[str, ...], tuple[list[int], int]], *, sure_at: int) -> Table:
    """One line a kind of change: its frames, its words, how often; what is sure first."""
    ordered = sorted(rows.items(), key=lambda row: (row[0][sure_at] != "", row[1][0][0]))
    for key, (frames, number) in ordered[:ROWS_MAX]:
        words = [sanitised(word) for word in key]
        table.add_row(_span(frames), *words[:sure_at], str(number), words[sure_at])
    left = len(ordered) - ROWS_MAX
    if left > 0:
        table.add_row("...", f"and {left} more kinds (--json has all)")
    return table


def _span(frames: Iterable[int]) -> str:
    """``97``, ``97-99`` or ``97, 101, ...``."""
    numbers = sorted(set(frames))
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(map(str, numbers[:3])) + (f", ... {numbers[-1]}" if len(numbers) > 3 else "")


def _messages(found: Rejudged) -> Table:
    rows: dict[tuple[str, ...], tuple[list[int], int]] = {}
    for one in found.messages:
        now = f"{_verdict(one.now)} ({one.event})" if one.event else _verdict(one.now)
        key = (one.port or one.partition, _verdict(one.then), now, _if_same(is_sure=one.is_sure))
        frames, number = rows.get(key, ([], 0))
        rows[key] = ([*frames, one.frame], number + one.messages)
    return _filled(_table("frame", "port", "then", "now", "messages", ""), rows, sure_at=3)


def _verdict(word: str) -> str:
    if word == DISCARDED:
        return "lost with its window"
    return word if word == ADMITTED else f"refused: {word}"


def _if_same(*, is_sure: bool) -> str:
    return "" if is_sure else "if it had sent the same"


def _actions(found: Rejudged) -> Table:
    rows: dict[tuple[str, ...], tuple[list[int], int]] = {}
    for one in found.actions:
        key = (one.partition, one.event, one.then, one.now, _if_same(is_sure=one.is_sure))
        frames, number = rows.get(key, ([], 0))
        rows[key] = ([*frames, one.frame], number + 1)
    return _filled(_table("frame", "partition", "event", "then", "now", "times", ""), rows, sure_at=4)


def _missing(found: Rejudged) -> Table:
    table = _table("what", "name", "where", "messages")
    for one in found.missing[:ROWS_MAX]:
        where = "in this design only" if one.is_new else "in the recording only"
        table.add_row(one.what, sanitised(one.name), where, str(one.messages) if one.messages else "")
    return table


def _limits(told: Told) -> Iterator[Text]:
    found = told.found
    for horizon in found.horizons:
        yield Text(horizon_sentence(horizon))
    for name, number in found.unsent.items():
        words = (
            f"{sanitised(name)} would be off; {counted(number, 'message')} recorded later would not be there"
        )
        if number:
            yield Text(words)
    kinds: dict[tuple[str, str], tuple[list[int], int]] = {}
    for one in found.untold:
        frames, number = kinds.get((one.port or one.partition, one.reason), ([], 0))
        kinds[one.port or one.partition, one.reason] = ([*frames, one.frame], number + one.messages)
    for (port, reason), (frames, number) in list(kinds.items())[:ROWS_MAX]:
        yield Text(
            f"{counted(number, 'message')} on {sanitised(port)} refused ({sanitised(reason)}) in frame "
            f"{_span(frames)}: the bytes were not kept; taken as refused again",
            style="yellow",
        )
    if not told.is_same_design:
        for name, number in found.overflows.items():
            yield Text(
                f"{sanitised(name)} would lose {counted(number, 'message')} for want of depth; whether it lost "
                "them then is not in the recording"
            )


def horizon_sentence(horizon: Horizon) -> str:
    """``from frame 98 on what transfer would have done is not in the recording: ...``."""
    return (
        f"from frame {horizon.frame} on, what {sanitised(horizon.partition)} would have done is not in the "
        f"recording: {sanitised(horizon.why)}"
    )
