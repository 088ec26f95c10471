"""What the harness saw of a run, put into the shapes that detectors ask; and what of the secrets came out."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from evidence import noninterference
from evidence.attesting import Attester
from faults import seen
from faults.attack import ATTACKED
from faults.experiment import Run
from ipc_schemas import codec
from monitor import journal
from monitor.design import WORLD
from monitor.loader import load_schemas


def emitted(run: Run, partitions: frozenset[str]) -> tuple[noninterference.Emission, ...]:
    """The messages that these partitions got admitted, in order; none without a journal."""
    return noninterference.emissions(run.reading, partitions) if run.reading else ()


def canaries(run: Run) -> tuple[bytes, ...]:
    """The secrets planted in this run's critical partitions: whatever in their configurations bears the mark."""
    found: list[bytes] = []
    for config in run.world.configs().values():
        found += re.findall(rb"CANARY-[0-9a-zA-Z]{8,64}", config)
    return tuple(found)


def leaks(run: Run) -> tuple[str, ...]:
    """Canaries in anything that the attacker could send, write or keep, as sentences.

    A refused message has gone nowhere, but who could write the secret into it has had it in hand, as with a log.
    """
    found: list[str] = []
    for canary in canaries(run):
        sent = emitted(run, noninterference.others(run.design))
        logged = run.record.of_kind("log")
        trusted = noninterference.critical(run.design)
        found += [f"in a message on {e.port} in frame {e.frame}" for e in sent if canary in e.payload]
        found += [
            f"in a refused message of {row.partition} in frame {frame.frame}"
            for frame in _frames(run)
            for row in frame.refusals
            if row.partition not in trusted and any(canary in each.message for each in row.exhibits)
        ]
        found += [f"in what arrived over {r.door}" for r in run.received if canary in r.data]
        found += [
            f"in the log of {n.partition} in frame {n.frame}"
            for n in logged
            if n.partition not in trusted and canary.decode() in n.text
        ]
    return tuple(dict.fromkeys(found))


def observations(run: Run, reference: Run, *, is_replay: bool, attacker: str = ATTACKED) -> seen.Observations:
    """What the detectors are given, as far as it concerns the partition ``attacker``."""
    critical = noninterference.critical(run.design)
    others = noninterference.others(run.design)
    truth = run.world.truth() if hasattr(run.world, "truth") else None
    return seen.Observations(
        log_lines=tuple(seen.LogLine(n.frame, n.partition, n.text) for n in run.record.of_kind("log")),
        admitted=_admitted(run, others) if run.reading else None,
        therapy_outputs=_as_emissions(run, critical),
        reference_outputs=_as_emissions(reference, critical),
        reference_is_replay=is_replay,
        true_glucose_mg_dl=truth.glucose_mg_dl if truth else None,
        suspended_min=truth.suspended_min if truth else None,
        delivered_u=truth.delivered_u if truth else None,
        received=run.received,
        peaks=run.peaks,
        frame_seconds=run.frame_seconds,
        shared_files=run.shared_files,
        clock_jumps=run.clock_jumps,
        survivors=run.survivors,
        lives=_lives(run),
        missed=_missed(run),
        record_bytes=_record_bytes(run) if run.reading else None,
        journal_problem=_journal_problem(run),
        stopped=_stopped(run),
        notes_lost=_notes_lost(run),
        stand_in=run.stand_in,
        canaries=canaries(run),
        boot_refused=_boot_refused(run),
        boot_rules=frozenset(str(note.facts["rule"]) for note in run.record.of_kind("boot_refused")),
        attested=_attested(run),
        debug_told="; ".join(note.text for note in run.record.of_kind("debug")),
        struck=frozenset(run.struck),
        attacker=attacker,
        victim=next((p.name for p in run.design.partitions if p.is_critical), ""),
        gate_label=f"gate-{attacker}",
        message_types=_message_types(run, attacker),
    )


def _message_types(run: Run, attacker: str) -> dict[str, type[msgspec.Struct]]:
    """The message types of the attacker's output ports, by full name."""
    schemas = load_schemas(run.design)
    return {
        port.full_name: getattr(schemas, port.message)
        for port in run.design.ports
        if port.is_output and port.partition == attacker
    }


def _as_emissions(run: Run, partitions: frozenset[str]) -> tuple[seen.Emission, ...] | None:
    return tuple(seen.Emission(*e) for e in emitted(run, partitions)) if run.reading else None


def _admitted(run: Run, partitions: frozenset[str]) -> tuple[seen.Admitted, ...]:
    """The admitted messages as the channel's owner is to blame for them, whatever port they came out of."""
    grouped: dict[tuple[int, str], list[bytes]] = {}
    for emission in emitted(run, partitions):
        grouped.setdefault((emission.frame, emission.port), []).append(emission.payload)
    return tuple(
        seen.Admitted(frame, port.partition(".")[0], port, tuple(payloads))
        for (frame, port), payloads in grouped.items()
    )


def _frames(run: Run) -> list[journal.Frame]:
    return [entry for entry in run.reading.entries if isinstance(entry, journal.Frame)] if run.reading else []


