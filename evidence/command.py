"""How a command of Bulkhead is given from here: by the file of a checkout, or by its name where it is installed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

#: The file that is pressed in a checkout, and the command that an installation has in its place.
BUTTON, INSTALLED = "run_device.py", "bulkhead"
_BUTTON = Path(__file__).resolve().parent.parent / BUTTON


def command() -> str:
    """What to write before a verb, for a shell in this folder with this Python's environment."""
    if _is_same(BUTTON, _BUTTON):
        return f"python {BUTTON}"
    installed = Path(sysconfig.get_path("scripts"), INSTALLED)
    if installed.is_file():
        found = shutil.which(INSTALLED)
        return INSTALLED if found and _is_same(found, installed) else shlex.quote(str(installed))
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(_BUTTON))}"


def name() -> str:
    """By which of its two names this process was called."""
    return INSTALLED if Path(sys.argv[0]).name == INSTALLED else BUTTON


def _is_same(one: str | Path, other: Path) -> bool:
    return os.path.isfile(one) and other.is_file() and os.path.samefile(one, other)
