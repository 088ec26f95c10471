"""What ``ablate`` shows: which wall carries which attack, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule as Line
from rich.text import Text

from evidence.ablation import Row
from evidence.experiment import Finding
from evidence.matrix import Matrix
from evidence.outcome import Outcome
from faults import attack_files, catalogue
from faults.words import counted
from sandbox import walls

_STYLES = {1: "bold red", 2: "yellow", 3: "cyan"}


def page(matrix: Matrix) -> Group:
    """The matrix, the cut sets in words, and the walls that matter most and least."""
    return Group(
        Line("which walls carry what", align="left", style="dim"),
        *_grid(matrix),
        Text(),
        Line("what must fall before it gets through", align="left", style="dim"),
        *_cut_sets(matrix),
        Text(),
        Line("what follows", align="left", style="dim"),
        *_conclusions(matrix),
        Text(),
        closing(matrix),
    )


def _grid(matrix: Matrix) -> Iterator[Text]:
    """One line an attack, one column a wall that is in some cut set; the number is the smallest set's size."""
    columns = walls.in_order(matrix.carriers)
    height = max((len(name) for name in columns), default=0)
    for level in range(height):
        letters = (name.rjust(height)[level] for name in columns)
        yield Text(" " * 5 + " ".join(letters), style="bold")
    for row in matrix.rows:
        line = Text(f"{row.attack_id:<5}", style="bold")
        for name in columns:
            size = matrix.size_with(row, name)
            line.append(f"{size or '.'} ", _STYLES.get(size, "default" if size else "dim"))
        line.append("" if row.outcome is Outcome.HELD else f" {row.outcome.value}", "bold yellow")
        line.append(f" {row.variant}" if row.variant else "", "dim")
        yield line
    yield Text(
        "1: this wall alone stops it; 2: it falls with one other; and so on. Dots: it does not matter here.",
        style="dim",
    )


def _cut_sets(matrix: Matrix) -> Iterator[RenderableType]:
    attacks = attack_files.built(matrix.design.folder)
    for row in matrix.rows:
        yield Text(f"{row.name}  ", style="bold").append(attacks[row.attack_id].plain, "default")
        if not row.cuts:
            yield Text(f"     {row.outcome.value}: {row.reason}", style="yellow")
        for cut in row.cuts:
            yield Text(f"     without {in_words(cut.walls)}")
        if row.cuts and not row.is_complete:
            yield Text(
                "     and perhaps other sets: the search was not sure of all of its answers", style="yellow"
            )
    if matrix.on_a_stand_in:
        yield Text(matrix.on_a_stand_in, style="dim")


def in_words(some: frozenset[str]) -> str:
    """``pidns, procfs and uid``."""
    names = walls.in_order(some)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _conclusions(matrix: Matrix) -> Iterator[Text]:
    for name, ids in matrix.alone.items():
        line = Text(f"{name}  ", style="bold red").append("is all that stands against ", "default")
        yield line.append(", ".join(ids), "bold")
    if matrix.idle:
        yield Text("carry nothing here: ", style="bold").append(
            f"{', '.join(matrix.idle)} (no attack of these gets through because one of them is missing)",
            "default",
        )
    for problem in matrix.problems:
        yield Text(problem, style="yellow")


def closing(matrix: Matrix) -> Text:
    """One line: how many attacks, how many cut sets, and whether all of it is sure."""
    held = [row for row in matrix.rows if row.outcome is Outcome.HELD]
    cuts = sum(len(row.cuts) for row in held)
    questions = sum(row.questions for row in matrix.rows)
    style = "bold green" if not matrix.problems else "bold yellow"
    text = Text(
        f"{len(held)} of {counted(len(matrix.rows), 'attack')} held with all walls; "
        f"{counted(cuts, 'minimal cut set')}, found in {counted(questions, 'experiment')}",
        style=style,
    )
    return _labelled(text, matrix.design.label)


def _labelled(text: Text, label: str) -> Text:
    return text.append(f"  {label}", "bold yellow") if label else text


def finding(found: Finding, flaws: Sequence[str], label: str) -> Group:
    """One experiment: its line, what each attack did, how it compares, and what of the design let it through."""
    lines: list[Text] = [Text(found.experiment.line, style="dim")]
    rows, attacks = catalogue.rows(), attack_files.built(found.run.design.folder)
    for one, effect, treated in zip(found.experiment.schedule, found.effects, found.treated, strict=True):
        when = f"in frame {one.frame}" if attacks[one.attack_id].tamper is None else "before power-on"
        lines.append(Text(f"{one.attack_id} {when}: {effect.sentence}"))
        wanted = f"; the catalogue expects {rows[one.attack_id].expected}" if one.attack_id in rows else ""
        lines.append(Text(f"  seen to be done about it: {treated or 'nothing'}{wanted}", "dim"))
    comparison = found.comparison
    if comparison is not None and not found.experiment.without and not found.run.was_refused:
        same = "the same, byte for byte" if comparison.holds else str(comparison.difference or "empty")
        lines.append(
            Text(
                f"the critical partitions' {counted(comparison.messages, 'message')} beside the replay: {same}"
            )
        )
    if found.severity is not None:
        lines.append(Text(f"harm beside the calm twin: {found.severity.name}"))
    lines += [Text(f"flaw: {flaw}", style="bold yellow") for flaw in flaws]
    return Group(*lines, outcome_line(found, label))


def outcome_line(found: Finding, label: str) -> Text:
    """The outcome, why, the design's label, and the journal's chain value."""
    style = "bold green" if found.outcome is Outcome.HELD else "bold red"
    text = Text(f"{found.outcome.value}  ", style=style).append("; ".join(found.reasons), "default")
    chain = f"  chain {found.chain}" if found.chain else ""  # a device that never started has no journal
    return _labelled(text, label).append(chain, "dim")


def progress(row: Row, done: int, total: int, left_s: float | None) -> Text:
    """One line while it goes on."""
    sets = "; ".join(in_words(cut.walls) for cut in row.cuts) or f"{row.outcome.value}: {row.reason}"
    left = f", about {left_s:.0f} s left" if left_s is not None and done < total else ""
    return Text(f"{done} of {total}{left}  {row.name}: {sets}")
