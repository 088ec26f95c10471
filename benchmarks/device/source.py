"""Sends as many packets in each window as the design's load says."""

from __future__ import annotations

import importlib

from partitions.sdk import Partition, Setup, Window

_schemas = importlib.import_module("design_schemas")  # exists in an image only


class Source(Partition):
    """The sender of the throughput row."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._packets = [
            _schemas.Packet(bytes((n % 251,)) * _schemas.DATA_BYTES)
            for n in range(_schemas.MESSAGES_PER_FRAME)
        ]

    def window(self, window: Window) -> None:
        """Every packet is encoded anew: encoding is part of sending."""
        for packet in self._packets:
            window.send("packets", packet)
