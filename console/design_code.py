"""Tries the code of a design that runs outside the walls: its schemas and its world.

Both are the author's own, trusted as ``device.toml`` is, and run in the tools. They are run in a bounded child
(``console.bounded``) first, so that a slip in them is told in a sentence and hangs or ends no tool.
"""

from __future__ import annotations

from pathlib import Path

from console.bounded import Child, Ended
from monitor.design import Design, DesignError

_PROGRAM = ("-s", "-m", "console.probe_child")


def require_sound_schemas(design: Design, path: Path) -> None:
    """Load the schemas of ``design``, read from ``path``, in a bounded child, if they are a file of its own.

    Raises ``DesignError`` when they hang, end their process or cannot be used; returns at once for a module of
    Bulkhead's own.
    """
    if not design.schemas.endswith(".py"):
        return
    with Child(_PROGRAM, "schemas", str(path.resolve())) as child:
        ended = child.wait()
    problem = _told(
        ended,
        f'device.toml: [device] schemas = "{design.schemas}"',
        "every tool and the monitor load that file, so let it define message types and do nothing else",
    )
    if problem:
        raise DesignError(problem)


def problem_of_world(design: Design, path: Path, seed: int = 1, patient: int = 0) -> str:
    """What is wrong with the world of ``design``, read from ``path``: one sentence with the remedy, or nothing.

    It is made, and asked for its configurations, in a bounded child. The schemas have to be sound.
    """
    with Child(_PROGRAM, "world", str(path.resolve()), str(seed), str(patient)) as child:
        ended = child.wait()
    return _told(
        ended,
        f'device.toml: [world] entry = "{design.world.entry}"',
        "the tools make the world before a run and ask for its configs, so do lasting work in frame",
    )


def require_sound_world(design: Design, path: Path, seed: int, patient: int) -> None:
    """Raises ``DesignError`` when the world is a file of the design's own and cannot be used."""
    if design.world.entry.partition(":")[0].endswith(".py"):
        problem = problem_of_world(design, path, seed, patient)
        if problem:
            raise DesignError(problem)


def _told(ended: Ended, where: str, remedy: str) -> str:
    if ended.report is None:
        return f"{where}: {ended.why_not}; {remedy}"
    return "" if ended.report.kind == "ok" else ended.report.said
