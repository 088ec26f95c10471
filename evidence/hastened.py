"""A design at a pace at which thousands of windows pass in a minute, and whose partitions are spared for being late.

Partitions, images, message types, ports and world stay the design's own. A frame lasts ``FRAME_MS`` unless it is as
short already, windows follow one another in the design's order, and being late costs a window, not a life: else an
attack would end with the attacker's restarts, and a late therapy would be away instead of late.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monitor.design import Design

FRAME_MS = 20
CRITICAL_BUDGET_MS, OTHER_BUDGET_MS = 8, 4
#: A frame that is no longer than this stays as it is.
SHORT_MS = 100
_RESTARTS = {"restarts": 1_000, "within_frames": 1_000_000}
_SPARED = {"window_overrun": "drop", "cpu_exceeded": "note"}


class CannotHasten(Exception):
    """A design whose windows do not fit the short frame; the sentence says so."""


def write(design: Design, into: Path) -> Path:
    """Write the hastened design into a folder that does not exist yet, and return that.

    Raises ``CannotHasten`` and ``OSError``.
    """
    shutil.copytree(design.folder, into, ignore=shutil.ignore_patterns("__pycache__"))
    table = tomllib.loads((into / "device.toml").read_text(encoding="utf-8"))
    for partition in design.partitions:
        own = table["partition"][partition.name]
        own["image"] = str(partition.image)
        own["restart"] = _RESTARTS
        own["health"] |= _SPARED
    if design.frame_ms > SHORT_MS:
        _shorten(design, table)
    (into / "device.toml").write_text("\n".join(_sections(table, "")) + "\n", encoding="utf-8")
    return into


def _shorten(design: Design, table: dict[str, Any]) -> None:
    windows, offset_ms = [], 0
    for window in design.windows:
        is_critical = design.partition(window.partition).is_critical
        budget_ms = CRITICAL_BUDGET_MS if is_critical else OTHER_BUDGET_MS
        windows.append({"partition": window.partition, "offset_ms": offset_ms, "budget_ms": budget_ms})
        offset_ms += budget_ms
    if offset_ms > FRAME_MS:
        raise CannotHasten(
            f"{design.name}: its {len(windows)} windows need {offset_ms} ms, and a frame has {FRAME_MS} ms here; "
            f"give the design a frame of {SHORT_MS} ms or less of its own"
        )
    table["device"]["frame_ms"] = FRAME_MS
    table["world"]["budget_ms"] = FRAME_MS // 2
    table["schedule"]["windows"] = windows


def _sections(table: dict[str, Any], path: str) -> Iterator[str]:
    """TOML, one section a table of plain values; a line holds no more than one of these."""
    plain = {key: value for key, value in table.items() if not _is_section(value)}
    if path and plain:
        yield f"[{path}]"
    yield from (f"{key} = {_value(value)}" for key, value in plain.items())
    for key, value in table.items():
        below = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from _sections(value, below)
        elif _is_section(value):
            for each in value:
                yield f"[[{below}]]"
                yield from (f"{name} = {_value(inner)}" for name, inner in each.items())


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)
    )


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
