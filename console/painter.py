"""Draws a full screen again and again, and writes to the terminal only the lines that have changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import Segment, Segments


class Painter:
    """Paints what ``draw`` returns a few times a second, from a thread of its own. A context manager.

    Meanwhile the terminal shows its other screen and no cursor; both are as they were afterwards. What ``draw``
    raises ends the painting, and is raised when the context ends.
    """

    def __init__(self, console: Console, draw: Callable[[], RenderableType], refreshes_per_s: float) -> None:
        self._console = console
        self._draw = draw
        self._pause_s = 1.0 / refreshes_per_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="screen", daemon=True)
        self._shown: list[list[Segment]] = []
        self._size = console.size
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._console.show_cursor(True)
        self._console.set_alt_screen(False)
        if self._failure is not None and error is None:
            raise self._failure

    def _go_on(self) -> None:
        try:
            while not self._is_over.is_set():
                self.paint()
                self._is_over.wait(self._pause_s)
        except Exception as error:  # told when the context ends; a thread has nobody to tell
            self._failure = error

    def paint(self) -> None:
        """Draw once, and write the lines that differ from what stands there."""
        size = self._console.size
        if size != self._size:
            self._size, self._shown = size, []
        options = self._console.options.update_dimensions(size.width, size.height)
        lines = self._console.render_lines(self._draw(), options)
        changed: list[Segment] = []
        for row, line in enumerate(lines):
            if row >= len(self._shown) or self._shown[row] != line:
                changed += [Control.move_to(0, row).segment, *line]
        self._shown = lines
        if changed:
            self._console.print(Segments(changed), end="", crop=False, soft_wrap=True)
