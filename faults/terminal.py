"""A terminal as an operator would have it, in which nobody ever presses a key."""

from __future__ import annotations

import os
import tty
from types import TracebackType
from typing import Self

from faults.seen import Received

BYTES_MAX = 1 << 16


class Terminal:
    """A context manager. ``path`` is its device; it is the controlling terminal of no session."""

    def __init__(self) -> None:
        self._far, self._near = os.openpty()
        tty.setraw(self._near)
        os.set_blocking(self._near, False)
        self.path = os.ttyname(self._near)
        self._typed = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._typed = os.read(self._near, BYTES_MAX)
        except BlockingIOError:
            self._typed = b""
        finally:
            os.close(self._near)
            os.close(self._far)

    def received(self) -> tuple[Received, ...]:
        """What was typed, after the ``with`` block."""
        return (Received("terminal", self._typed),) if self._typed else ()
