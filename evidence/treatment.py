"""How an attacker was treated: what the journal shows was done about an attack, beside what the catalogue expects.

Rows of the journal were observed. Where there is none, or only one of an end of its own, the kernel said no inside the
partition, or what was done stayed within the partition's means: which of the two is told by the error that the attacker
reports, and where it reports none, by the walls that the attack's file names.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator

from evidence import sightings
from faults import attack_files
from faults.attack import Effect, Injection
from faults.experiment import Run
from ipc_schemas import codec
from ipc_schemas.insulin_pump import Mode
from monitor import journal
from monitor.design import WORLD, Action, Event
from sandbox import walls


class Treatment(enum.StrEnum):
    """What was done about an attack."""

    LET_THROUGH = "let through"  # its effect was seen
    BLOCKED = "blocked"  # the kernel said no
    DROPPED = "dropped"  # its gate refused messages
    KILLED = "killed"  # its life was ended for it, by the monitor or by the kernel's filter
    CONTAINED = "contained"  # it came to the end of its means, or stayed within them
    RESTARTED = "restarted"  # it was started again from its image
    QUARANTINED = "quarantined"  # it stays off
    SAFE_STATE = "safe state"  # the device went where it can do no harm
    REFUSED = "refused"  # a stage of the boot did not go on, so that it never ran


#: Words of ``Row.expected``. Whatever finds damage discards it; what is escaped is kept within plain text.
_EXPECTED = {
    "BLOCK": Treatment.BLOCKED,
    "DROP": Treatment.DROPPED,
    "DETECT": Treatment.DROPPED,
    "THROTTLE": Treatment.DROPPED,
    "KILL": Treatment.KILLED,
    "CONTAIN": Treatment.CONTAINED,
    "RESTART": Treatment.RESTARTED,
    "LATCH": Treatment.QUARANTINED,
    "SAFE-STATE": Treatment.SAFE_STATE,
    "REJECT": Treatment.REFUSED,
}
#: Events that end a life although it would have gone on.
_KILLS = frozenset(Event) - {Event.PARTITION_EXIT, Event.STALE_INPUT}
#: Events by which a partition comes to the end of its means.
_MEANS = frozenset((Event.WINDOW_OVERRUN, Event.CPU_EXCEEDED, Event.MEMORY_EXCEEDED, Event.LOG_FLOOD))
#: How the kernel says that means are spent: EAGAIN, ENOMEM, EFBIG, ENOSPC, ENFILE, EMFILE, EDQUOT (errno(3)).
_SPENT = re.compile(r"\[Errno (11|12|23|24|27|28|122)\]|MemoryError")
_REFUSED = re.compile(r"\[Errno \d+\]|Operation not permitted|no procfs|no place|no raw system calls")
_NOT_DOSING = frozenset((Mode.FALLBACK_BASAL, Mode.SUSPENDED_LOW))


def expected(told: str) -> frozenset[Treatment]:
    """What a row of the catalogue (``Row.expected``) demands; empty when it demands nothing of this kind.

    What follows "on Nth" comes only when the attack is repeated; of what "or" joins, the first counts.
    """
    told = re.sub(r"\+KILL on Nth| or [A-Z]+|\(.*\)", "", told)
    return frozenset(_EXPECTED[word] for word in re.findall(r"[A-Z]+(?:-[A-Z]+)?", told) if word in _EXPECTED)


def treatment(run: Run, injection: Injection, effect: Effect, reference: Run) -> tuple[Treatment, ...]:
    """What was done about an attack in its frames, in the order of ``Treatment``.

    ``reference`` is the run without the attack: a safe state that it has, too, is not the attack's doing.
    """
    found = set(_of_rows(run, injection))
    if run.was_refused:
        found |= {Treatment.REFUSED, Treatment.SAFE_STATE}
    if effect.succeeded:
        found.add(Treatment.LET_THROUGH)
    elif (
        effect.succeeded is False
        and found <= {Treatment.RESTARTED}
        and not _came_from_outside(run, injection)
    ):
        found.add(_unseen(run, injection))
    # What a foreign program says of its own mode is no safe state.
    is_believed = not (effect.succeeded and _strikes_flash(run, injection))
    if is_believed and _safe_frames(run, injection) - _safe_frames(reference, injection):
        found.add(Treatment.SAFE_STATE)
    return tuple(one for one in Treatment if one in found)


def text(found: tuple[Treatment, ...]) -> str:
    """``dropped, killed, restarted``; empty when nothing was seen."""
    return ", ".join(found)


def _strikes_flash(run: Run, injection: Injection) -> bool:
    return attack_files.built(run.design.folder)[injection.attack_id].tamper is not None


def _came_from_outside(run: Run, injection: Injection) -> bool:
    attack = attack_files.built(run.design.folder)[injection.attack_id]
    return attack.inject is None


def _frames(run: Run, injection: Injection) -> Iterator[journal.Frame]:
    for entry in run.reading.entries if run.reading else ():
        if isinstance(entry, journal.Frame) and injection.covers(entry.frame):
            yield entry


def _of_rows(run: Run, injection: Injection) -> Iterator[Treatment]:
    """From the journal's rows about the attacked partition; about the world, when the attack came from there."""
    attacked = WORLD if _came_from_outside(run, injection) else injection.partition
    for frame in _frames(run, injection):
        if any(row.partition == attacked and row.event for row in frame.refusals):
            yield Treatment.DROPPED
        for row in frame.rulings:
            if row.action == Action.SAFE_STATE:
                yield Treatment.SAFE_STATE
            if row.partition == attacked:
                yield from _of_ruling(row)


def _of_ruling(row: journal.Ruling) -> Iterator[Treatment]:
    ended = row.action in (Action.RESTART, Action.QUARANTINE)
    if row.event == Event.FORBIDDEN_SYSCALL:
        yield Treatment.BLOCKED
    if row.event in _MEANS:
        yield Treatment.CONTAINED
    if ended and row.event in _KILLS:
        yield Treatment.KILLED
    if row.action == Action.RESTART:
        yield Treatment.RESTARTED
    if row.action == Action.QUARANTINE:
        yield Treatment.QUARANTINED


def _unseen(run: Run, injection: Injection) -> Treatment:
    """Of an attack without effect of which the journal knows nothing."""
    begun = f"ATTACK {injection.attack_id} end frame={injection.frame} "
    words = " ".join(note.text for note in run.record.of_kind("log") if note.text.startswith(begun))
    if _SPENT.search(words):
        return Treatment.CONTAINED
    against = attack_files.built(run.design.folder)[injection.attack_id].walls
    is_kernels = bool(walls.OS_WALL_NAMES & frozenset(against))
    return Treatment.BLOCKED if _REFUSED.search(words) or is_kernels else Treatment.CONTAINED


def _safe_frames(run: Run, injection: Injection) -> set[int]:
    """The attack's frames in which the pump stood still, or therapy said that it does not dose by the sensor."""
    found: set[int] = set()
    truth = run.world.truth() if hasattr(run.world, "truth") else None
    for minute in truth.suspended_min if truth else ():
        frame = minute * 60_000 // run.design.frame_ms
        if injection.covers(frame):
            found.add(frame)
    critical = frozenset(p.name for p in run.design.partitions if p.is_critical)
    for one in sightings.emitted(run, critical):
        if one.port.endswith(".status") and injection.covers(one.frame):
            told = codec.decode_any(one.payload)
            if isinstance(told, dict) and str(told.get("mode")) in _NOT_DOSING:
                found.add(one.frame)
    return found
