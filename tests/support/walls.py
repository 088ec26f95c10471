"""``require_wall``: run a test only where the kernel can hold the wall it is about."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import pytest


def require_wall(*names: str) -> None:
    """Skip the calling test, saying why, unless this host enforces each wall of ``names``.

    With ``WALLS_MUST_HOLD=1`` the skip is a failure (``tests/conftest.py``). Raises ``KeyError`` for a name
    that the passport does not know, so that a misspelt wall cannot skip its test for ever.
    """
    passport = _passport()
    for name in names:
        stamp = passport[name]
        if stamp.state != "enforced":
            pytest.skip(f"wall {name} is {stamp.state}: {stamp.why}")


@functools.cache
def _passport() -> dict[str, Any]:
    """What the host enforces, probed once per test process."""
    try:
        passport = importlib.import_module("sandbox.passport")
    except ModuleNotFoundError as error:
        pytest.skip(f"wall unknown: {error}")
    return {stamp.wall: stamp for stamp in passport.probe().stamps}
