"""Partitions that do nothing: the design is refused before any of them starts."""

from partitions.sdk import Partition


class Heart(Partition):
    """Does nothing."""


class Radio(Partition):
    """Does nothing."""
