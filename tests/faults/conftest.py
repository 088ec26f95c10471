"""Tests in this folder watch the tree of their own process."""

from __future__ import annotations

import pytest

from tests.faults import stage


@pytest.fixture(autouse=True)
def alone() -> None:
    """A test sees what it starts itself, and no leftovers of others."""
    stage.end_adopted()
