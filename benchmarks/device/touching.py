"""Writes to all the memory it is allowed, page by page, without end."""

from __future__ import annotations

import time

from partitions.sdk import Partition, Window

TOUCHED_BYTES = 48 << 20
PAGE_BYTES = 4_096
TOUCH_S_MAX = 120.0


class Touching(Partition):
    """The attack on memory bandwidth and caches."""

    def window(self, window: Window) -> None:
        """Never returns in time.

        Asks for more than its limit first, which must fail, then uses what it has.
        """
        del window
        memory = bytearray(TOUCHED_BYTES)
        line = bytes(range(256)) * (PAGE_BYTES // 256) * 16
        end_s = time.monotonic() + TOUCH_S_MAX
        while time.monotonic() < end_s:
            for start in range(0, TOUCHED_BYTES - len(line), len(line)):
                memory[start : start + len(line)] = line
