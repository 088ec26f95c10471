"""The passport: what this host can enforce, tried wall by wall, never assumed.

``probe`` raises every wall of the operating system in forked children and lets them attempt what the wall
forbids (``sandbox.trials``). Whatever was not seen to hold is unavailable: a trial that fails, dies or stays
silent is never a pass. Policing walls are held by our own processes, so they need nothing of the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sandbox import host, trials, trials_alone, trials_spaces, walls

#: What the children try. The slowest first: joining a control group waits for the kernel.
BODIES = (trials_alone.grouped, trials_spaces.spaces, trials_alone.alone)


@dataclass(frozen=True, slots=True)
class Entry:
    """One wall on this host.

    ``mechanism`` tells what holds it and in which version, ``reason`` and ``remedy`` why it is unavailable
    and what to do; they are empty in the other case.
    """

    wall: str
    is_available: bool
    mechanism: str = ""
    reason: str = ""
    remedy: str = ""

    def state(self, without: frozenset[str] = frozenset()) -> str:
        """``enforced``, ``unavailable``, or ``off`` for a wall that was left out by name."""
        if self.wall in without:
            return "off"
        return "enforced" if self.is_available else "unavailable"


@dataclass(frozen=True, slots=True)
class Passport:
    """All walls on this host, in the order of ``walls.WALLS``, and the milliseconds the probe took."""

    entries: tuple[Entry, ...]
    took_ms: float = 0.0

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, wall: str) -> Entry:
        """The entry of one wall. Raises ``KeyError``."""
        for entry in self.entries:
            if entry.wall == wall:
                return entry
        raise KeyError(wall)

    @property
    def unavailable(self) -> frozenset[str]:
        """The names of the walls that this host cannot raise."""
        return frozenset(entry.wall for entry in self.entries if not entry.is_available)


class Begun:
    """A probe under way: for a process that has other things to do while its children try the walls."""

    def __init__(self, *, timeout_s: float = trials.TIMEOUT_S) -> None:
        self._trials = trials.Begun(BODIES, timeout_s)

    def passport(self) -> Passport:
        """As ``probe`` has it, once."""
        outcome = self._trials.outcome()
        return issue(outcome.findings, host.read(), outcome.took_ms)


def probe(*, timeout_s: float = trials.TIMEOUT_S) -> Passport:
    """Try every wall. Takes tens of milliseconds, leaves nothing behind, raises nothing about a wall."""
    return Begun(timeout_s=timeout_s).passport()


def issue(findings: dict[str, trials.Finding], where: host.Host, took_ms: float = 0.0) -> Passport:
    """Write the passport from what the trials found. A wall without a finding is unavailable."""
    entries = [_entry(wall.name, findings, where) for wall in walls.OS_WALLS]
    entries += [Entry(wall.name, True, "our own gates and monitor") for wall in walls.POLICING_WALLS]
    entries += [Entry(wall.name, True, "our own boot stages") for wall in walls.BOOT_WALLS]
    entries += [Entry(wall.name, True, "our own verifier, factory, element") for wall in walls.TRUST_WALLS]
    return Passport(tuple(entries), took_ms)


def _entry(wall: str, findings: dict[str, trials.Finding], where: host.Host) -> Entry:
    finding = findings.get(wall, trials.Finding(wall, False, "its trial gave no answer"))
    if finding.has_held:
        return Entry(wall, True, finding.text)
    why = host.explain(wall, finding.text, where)
    return Entry(wall, False, "", why.reason, why.remedy)
