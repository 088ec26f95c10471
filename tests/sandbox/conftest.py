"""One template process per test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox import confined


@pytest.fixture(scope="module")
def yard() -> Iterator[confined.Yard]:
    """The yard in which this module's confined processes are built."""
    with confined.yard() as place:
        yield place
