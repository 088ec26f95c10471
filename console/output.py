"""Where a command writes: people's text, and the JSON object."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType

from console.as_json import finite, host_times
from console.options import JsonFile

PIPE_WIDTH = 100
PAGE_WIDTH_MAX = 110


class Output:
    """Text goes to standard output, or to standard error when that is where the JSON object goes."""

    def __init__(self, json_file: JsonFile | None, *, is_quiet: bool) -> None:
        self._json_file = json_file
        self._started = datetime.now(UTC)
        self._started_s = time.monotonic()
        self.is_quiet = is_quiet
        # Bound now: a view takes the name sys.stderr over while it runs.
        stream = sys.stderr if json_file and json_file.is_stdout else sys.stdout
        self.console = Console(file=stream, highlight=False, emoji=False, markup=False)
        if not self.console.is_terminal:
            self.console.width = PIPE_WIDTH

    @classmethod
    @contextmanager
    def open(cls, given: Mapping[str, Any]) -> Iterator[Output]:
        """The output that ``--json`` and ``--quiet`` ask for. Raises ``Refused``."""
        name = given.get("json_file")
        json_file = JsonFile(name) if name else None
        try:
            yield cls(json_file, is_quiet=bool(given.get("quiet")))
        finally:
            if json_file is not None:
                json_file.close()

    @property
    def page_width(self) -> int:
        """How wide a page may be."""
        return min(self.console.width, PAGE_WIDTH_MAX)

    @property
    def is_ascii(self) -> bool:
        """Whether the terminal cannot show more than ASCII."""
        return self.console.options.ascii_only

    @property
    def has_colour(self) -> bool:
        """Whether colours come out."""
        return self.console.color_system is not None and not self.console.no_color

    def show(self, page: RenderableType) -> None:
        """A page for people; nothing when quiet. Lines that are not to be folded are longer, and not cut off."""
        if self.is_quiet:
            return
        if self.console.is_terminal:
            self.console.print(page, width=self.page_width, crop=False)
            return
        with self.console.capture() as captured:
            self.console.print(page, width=self.page_width, crop=False)
        lines = (line.rstrip() for line in captured.get().split("\n"))
        self.console.out("\n".join(lines), end="", highlight=False)

    def show_whole(self, text: str) -> None:
        """Text to be copied: its lines are not folded; nothing when quiet."""
        if not self.is_quiet:
            self.console.out(text, highlight=False)

    def verdict(self, line: RenderableType) -> None:
        """The one line that even quiet prints."""
        if self.is_quiet:
            self.console.print(line, soft_wrap=True)

    def write_json(self, found: Mapping[str, Any]) -> None:
        """The JSON object, if it was asked for. Raises ``Refused`` when it cannot be written."""
        if self._json_file is not None:
            whole = dict(found) | host_times(self._started, time.monotonic() - self._started_s)
            self._json_file.write(json.dumps(finite(whole), indent=2, allow_nan=False, ensure_ascii=True))
