"""Sends a message of another type than its port's, as the first thing it does in each life."""

from __future__ import annotations

import importlib

from partitions.sdk import Partition, Window

_schemas = importlib.import_module("design_schemas")  # exists in an image only


class Violator(Partition):
    """The partition that is killed again and again."""

    def window(self, window: Window) -> None:
        """One violation."""
        window.send("packets", _schemas.Tally(0))
