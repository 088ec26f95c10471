"""A therapy reduced to its rhythm: it sends one packet in each window."""

from __future__ import annotations

import importlib

from partitions.sdk import Partition, Setup, Window

_schemas = importlib.import_module("design_schemas")  # exists in an image only


class Beating(Partition):
    """What must not be late."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._packet = _schemas.Packet(bytes(32))

    def window(self, window: Window) -> None:
        """One beat."""
        window.send("packets", self._packet)
