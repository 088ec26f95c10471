"""Figures of a run that pages and JSON share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from console.options import CHAIN_DIGITS_MIN
from console.scene import degraded_label, walls_seen
from console.telling import clock_text
from evidence.at_end import Off, off_at_end
from evidence.command import command
from evidence.glycaemia import Glycaemia, glycaemia
from evidence.sightings import unfinished
from faults.experiment import Run
from monitor import journal
from world.truth import Truth

#: What ``kill_ms`` spans, and what it leaves out.
KILL_SPAN = "from the gate's report in the monitor's hands to the last process gone"
KILL_LIMITS = "what passes of the window before the report is not included, nor is a kernel's own kill"


@dataclass(frozen=True, slots=True)
class Spread:
    """Of ``count`` measurements in milliseconds, the middle one, the 99th percentile and the largest."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def spread(values_ms: Sequence[float]) -> Spread | None:
    """By nearest rank; ``None`` when nothing was measured."""
    if not values_ms:
        return None
    ordered = sorted(values_ms)
    return Spread(len(ordered), _rank(ordered, 0.5), _rank(ordered, 0.99), ordered[-1])


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(-int(-share * len(ordered) // 1) - 1, 0)]


def truth_of(run: Run) -> Truth | None:
    """What really happened to the patient, if this design's world tells."""
    return run.world.truth() if hasattr(run.world, "truth") else None


def glycaemia_of(run: Run) -> Glycaemia | None:
    """Metrics of the true glucose, if this design's world tells."""
    truth = truth_of(run)
    return glycaemia(truth.glucose_mg_dl) if truth is not None and truth.glucose_mg_dl else None


def restarts(run: Run) -> dict[str, int]:
    """How often each partition was started again."""
    counts = {p.name: 0 for p in run.design.partitions}
    for note in run.record.of_kind("up"):
        if note.partition in counts and note.facts.get("epoch"):
            counts[note.partition] += 1
    return counts


def launches_ms(run: Run) -> list[float]:
    """From a restart's order to the new life being ready for its first window, for each restart that came so far."""
    values = (note.facts.get("ready_ms") for note in run.record.of_kind("ready") if note.facts.get("epoch"))
    return [float(value) for value in values if isinstance(value, int | float)]


def boot_ms(run: Run) -> float | None:
    """Power-on to the first frame."""
    for note in run.record.of_kind("booted"):
        value = note.facts.get("boot_ms")
        if isinstance(value, int | float):
            return float(value)
    return None


def lateness_ms(run: Run) -> dict[str, Spread]:
    """How late each partition's windows opened, by partition; measured on real clocks only."""
    found = {}
    for note in run.record.of_kind("end"):
        for fact, values in note.facts.items():
            measured = spread([float(value) for value in values]) if isinstance(values, list) else None
            if fact.startswith("lateness_ms.") and measured is not None:
                found[fact.removeprefix("lateness_ms.")] = measured
    return found


def boot_text(run: Run) -> str:
    """``boot 431 ms``, or that it never came so far."""
    took_ms = boot_ms(run)
    return "did not boot" if took_ms is None else f"boot {took_ms:.0f} ms"


def run_problems(run: Run) -> list[str]:
    """Why a run is not whole: it ended early, or a critical partition was off when it ended."""
    return [f"the run {problem}" for problem in unfinished(run)] + [
        off_text(off, run) for off in off_at_end(run) if off.is_critical
    ]


def off_text(off: Off, run: Run) -> str:
    """``therapy (class C) off since 08:05``."""
    return f"{off.who} off since {clock_text(off.since_frame, run.design.frame_ms)}"


def verify_command(path: Path, run: Run) -> str:
    """How to check a kept journal against the chain value that this run had."""
    anchor = f" --expect {run.chain[:CHAIN_DIGITS_MIN]}" if run.chain else ""
    return f"{command()} journal verify {path}{anchor}"


def degraded(run: Run) -> str:
    """The label for every output of this run, or nothing."""
    return degraded_label(walls_seen(run.record.notes), run.design)


@dataclass(frozen=True, slots=True)
class Tally:
    """What the journal says happened at the gates."""

    admitted: int
    refused: int
    rulings: dict[str, int]


def tally(reading: journal.Reading | None) -> Tally:
    """Messages admitted and refused, and how often each event was ruled on, over the whole journal."""
    admitted = refused = 0
    rulings: dict[str, int] = {}
    for entry in reading.entries if reading else ():
        if isinstance(entry, journal.Frame):
            admitted += sum(batch.count for batch in entry.admitted)
            refused += sum(refusal.count for refusal in entry.refusals)
            for ruling in entry.rulings:
                rulings[ruling.event] = rulings.get(ruling.event, 0) + 1
    return Tally(admitted, refused, rulings)
