"""The live screen as a function of the scene: header, glucose curve, insulin, and what happens."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from console import plot, telling
from console.scene import Scene
from console.telling import Line
from sandbox import walls
from world.truth import Truth

WIDTH_MIN, HEIGHT_MIN = 50, 18
SLOT_MIN = 5
GLUCOSE_LOW, GLUCOSE_HIGH = telling.SHOWN_LOWEST_MG_DL, 280.0
TARGET_BAND = (70.0, 180.0)
WALLED_STYLE, OPEN_STYLE, LOW_STYLE = "cyan", "bright_red", "bold red"
_STYLES = {
    "attack": "bold yellow",
    "wall": "green",
    "life": "cyan",
    "bad": "bold red",
    "device": "bold",
    "log": "dim",
    "patient": "default",
}
_MARKS = {"attack": "▶", "wall": "■", "life": "↻", "bad": "✖", "device": "●", "log": " ", "patient": "♥"}
#: Only measures words; never writes.
_WRAPPER = Console(width=200)
_ASCII_MARKS = {
    "attack": ">",
    "wall": "#",
    "life": "+",
    "bad": "x",
    "device": "*",
    "log": " ",
    "patient": "~",
}


def is_big_enough(width: int, height: int) -> bool:
    """Whether a live screen makes sense."""
    return width >= WIDTH_MIN and height >= HEIGHT_MIN


def screen(
    scene: Scene, width: int, height: int, now_s: float, *, is_ascii: bool = False, is_paced: bool = False
) -> Group:
    """Everything, exactly ``height`` lines or fewer."""
    parts: list[RenderableType] = [*_header(scene, width, now_s, is_ascii=is_ascii, is_paced=is_paced)]
    used = len(parts)
    if scene.truths:  # an earlier run's while this one switches on: the screen does not jump
        plot_height = min(max(height // 3, 6), 14)
        parts += _patient(scene, width, plot_height, is_ascii=is_ascii)
        used += plot_height + 5
    parts.append(_events(scene, width, max(height - used, 3), is_ascii=is_ascii))
    return Group(*parts)


def _header(scene: Scene, width: int, now_s: float, *, is_ascii: bool, is_paced: bool) -> list[Text]:
    subject = scene.subject
    name = Text(" Bulkhead ", style="bold reverse")
    name.append(f" {subject.design.name}", "bold")
    name.append(f"  patient {subject.patient}  seed {subject.seed}")
    if scene.degraded:
        name.append(f"  {scene.degraded}", "bold yellow")
    paced = "; paced for viewing" if is_paced else ""
    walls_line = _first_that_fits(
        [Text(f" {sentence}{paced}", style="dim") for sentence in _walls_sentences(scene)], width
    )
    total = len(scene.runs)
    run = Text(f" {scene.clock} ", style="bold reverse" if scene.run_name != "open" else "bold white on red")
    run.append(f" run {scene.run_number} of {total}: " if total > 1 else " ")
    run.append(scene.title, "bold red" if scene.run_name == "open" else "bold")
    if scene.attacks_begun:
        run.append(f", attack {scene.attacks_begun} of {scene.subject.attacks}")
    left_s = scene.seconds_left(now_s)
    tail = f" {scene.share_done:4.0%}  {'' if left_s is None else f'{left_s:.0f} s left'}"
    progress = Text(
        " " + plot.bar(scene.share_done, max(width - len(tail) - 2, 4), is_ascii=is_ascii), style="cyan"
    )
    progress.append(tail, "default")
    lines = [name, walls_line, run, progress]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _walls_sentences(scene: Scene) -> list[str]:
    """The longest first."""
    if scene.walls is None:
        return ["switching on ..."]
    if not scene.walls.standing:
        return [scene.walls.sentence(), f"no wall stands: all {len(walls.WALLS)} are left out"]
    count = len(scene.walls.unavailable)
    short = f"{len(scene.walls.standing)} of {len(walls.WALLS)} walls stand, {count} unavailable on this host"
    return [scene.walls.sentence(), short] if count else [scene.walls.sentence()]


def _first_that_fits(versions: list[Text], width: int) -> Text:
    """The first of several ways to say it that is not too wide, or the last one."""
    return next((text for text in versions if len(text) <= width), versions[-1])


def axes(points: int) -> plot.Axes:
    """The glucose plot's axes for a run of ``points`` minutes."""
    return plot.Axes(points, GLUCOSE_LOW, GLUCOSE_HIGH, TARGET_BAND, points / 60.0)


def too_low(truth: Truth) -> Iterator[Text]:
    """A line about values that the plot cuts off, where there are any."""
    if any(value < GLUCOSE_LOW for value in truth.glucose_mg_dl):
        text = f"     <{GLUCOSE_LOW:.0f}: far too low; the model goes on to where no patient would be alive"
        yield Text(text, style="dim")