def _lives(run: Run) -> tuple[seen.Life, ...]:
    """From the journal, which loses nothing; the notes to the console may."""
    found: list[seen.Life] = []
    started: dict[str, tuple[int, int]] = {}
    reasons = {(f.frame, r.partition): r.reason for f in _frames(run) for r in f.rulings}
    for frame in _frames(run):
        for life in frame.lives:
            if life.what == "up":
                started[life.partition] = (life.epoch, frame.frame)
            elif life.partition in started:
                epoch, began = started.pop(life.partition)
                reason = f"{life.what}: {reasons.get((frame.frame, life.partition), '')}"
                found.append(seen.Life(life.partition, epoch, began, frame.frame, reason))
    found += [seen.Life(name, epoch, began, None, "") for name, (epoch, began) in started.items()]
    return tuple(found)


def _missed(run: Run) -> tuple[seen.Missed, ...]:
    return tuple(
        seen.Missed(frame.frame, ruling.partition)
        for frame in _frames(run)
        for ruling in frame.rulings
        if ruling.event == "window_overrun"
    )


def compared(run: Run, other: Iterable[noninterference.Emission]) -> noninterference.Comparison:
    """What the critical partitions of a run emitted, beside what they emitted in another: ``other``.

    Of a run that an attack from outside has ended, as far as its whole frames go.
    """
    mine = emitted(run, noninterference.critical(run.design))
    theirs = tuple(other)
    if run.ended_by is not None:
        last = max((frame.frame for frame in _frames(run)), default=-1)
        theirs = tuple(emission for emission in theirs if emission.frame <= last)
    return noninterference.compare(mine, theirs)


def _record_bytes(run: Run) -> dict[int, int]:
    """What each frame takes in the journal; of two records of one frame, both."""
    found: dict[int, int] = {}
    for frame in _frames(run):
        found[frame.frame] = found.get(frame.frame, 0) + len(codec.encode(frame))
    return found


def _stopped(run: Run) -> str:
    """Why a run ended before its time, in the monitor's words; empty when it did not."""
    if run.record.exit_status == 0 and run.record.frames_done == run.record.plan.frames:
        return ""
    last = [note for note in run.record.notes if note.kind in ("end", "refused")]
    return last[-1].text if last else "without a word"


def _boot_refused(run: Run) -> str:
    """Who refused what, by which rule; empty when the device started."""
    if not run.was_refused:
        return ""
    return "; ".join(
        f"{_slot_of(note.text)}{note.facts['stage']} refused {note.facts['image']} ({note.facts['rule']}): "
        f"{note.facts['sentence']}"
        for note in run.record.of_kind("boot_refused")
    )


def _attested(run: Run) -> seen.Attested | None:
    verifier = run.record.plan.verifier
    found = verifier.appraisal if isinstance(verifier, Attester) else None
    if found is None:
        return None
    return seen.Attested(found.verdict.value, found.sentence, found.serial, found.is_debug)


def _slot_of(text: str) -> str:
    """``slot a: `` where the stage tells which one it read, as ROM does, which may try both."""
    return text[: len("slot a: ")] if text.startswith("slot ") else ""


def _notes_lost(run: Run) -> int:
    return sum(int(str(note.facts.get("notes_lost", 0))) for note in run.record.of_kind("end"))


def _journal_problem(run: Run) -> str:
    """Why the journal is not sound; of a monitor that had no last word, only whether its chain holds."""
    if run.reading is None:
        return run.journal_problem
    told = [note.facts["chain"] for note in run.record.of_kind("end") if "chain" in note.facts]
    if not told:
        return ""
    if run.reading.torn_bytes or not run.reading.is_complete:
        return f"{run.reading.torn_bytes} bytes behind its last whole record, and the end record is missing"
    return "" if told[-1] == run.chain else "its chain value is not the one that the monitor told"


def missed(run: Run, partitions: frozenset[str]) -> tuple[seen.Missed, ...]:
    """The windows that these partitions lost, in order; none without a journal."""
    return tuple(one for one in _missed(run) if one.partition in partitions)


def was_disturbed(run: Run) -> bool:
    """Whether a critical partition or the world lost a window: on the virtual clock a busy host does that, too."""
    lost_by_world = any(
        note.partition == WORLD and note.facts.get("event") == "window_overrun"
        for note in run.record.of_kind("ruling")
    )
    return lost_by_world or bool(missed(run, noninterference.critical(run.design)))


def unfinished(run: Run) -> list[str]:
    """Why a run is no evidence: ended early, or left no whole journal.

    One that an attack from outside had to end is evidence up to there, if it ended, and if its journal holds.
    """
    if run.was_refused and run.ended_by is not None:
        return []  # nothing ran, so there is no journal
    if run.ended_by is not None:
        found = []
        if run.record.exit_status == 0:
            found.append(f"went on to its end, although {run.ended_by.attack_id} had struck")
        if run.reading is None:
            found.append(f"left no journal that holds: {run.journal_problem}")
        return found
    found = []
    why = _stopped(run)
    if why:
        found.append(f"ended after {run.record.frames_done} of {run.record.plan.frames} frames: {why}")
    lost = _notes_lost(run)
    if lost:
        found.append(f"lost {lost} of the monitor's notes on their way to the console")
    if run.reading is None or not run.reading.is_complete:
        found.append(f"left no whole journal: {run.journal_problem or 'the end record is missing'}")
    return found
