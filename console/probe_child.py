"""The program of a bounded child: loads a design's schemas, or resolves a partition's entry, and reports.

    python -s -m console.probe_child schemas DESIGN REPORT_FD TIME_S
    python -I -S console/probe_child.py image FOLDER SCHEMAS ENTRY SITES REPORT_FD TIME_S

For an image it stands alone, on the standard library: FOLDER holds the image as the monitor packs it (``lib`` and
``app``), and nothing else may be found but the declared packages. SITES maps them to their folders, as JSON.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import inspect
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from traceback import walk_tb
from types import ModuleType

ADDRESS_SPACE_BYTES_MAX = 1 << 30
FILE_BYTES_MAX = 1 << 20
SAID_CHARS_MAX = 300


def main() -> None:
    """Bound this process, do what is asked, report."""
    *arguments, report_fd, time_s = sys.argv[1:]
    _limit(int(time_s))
    what, folder, *rest = arguments
    report = _schemas(Path(folder)) if what == "schemas" else _image(Path(folder), *rest)
    os.write(int(report_fd), json.dumps(report).encode())
    if what == "image":
        os._exit(0)  # as at run time, what an image registered for the interpreter's end never runs


def _limit(time_s: int) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, ADDRESS_SPACE_BYTES_MAX),
        (resource.RLIMIT_FSIZE, FILE_BYTES_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (time_s, time_s + 1))
    signal.alarm(time_s + 2)  # should whoever started this be gone by then


def _said(error: BaseException, folder: Path) -> str:
    """Without the path of ``folder``, which the author has never seen."""
    text = f"{type(error).__name__}: {error}".replace(f"{folder}/", "")
    return text[:SAID_CHARS_MAX].removesuffix(": ")


# --- a design's schemas ---


def _schemas(folder: Path) -> dict[str, object]:
    from monitor.design import DesignError
    from monitor.loader import load_design, load_schemas
    from sandbox import walls

    try:
        load_schemas(load_design(folder, walls.ALL))
    except DesignError as error:
        return {"kind": "refused", "said": str(error)}
    return {"kind": "ok"}


# --- a partition's image ---


class _Packages:
    """Finds the packages that a partition is given, and no other that happens to be installed."""

    def __init__(self, sites: dict[str, str]) -> None:
        self._sites = sites

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As ``importlib.abc.MetaPathFinder``."""
        if path is not None or name not in self._sites:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [self._sites[name]], target)


def _image(folder: Path, schemas: str, entry: str, sites: str) -> dict[str, object]:
    app = folder / "app"
    broken = _compile_all(app)
    if broken is not None:
        return broken
    sys.path.insert(0, str(folder / "lib"))
    packages = json.loads(sites)
    sys.meta_path.insert(2, _Packages(packages))  # behind what is built in, before what lies in a path
    try:
        for name in packages:
            importlib.import_module(name)
        importlib.import_module(schemas)
        base = importlib.import_module("partitions.sdk").Partition
    except BaseException as error:  # whatever is raised is what the partition would be told, and then end
        return {"kind": "before", "said": _said(error, folder)}
    sys.path.append(str(app))
    return _resolve(app, base, entry)


def _compile_all(app: Path) -> dict[str, object] | None:
    for path in sorted(app.rglob("*.py")):
        try:
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except SyntaxError as error:
            where = {"file": path.relative_to(app).as_posix(), "line": error.lineno or 0}
            return {"kind": "syntax", "said": str(error.msg)[:SAID_CHARS_MAX], **where}
        except (ValueError, MemoryError, RecursionError) as error:
            return {"kind": "syntax", "said": _said(error, app), "file": path.relative_to(app).as_posix()}
    return None


def _resolve(app: Path, base: type, entry: str) -> dict[str, object]:
    module_name, _, class_name = entry.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        return {"kind": "import", "said": error.name or str(error), **_place(app, error)}
    except BaseException as error:  # SystemExit too: at run time it would end the partition
        return {"kind": "raised", "said": _said(error, app), **_place(app, error)}
    try:
        file = Path(module.__file__ or "").relative_to(app).as_posix()
    except ValueError:
        return {"kind": "shadowed", "said": module.__file__ or "the interpreter itself"}
    found = getattr(module, class_name, None)
    if found is None:
        classes = [
            name for name, value in vars(module).items() if isinstance(value, type) and value is not base
        ]
        return {"kind": "missing", "said": " ".join(classes)[:SAID_CHARS_MAX], "file": file}
    if not isinstance(found, type) or not issubclass(found, base):
        return {"kind": "not_partition", "file": file, "line": _line_of(found, module)}
    if inspect.getattr_static(found, "window") is inspect.getattr_static(base, "window"):
        return {"kind": "no_window", "file": file, "line": _line_of(found, module)}
    return {"kind": "ok"}


def _line_of(found: object, module: ModuleType) -> int:
    """The line in which a class of ``module`` begins; 0 where that cannot be told."""
    if not isinstance(found, type) or found.__module__ != module.__name__:
        return 0
    try:
        return inspect.getsourcelines(found)[1]
    except OSError:
        return 0


def _place(app: Path, error: BaseException) -> dict[str, object]:
    """The last line of the image's own that the exception passed through."""
    found: dict[str, object] = {}
    for frame, line in walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(app):
            found = {"file": path.relative_to(app).as_posix(), "line": line}
    return found


if __name__ == "__main__":
    main()
