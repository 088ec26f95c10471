"""Takes all the processor time it gets, from its first window until the run ends or it is killed."""

from __future__ import annotations

import time

from partitions.sdk import Partition, Window

#: An end of its own, far behind that of any run, in case everything that should end it fails.
SPIN_S_MAX = 120.0


class Spinning(Partition):
    """The attack on processor time."""

    def window(self, window: Window) -> None:
        """Never returns in time."""
        del window
        end_s = time.monotonic() + SPIN_S_MAX
        while time.monotonic() < end_s:
            pass
