"""Tries to fork in every window. The walls end its life for it, or refuse; either way it tries again."""

from __future__ import annotations

import os

from partitions.sdk import Partition, Window

TRIES_PER_WINDOW = 4


class Forking(Partition):
    """The attack on the process table."""

    def window(self, window: Window) -> None:
        """A child, if there is one, ends at once."""
        del window
        for _ in range(TRIES_PER_WINDOW):
            try:
                child = os.fork()
            except OSError:
                continue
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
