"""Makes a design's world, or says in one sentence why it cannot be made or would not do.

The world is code of the design's author, run in the tools with their rights: it is trusted as ``device.toml`` is.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

from monitor.design import Design, DesignError

#: What a world's class offers, with the remedy when it is missing.
METHODS = {
    "configs": "def configs(self) -> dict[str, bytes]",
    "frame": "def frame(self, window: Window) -> None",
    "orphaned": "def orphaned(self, frames: int) -> None",
}
_SAID_CHARS_MAX = 160


def load_world(design: Design, seed: int, patient: int) -> Any:
    """Make the design's world. Raises ``DesignError``."""
    source, _, name = design.world.entry.partition(":")
    module = _called(design, f"loading {source}", source, lambda: _module(design, source))
    found = getattr(module, name, None)
    if found is None:
        raise _error(design, f"{source} has no class {name}; write it, or correct entry")
    if not isinstance(found, type):
        raise _error(design, f"{name} is no class; write class {name}, or correct entry")
    try:
        inspect.signature(found).bind(seed=seed, patient=patient)
    except (TypeError, ValueError) as error:
        raise _error(
            design,
            f"{name} cannot be made as {name}(seed=..., patient=...) ({error}); "
            "write def __init__(self, seed: int, patient: int = 0) -> None",
        ) from None
    made = f"making {name}(seed={seed}, patient={patient})"
    world = _called(design, made, source, lambda: found(seed=seed, patient=patient))
    for method, remedy in METHODS.items():
        if not callable(getattr(world, method, None)):
            raise _error(design, f"{name} has no {method}; write {remedy}")
    return world


def configs_of(design: Design, world: Any) -> dict[str, bytes]:
    """The configurations that the world gives, all that partitions name among them. Raises ``DesignError``."""
    source, _, name = design.world.entry.partition(":")
    configs = _called(design, f"{name}.configs()", source, world.configs)
    if not isinstance(configs, dict) or not all(
        isinstance(key, str) and isinstance(value, bytes) for key, value in configs.items()
    ):
        raise _error(design, f"{name}.configs() gives no dict of names and bytes; return one, such as {{}}")
    for partition in design.partitions:
        if partition.config is not None and partition.config not in configs:
            known = ", ".join(sorted(configs)) or "none"
            raise _error(
                design,
                f'partition {partition.name} names config = "{partition.config}", which {name}.configs() does not '
                f"give (it gives {known}); add it there, or correct the name",
            )
    return configs


def _module(design: Design, source: str) -> ModuleType:
    if not source.endswith(".py"):
        return importlib.import_module(source)
    spec = importlib.util.spec_from_file_location(f"bulkhead_world_{design.name}", design.folder / source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _called(design: Design, what: str, source: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (Exception, SystemExit) as error:  # whatever the author's code raises is the author's to mend
        raise _error(design, f"{what} raised {_told(error, source)}; mend it there") from None


def _told(error: BaseException, source: str) -> str:
    """What was raised, and in which line of the world's file."""
    file = source if source.endswith(".py") else source.replace(".", "/") + ".py"
    lines = [
        line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename.endswith(f"/{file}")
    ]
    if isinstance(error, SyntaxError) and Path(error.filename or "").name == Path(file).name:
        lines = [error.lineno or 0]
    said = " ".join(str(error).split())[:_SAID_CHARS_MAX]
    place = f" in line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{place}" + (f" ({said})" if said else "")


def _error(design: Design, problem: str) -> DesignError:
    return DesignError(f'device.toml: [world] entry = "{design.world.entry}": {problem}')
