"""Three ways to watch: a live screen on a terminal, plain lines in a pipe, nothing at all."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console, Group
from rich.text import Text

from console.painter import Painter
from console.scene import Scene, Subject
from console.screen import is_big_enough, screen
from console.telling import Line, clock_text
from faults.experiment import Ears
from ipc_schemas import links

REFRESHES_PER_S = 5
#: The longest pause after a frame, and how long a frame is meant to last on the screen.
PAUSE_S_MAX = 0.04
FRAME_S = 0.045
#: The longest silence in a pipe.
QUIET_S_MAX = 2.0

_MARKS = {"attack": "!", "wall": "#", "life": "+", "bad": "x", "device": "*", "log": ".", "patient": "~"}


class View(Protocol):
    """Someone who watches runs; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, name: str, number: int, total: int) -> Ears:
        """A run begins: the ears that listen to it."""


class Silent:
    """Watches nothing; what the world says on standard error meanwhile is not heard either."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, _name: str, _number: int, _total: int) -> Ears:
        """No ears."""
        return Ears()


class Plain:
    """Lines, as they happen; where nothing happens for ``quiet_s_max`` seconds, a line that says how far it is."""

    def __init__(
        self,
        console: Console,
        subject: Subject,
        runs: dict[str, tuple[str, float]],
        quiet_s_max: float = QUIET_S_MAX,
    ) -> None:
        self._console = console
        self._scene = Scene(subject, runs, self._tell)
        self._stack = contextlib.ExitStack()
        self._quiet_s_max = quiet_s_max
        self._printed_s = time.monotonic()
        self._is_over = threading.Event()
        self._ticker = threading.Thread(target=self._watch_silence, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._stack.enter_context(contextlib.redirect_stderr(_ToScene(self._scene)))
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._ticker.join()
        self._stack.close()

    def _watch_silence(self) -> None:
        """A thread of its own: while a partition hangs, or a frame of a real clock lasts, nobody else is called."""
        while True:
            left_s = self._printed_s + self._quiet_s_max - time.monotonic()
            if self._is_over.wait(max(left_s, 0.0)):
                return
            if time.monotonic() - self._printed_s >= self._quiet_s_max:
                self._print(Text(progress_line(self._scene), style="dim"))

    def _print(self, line: Text) -> None:
        self._printed_s = time.monotonic()
        self._console.print(line, soft_wrap=True)

    def begin(self, name: str, number: int, total: int) -> Ears:
        """A heading, and ears that print."""
        self._scene.begin(name, number)
        of = f"run {number} of {total}: " if total > 1 else ""
        self._print(Text(f"== {of}{self._scene.title}", style="bold"))
        return Ears(self._hear, self._scene.see)

    def _hear(self, note: links.Note) -> None:
        self._scene.hear(note)
        if note.kind == "walls" and self._scene.walls is not None:
            self._print(Text(f"         {self._scene.walls.sentence()}"))
            if self._scene.degraded:
                self._print(Text(f"         {self._scene.degraded}", style="bold yellow"))

    def _tell(self, line: Line) -> None:
        self._print(plain_line(line, self._scene.subject.design.frame_ms))


def progress_line(scene: Scene) -> str:
    """``      .   still running: 15:00, frame 180 of 288, 62% of all; waiting for transfer ...``."""
    done = f"frame {scene.frame} of {scene.subject.frames}, {scene.share_done:.0%} of all"
    waits_for = scene.waits_for(time.monotonic())
    waiting = f"; waiting for {waits_for}" if waits_for else ""
    return f"      {_MARKS['log']}   still running: {scene.clock}, {done}{waiting}"


def plain_line(line: Line, frame_ms: int) -> Text:
    """``08:00 ! K01 It tries to ...``; what follows from an attack is indented below it."""
    if line.kind in ("attack", "device"):
        name = f"{line.attack_id} " if line.attack_id else ""
        return Text(f"{clock_text(line.frame, frame_ms)} {_MARKS[line.kind]} {name}{line.text}")
    return Text(f"      {_MARKS[line.kind]}   {line.text}")


class OnScreen:
    """A full screen that redraws itself, a few times a second, while the run goes on.

    With ``is_paced`` the first run is slowed down so that it can be followed: the world's hardware answers
    each frame up to ``PAUSE_S_MAX`` later. Logical time knows nothing of it, so no byte changes.
    """

    def __init__(
        self, console: Console, subject: Subject, runs: dict[str, tuple[str, float]], *, is_paced: bool
    ) -> None:
        self._console = console
        self._is_paced = is_paced
        self._scene = Scene(subject, runs)
        self._stack = contextlib.ExitStack()
        self._frame_began_s = 0.0

    def __enter__(self) -> Self:
        self._stack.enter_context(Painter(self._console, self._draw, REFRESHES_PER_S))
        self._stack.enter_context(contextlib.redirect_stderr(_ToScene(self._scene)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, name: str, number: int, _total: int) -> Ears:
        """Ears that fill the screen."""
        self._scene.begin(name, number)
        is_paced = self._is_paced and number == 1
        return Ears(self._scene.hear, self._see_slowly if is_paced else self._scene.see)

    def _see_slowly(self, frame: int, world: Any) -> None:
        self._scene.see(frame, world)
        left_s = self._frame_began_s + FRAME_S - time.monotonic()
        time.sleep(min(max(left_s, 0.0), PAUSE_S_MAX))
        self._frame_began_s = time.monotonic()

    def _draw(self) -> Group:
        size = self._console.size
        is_ascii = self._console.options.ascii_only
        paced = self._is_paced and self._scene.run_number == 1
        return screen(
            self._scene, size.width, size.height, time.monotonic(), is_ascii=is_ascii, is_paced=paced
        )


class _ToScene(io.TextIOBase):
    """Standard error of this process, in which the world lives: whole lines become lines of the story."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._rest = ""

    def write(self, text: str) -> int:
        """Take text; pass on whole lines."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            shown = "".join(c if c.isprintable() else " " for c in line)[:200]
            self._scene.tell(Line(self._scene.frame, "log", f"the world notices: {shown}"))
        return len(text)


def view_for(
    console: Console,
    subject: Subject,
    runs: dict[str, tuple[str, float]],
    *,
    is_quiet: bool,
    is_paced: bool = False,
) -> View:
    """The way of watching that fits where the output goes."""
    if is_quiet:
        return Silent()
    is_plain = not console.is_terminal or console.is_dumb_terminal
    if not is_plain and is_big_enough(console.size.width, console.size.height):
        return OnScreen(console, subject, runs, is_paced=is_paced)
    return Plain(console, subject, runs)
