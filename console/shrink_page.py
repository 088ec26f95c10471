"""What ``shrink`` shows: before and after, what was kept, how sure it is, the line and the test."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Group
from rich.rule import Rule as Line
from rich.text import Text

from evidence.experiment import Experiment
from evidence.shrinking import REPEATS, Shrunk, Step
from faults.words import counted
from sandbox import walls


def progress(step: Step) -> Text:
    """One line for each reduction."""
    asked = counted(step.questions, "experiment")
    return Text(f"{step.sentence}  ", style="default").append(
        f"{sizes(step.smallest)}; {asked} so far", "dim"
    )


def page(found: Shrunk) -> Group:
    """Before and after, what is kept, what is gone, and what is in doubt."""
    return Group(heading("what got through, before and after"), *_both(found))


def heading(text: str) -> Line:
    """Above what is to be copied."""
    return Line(text, align="left", style="dim")


def _both(found: Shrunk) -> Iterator[Text]:
    yield Text("before  ", style="bold").append(sizes(found.original), "default")
    yield Text(f"        {found.original.line}", style="dim")
    yield Text("after   ", style="bold").append(sizes(found.smallest), "default")
    yield Text(f"        {found.smallest.line}", style="dim")
    yield Text("still   ", style="bold").append(", ".join(map(str, found.kept)), "red")
    for reason in found.told.reasons:
        yield Text(f"        {reason}")
    if found.lost:
        lost = ", ".join(map(str, found.lost))
        yield Text("gone    ", style="bold").append(lost, "default").append(" (of the original)", "dim")
    for doubt in found.doubts:
        yield Text("doubt   ", style="bold yellow").append(doubt, "yellow")


def sizes(one: Experiment) -> str:
    """``1 injection with 2 parameters, 1 of 50 walls left out, 10 frames``."""
    parameters = sum(len(each.parameters) for each in one.injections)
    with_ = f" with {counted(parameters, 'parameter')}" if parameters else ""
    out = f"{len(one.without)} of {len(walls.ALL)} walls left out" if one.without else "all walls up"
    return f"{counted(len(one.injections), 'injection')}{with_}, {out}, {counted(one.frames, 'frame')}"


def closing(found: Shrunk) -> Text:
    """One line: whether it was made smaller, how sure that is, what it took, and the line."""
    is_same = found.smallest == found.original
    what = (
        "it is as small as it gets"
        if is_same and found.is_whole
        else "shrunk"
        if not is_same
        else "not shrunk"
    )
    sure = f"it got through in {found.confirmed} of {REPEATS} repeats"
    style = "bold green" if found.is_sure and found.is_whole else "bold yellow"
    text = Text(f"{what}: {sizes(found.smallest)}; {sure}", style=style)
    text.append("" if found.is_sure else ": FLAKY", "bold yellow")
    return text.append(f"; {counted(found.questions, 'experiment')}  {found.smallest.line}", "dim")


def one_word(line: str) -> str:
    """The line as a shell takes it for one word, in the quotes that need no others within."""
    is_plain = "'" in line and not set('"$`\\!') & set(line)
    return f'"{line}"' if is_plain else shlex.quote(line)
