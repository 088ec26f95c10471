"""The passport as a page: what this host enforces, wall by wall."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from monitor.design import Design
from sandbox import passport, walls

LSM_FILE = Path("/sys/kernel/security/lsm")
_STYLES = {"enforced": "green", "unavailable": "bold yellow", "off": "yellow"}


@dataclass(frozen=True, slots=True)
class Stamp:
    """One wall: ``state`` is enforced, unavailable or off (asked); ``required_by`` names partitions."""

    wall: str
    keeps: str
    state: str
    mechanism: str
    reason: str
    remedy: str
    root_only: bool
    required_by: tuple[str, ...]


def stamps(design: Design, without: frozenset[str]) -> list[Stamp]:
    """Probe this host. A wall that the probe does not speak of is unavailable: unknown is never a pass."""
    entries: dict[str, Any] = {entry.wall: entry for entry in passport.probe()}
    found = []
    for wall in walls.WALLS.values():
        entry = entries.get(wall.name)
        is_available = bool(entry and entry.is_available)
        state = "off" if wall.name in without else "enforced" if is_available else "unavailable"
        required = tuple(p.name for p in design.partitions if wall.name in p.walls)
        found.append(
            Stamp(
                wall.name,
                wall.keeps,
                state,
                getattr(entry, "mechanism", ""),
                getattr(entry, "reason", "") if entry else "the probe did not look at it",
                getattr(entry, "remedy", ""),
                wall.root_only,
                required,
            )
        )
    return found


def lacking(found: Iterable[Stamp]) -> list[Stamp]:
    """The walls that the design requires and that do not stand; those only root can raise are excused."""
    return [
        stamp
        for stamp in found
        if stamp.required_by
        and (stamp.state == "off" or (stamp.state == "unavailable" and not stamp.root_only))
    ]


def sentence(found: Sequence[Stamp]) -> Text:
    """One line: how many are enforced, and whether that is enough."""
    enforced = sum(stamp.state == "enforced" for stamp in found)
    text = Text(f"{enforced} of {len(found)} walls can be enforced here")
    missing = lacking(found)
    if missing:
        text.append(f"  DEGRADED: without {', '.join(stamp.wall for stamp in missing)}", "bold yellow")
    return text


def host_facts() -> dict[str, str]:
    """Kernel, security modules and user, as far as they can be read."""
    try:
        modules = LSM_FILE.read_text(encoding="ascii").strip()
    except OSError:
        modules = "unknown (securityfs cannot be read here)"
    user = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    return {
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "security modules": modules,
        "user": user,
    }


def page(found: Sequence[Stamp]) -> Group:
    """Host, table, and one closing line."""
    facts = "  ".join(f"{name}: {value}" for name, value in host_facts().items())
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("wall", no_wrap=True, style="bold")
    table.add_column("here", no_wrap=True)
    table.add_column("what it keeps out, and what holds it")
    for stamp in found:
        state = Text(stamp.state, style=_STYLES[stamp.state])
        table.add_row(stamp.wall, state, _what(stamp))
    return Group(Text(facts, style="dim"), Text(), table, Text(), sentence(found))


def _what(stamp: Stamp) -> Text:
    text = Text(stamp.keeps)
    if stamp.state == "enforced" and stamp.mechanism:
        text.append(f" ({stamp.mechanism})", "dim")
    if stamp.state == "off":
        text.append("; left out, as asked", "dim")
    if stamp.state == "unavailable":
        why = stamp.reason or ("only root can raise it" if stamp.root_only else "no reason was given")
        remedy = stamp.remedy or ("run as root" if stamp.root_only else "")
        text.append(f"\n{why}" + (f"; {remedy}" if remedy else ""), "yellow")
    return text
