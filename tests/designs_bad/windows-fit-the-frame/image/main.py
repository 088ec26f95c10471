"""Partitions that do nothing: the design is refused before any of them starts."""

from partitions.sdk import Partition, Window


class Heart(Partition):
    """Does nothing."""

    def window(self, window: Window) -> None:
        """Does nothing."""


class Radio(Partition):
    """Does nothing."""

    def window(self, window: Window) -> None:
        """Does nothing."""
