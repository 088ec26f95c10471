"""The passport as a page: what this host enforces, wall by wall."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """Probe this host, which takes tens of milliseconds."""
    probed = passport.probe()
    found = []
    for wall in walls.WALLS.values():
        entry = probed[wall.name]
        state = "off" if wall.name in without else "enforced" if entry.is_available else "unavailable"
        required = tuple(p.name for p in design.partitions if wall.name in p.walls)
        found.append(
            Stamp(
                wall.name,
                wall.keeps,
                state,
                entry.mechanism,
                entry.reason,
                entry.remedy,
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


def summary(found: Sequence[Stamp]) -> Group:
    """The passport in a few lines: walls by state, and for what is unavailable why and what to do."""
    enforced = " ".join(stamp.wall for stamp in found if stamp.state == "enforced")
    lines = [
        Text("  ".join(f"{name}: {value}" for name, value in host_facts().items()), style="dim"),
        sentence(found),
        Text(f"  {enforced}", style="dim"),
    ]
    lines += [
        Text(f"  {stamp.wall} unavailable: ", style="bold yellow").append(_why(stamp), "yellow")
        for stamp in found
        if stamp.state == "unavailable"
    ]
    return Group(*lines)


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
        text.append(f"\n{_why(stamp)}", "yellow")
    return text


def _why(stamp: Stamp) -> str:
    return "; ".join(words for words in (stamp.reason, stamp.remedy) if words)
