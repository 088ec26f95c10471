"""``require_wall``: run a test only where the kernel can hold the wall it is about."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import pytest

_PROGRAM = """
import json
from sandbox import passport
print(json.dumps({entry.wall: [entry.state(), entry.reason] for entry in passport.probe()}))
"""


def require_wall(*names: str) -> None:
    """Skip the calling test, saying why, unless this host enforces each wall of ``names``.

    With ``WALLS_MUST_HOLD=1`` the skip is a failure (``tests/conftest.py``). Raises ``KeyError`` for a name
    that the passport does not know, so that a misspelt wall cannot skip its test for ever.
    """
    passport = states()
    for name in names:
        state, why = passport[name]
        if state != "enforced":
            pytest.skip(f"wall {name} is {state}: {why}")


@functools.cache
def states() -> dict[str, tuple[str, str]]:
    """Wall -> state and reason on this host, probed once per test process.

    In a process of its own: the probe forks, and a test process may have threads.
    """
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    return {wall: (state, why) for wall, (state, why) in json.loads(done.stdout).items()}
