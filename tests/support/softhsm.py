"""A token in software (Debian: softhsm2), with a folder of its own, for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOKEN, PIN = "bulkhead-test", "4321"
_MODULES = [
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
]


@contextmanager
def token_in_software(folder: Path) -> Iterator[Path]:
    """The library of an empty token; where there is none, the test is skipped."""
    module = next((path for path in _MODULES if path.exists()), None)
    tool = shutil.which("softhsm2-util")
    if module is None or tool is None:
        pytest.skip("no token to try: install softhsm2")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    command = [tool, "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "8765"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    try:
        yield module
    finally:
        del os.environ["SOFTHSM2_CONF"]
