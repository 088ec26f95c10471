"""A partition's place in the frame loop, and what one frame writes into the journal."""

from __future__ import annotations

from dataclasses import dataclass, field

from ipc_schemas import links
from monitor import journal
from monitor.judge import Recheck
from monitor.warden import Launch, Life


class StopRun(Exception):
    """The run ends; the sentence says why. ``is_fault`` tells an asked-for end from a forced one."""

    def __init__(self, why: str, *, is_fault: bool) -> None:
        super().__init__(why)
        self.is_fault = is_fault


@dataclass(slots=True)
class Seat:
    """A partition's place in the frame loop, whoever lives in it."""

    name: str
    epoch: int = 0
    life: Life | None = None
    launch: Launch | None = None
    recheck: Recheck | None = None
    is_starting: bool = False
    started_s: float = 0.0
    is_open: bool = False
    opened_s: float = 0.0
    deadline_s: float = 0.0
    staged: dict[int, list[links.Batch]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    refusals: int = 0
    exhibit_bytes: int = 0
    log_bytes: int = 0
    log_lines: int = 0
    log_tail: bytes = b""
    stale: frozenset[str] = frozenset()

    def close(self) -> None:
        """End the window without its output."""
        self.is_open = False
        self.refusals = 0
        self.exhibit_bytes = 0
        self.staged = {}
        self.counts = {}


@dataclass(slots=True)
class Page:
    """What goes into the journal for one frame."""

    refusals: list[journal.Refusal] = field(default_factory=list)
    rulings: list[journal.Ruling] = field(default_factory=list)
    lives: list[journal.Life] = field(default_factory=list)


def sanitised(data: bytes) -> str:
    """Log text that cannot act on a terminal or reorder what a reader sees: printable ASCII, the rest escaped."""
    return printable(data.decode("utf-8", "replace"))


def raw(data: bytes) -> str:
    """Log text as it came, fit to act on a terminal: what a reader gets while the ``escape`` wall is off."""
    return data.decode("utf-8", "replace")


def printable(text: str) -> str:
    """As ``sanitised``, from text. A gate may have been taken over, so its words are no safer than a partition's."""
    return "".join(c if " " <= c <= "~" else f"\\u{ord(c):04x}" for c in text)
