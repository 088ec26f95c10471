"""Who stopped an attack: what the journal saw act, what the attacker reports, and which walls stand against it.

Three things that must not be mixed up. The journal's refusals and rulings were observed. The error that an attacker
reports is its word: where the kernel said no inside the partition, nothing of ours was there to see which wall did.
The walls that stand against an attack come from the catalogue: any of them may have done it, none was seen to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from evidence.naming import named
from faults import attack_files
from faults.attack import ATTACKED, Injection
from faults.experiment import Run
from monitor import journal
from sandbox import passport, walls

_WALL_OF_REASON = {"epoch": "sequence", "frame": "sequence", "late": "window"}
_WALL_OF_EVENT = {
    "forbidden_syscall": "seccomp",
    "memory_exceeded": "rlimits",
    "gate_died": "gate",
    "gate_lied": "recheck",
    "window_overrun": "window",
    "cpu_exceeded": "window",
    "rate_exceeded": "rate",
    "rejections_exceeded": "rate",
    "log_flood": "window",
}


@dataclass(frozen=True, slots=True)
class Observed:
    """One line of the journal in the attack's frame: the event, and a refusal's reason (empty for a ruling)."""

    event: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stopping:
    """``walls`` were seen to act; ``reported`` is the attacker's word, empty when it gave none; ``candidates``
    stood in this run and stand against this attack by the catalogue.
    """

    walls: tuple[str, ...] = ()
    observed: tuple[Observed, ...] = ()
    reported: str = ""
    candidates: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """For people. "stopped by" only where a wall that stands against this attack was seen to act."""
        against = f"against it: {', '.join(self.candidates)}" if self.candidates else ""
        against = f"{'stands' if len(self.candidates) == 1 else 'stand'} {against}" if against else ""
        if self.walls:
            names = ", ".join(self.walls)
            if not self.candidates or set(self.walls) & set(self.candidates):
                return f"stopped by {names}"
            return f"seen to act: {names}; {against} (not seen to act)"
        who = (
            f"kernel, as the attacker reports: {self.reported}" if self.reported else "nobody was seen to act"
        )
        return f"{who}; {against}" if against else who


def stopping(run: Run, injection: Injection) -> Stopping:
    """Who stopped an attack, as far as is known; from the attack's own frame only."""
    frame = _frame_of(run, injection)
    against = attack_files.built(run.design.folder)[injection.attack_id].walls
    partitions = {partition.name: partition for partition in run.design.partitions}
    lacks = partitions[injection.partition].lacks if injection.partition in partitions else frozenset()
    around = walls.around(standing(run), lacks)
    candidates = tuple(name for name in against if name in around)
    if frame is None:
        return Stopping(candidates=candidates)
    refusals = [r for r in frame.refusals if r.partition == ATTACKED]
    rulings = [r for r in frame.rulings if r.partition == ATTACKED]
    names = [_WALL_OF_REASON.get(r.reason, r.reason) for r in refusals]
    names += [_WALL_OF_EVENT[r.event] for r in rulings if r.event in _WALL_OF_EVENT]
    seen = tuple(name for name in dict.fromkeys(names) if name in walls.ALL)
    observed = [Observed(r.event, r.reason) for r in refusals] + [Observed(r.event) for r in rulings]
    return Stopping(
        seen, tuple(dict.fromkeys(observed)), "" if seen else _own_words(run, injection), candidates
    )


def _frame_of(run: Run, injection: Injection) -> journal.Frame | None:
    for entry in run.reading.entries if run.reading else ():
        if isinstance(entry, journal.Frame) and entry.frame == injection.frame:
            return entry
    return None


def undelivered(run: Run, injection: Injection) -> str:
    """What of an attack without walls went nowhere, because no port or reader could take it; empty for nothing."""
    frame = _frame_of(run, injection)
    refusals = [r for r in frame.refusals if r.partition == ATTACKED and r.event] if frame else []
    count = sum(refusal.count for refusal in refusals)
    if not count:
        return ""
    what = "1 message" if count == 1 else f"{count} messages"
    first = "" if count == 1 else "the first: "
    return f"{what} could not be delivered, wall or no wall ({first}{named(refusals[0].detail, run.design)})"


def standing(run: Run) -> frozenset[str]:
    """The walls that stood, as the monitor told; none when it never told."""
    for note in run.record.of_kind("walls"):
        names = note.facts.get("standing")
        return frozenset(names) & walls.ALL if isinstance(names, list) else frozenset()
    if (
        run.was_refused
    ):  # by a stage before; what would have stood around partitions is what this host can raise
        return walls.ALL - run.record.plan.without - _not_here()
    return frozenset()


@cache
def _not_here() -> frozenset[str]:
    return passport.probe().unavailable


def unavailable(run: Run) -> frozenset[str]:
    """The walls that this host cannot raise, as the monitor told."""
    for note in run.record.of_kind("walls"):
        names = note.facts.get("unavailable")
        return frozenset(names) & walls.ALL if isinstance(names, list) else frozenset()
    return frozenset()


def _own_words(run: Run, injection: Injection) -> str:
    for note in run.record.of_kind("log"):
        match = re.search(rf"ATTACK {injection.attack_id} end frame={injection.frame} (.*)", note.text)
        if match:
            errors = re.findall(r"\[Errno \d+\] ([A-Za-z ]+)|(no procfs|no place)", match[1])
            words = [a or b for a, b in errors]
            return words[0].lower() if words else ""
    return ""
