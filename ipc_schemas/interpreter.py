"""How every interpreter of the device is started, and which installed packages it finds.

Nothing but the standard library is imported here: this runs before any package is believed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

#: All that a stage, the template, and whatever is forked from it, finds in its environment.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MALLOC_ARENA_MAX": "1",
    "LC_ALL": "C.UTF-8",
}
#: No site, no path of the working directory, no user's packages, and no byte code is written.
FLAGS = ("-P", "-s", "-S", "-B")
#: Folders of the standard library that no device needs: nobody measures them, and confined processes do not see them.
LIBRARY_LEFT_OUT = (
    "site-packages", "dist-packages", "test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data",
)  # fmt: skip
#: The name under which the interpreter and its standard library are measured. No package is found by it.
PYTHON = "python"


class Packages:
    """A finder that takes the named top-level packages from their folder, and knows no others.

    The folder itself is not on ``sys.path``: what lies there under another name does not exist for this process, not
    even as a namespace package. Their submodules are found by the packages' own paths, as ever.
    """

    def __init__(self, folder: str, names: Iterable[str]) -> None:
        self.folder = folder
        self.names = frozenset(name for name in names if name.isidentifier()) - {PYTHON}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The protocol of ``importlib.abc.MetaPathFinder``."""
        if path is not None or fullname not in self.names:
            return None
        return PathFinder.find_spec(fullname, [self.folder], target)


def find_only(folder: str, names: Iterable[str]) -> None:
    """From here on this process finds these packages in ``folder``, behind all else, and no longer those before."""
    others = [finder for finder in sys.meta_path if not isinstance(finder, Packages)]
    sys.meta_path[:] = [*others, Packages(folder, names)]
