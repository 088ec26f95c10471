"""Receives packets and tells the world how many."""

from __future__ import annotations

import importlib

from partitions.sdk import Partition, Setup, Window

_schemas = importlib.import_module("design_schemas")  # exists in an image only


class Sink(Partition):
    """The receiver of the throughput row."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._packets = 0

    def window(self, window: Window) -> None:
        """Count what came, and report the sum."""
        self._packets += len(window.received("packets"))
        window.send("tally", _schemas.Tally(self._packets))