def _patient(scene: Scene, width: int, plot_height: int, *, is_ascii: bool) -> list[RenderableType]:
    """The curve and the doses in a frame (``plot_height`` + 4 lines), and a line of how the patient is."""
    truth = scene.truth
    minutes = scene.subject.frames * scene.subject.design.frame_ms // 60_000
    is_open = scene.run_name == "open"
    has_earlier = scene.run_name != "attacked" and "attacked" in scene.truths
    curves = [plot.Curve(scene.truths["attacked"].glucose_mg_dl, "dim cyan")] if has_earlier else []
    if truth is not None:
        curves.append(plot.Curve(truth.glucose_mg_dl, OPEN_STYLE if is_open else WALLED_STYLE, LOW_STYLE))
    lines = plot.chart(curves, axes(max(minutes, 1)), width - 4, plot_height, is_ascii=is_ascii)
    columns = max(width - 4 - plot.AXIS_CHARS, 4)
    doses = truth.delivered_u if truth is not None else ()
    spark = plot.sparkline(doses, max(minutes // SLOT_MIN, 1), columns, is_ascii=is_ascii)
    lines.append(Text("dose ", style="dim").append(spark, "magenta"))
    title = "true glucose in mg/dL, dotted from 70 to 180; insulin doses below"
    if has_earlier:
        title = "true glucose in mg/dL; faint: run 1, behind the walls; doses below"
    panel = Panel(Group(*lines), title=title, title_align="left", border_style="red" if is_open else "dim")
    return [panel, _feeling(scene, truth, width)]


def _is_suspended(scene: Scene) -> bool:
    truth = scene.truth
    return bool(
        truth and truth.suspended_min and truth.suspended_min[-1] >= len(truth.glucose_mg_dl) - SLOT_MIN
    )


def _feeling(scene: Scene, truth: Truth | None, width: int) -> Text:
    """How the patient is, what was delivered, and whether the pump still believes its commands.

    Where it is narrow, in fewer words: what the pump does stands last, and must not be cut off.
    """
    if truth is None:
        return Text(" switching on ...", style="dim")
    is_low = bool(truth.glucose_mg_dl) and truth.glucose_mg_dl[-1] < TARGET_BAND[0]
    is_suspended = _is_suspended(scene)
    long = "pump suspended by its watchdog" if is_suspended else "pump delivering"
    short = "pump suspended" if is_suspended else "pump delivering"
    full = telling.patient_sentence(truth.glucose_mg_dl)
    brief = full.replace("the patient is ", "").replace("the patient ", "")
    total = f"{sum(truth.delivered_u):.1f} U"
    rows = []
    for patient, insulin, pump in (
        (full, f"   insulin {total}   ", long),
        (full, f"   {total}   ", short),
        (brief, f"  {total}  ", short),
        (brief.partition(":")[0], "  ", short),
    ):
        row = Text(f" {patient}", style=LOW_STYLE if is_low else "bold").append(insulin, "dim")
        rows.append(row.append(pump, "bold red" if is_suspended else "dim"))
    row = _first_that_fits(rows, width)
    row.truncate(width, overflow="ellipsis")
    return row


def _events(scene: Scene, width: int, height: int, *, is_ascii: bool) -> Panel:
    """The latest rows that fit; the attack that is going on keeps the top row when it would be pushed out."""
    room = max(height - 2, 1)
    rows: list[Text] = []
    attack: list[Text] | None = None
    for line in reversed(scene.lines):
        of_line = event_rows(line, scene.subject.design.frame_ms, width - 4, is_ascii=is_ascii)
        if line.kind == "attack" and attack is None:
            attack = of_line if len(of_line) + len(rows) > room else []
        rows = [*of_line, *rows]
        if len(rows) >= room and (attack is not None or not scene.attacks_begun):
            break
    if not rows and scene.frame == 0:
        rows = [Text("switching on: the walls are raised, every partition starts ...", style="dim")]
    shown = rows[-room:]
    if attack and room > 1:
        shown = [_in_one_row(attack, width - 4, is_ascii=is_ascii), *rows[len(rows) - room + 1 :]]
    return Panel(Group(*shown), title="what happens", title_align="left", border_style="dim", height=height)


def _in_one_row(rows: list[Text], width: int, *, is_ascii: bool) -> Text:
    row = rows[0].copy()
    if len(rows) > 1:
        row.truncate(width - 1)
        row.append("~" if is_ascii else "…")
    return row


def event_rows(line: Line, frame_ms: int, width: int, *, is_ascii: bool = False) -> list[Text]:
    """One line of the story, at most two rows; consequences are indented under their attack."""
    marks = _ASCII_MARKS if is_ascii else _MARKS
    is_head = line.kind in ("attack", "device")
    lead = f"{telling.clock_text(line.frame, frame_ms):>5} " if is_head else " " * 6
    row = Text(f"{lead}{marks[line.kind]} ", style=_STYLES[line.kind])
    if line.attack_id and line.kind == "attack":
        row.append(f"{line.attack_id} ")
    room = max(width - len(row), 10)
    words = Text(line.text, style=_STYLES[line.kind]).wrap(_WRAPPER, room)
    rows = [row + words[0]] if words else [row]
    if len(words) > 1:
        second = words[1]
        if len(words) > 2:
            second.truncate(room - 1)
            second.append("~" if is_ascii else "…")
        rows.append(Text(" " * len(row)) + second)
    return rows
