"""The JSON objects, one per verb, as docs/json.md documents them. Pure: values in, plain dicts out."""

from __future__ import annotations

import math
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from console import VERSION, figures
from console.design_page import Checked, crossings
from console.journal_page import header_of
from console.passport_page import Stamp, host_facts, lacking
from console.scene import walls_seen
from console.telling import chain_of, clock_text
from evidence.appraisal import Appraisal, Row
from evidence.at_end import off_at_end
from evidence.attesting import Attester
from evidence.glycaemia import Glycaemia
from evidence.harm import HarmGrade
from evidence.outcome import Outcome
from evidence.story import Story, Trial
from faults import catalogue
from faults.experiment import Run
from monitor import journal
from monitor.design import Design
from monitor.rules import RULES
from sandbox import walls
from world.bench import Plan

FORMAT = 3
#: Digits behind the point: of measured milliseconds and seconds, and of figures computed from a glucose trace.
TIME_DIGITS, FIGURE_DIGITS = 3, 4


def finite(value: Any) -> Any:
    """The value in JSON's own types: NaN and infinities are null, bytes hexadecimal, tuples lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [finite(one) for one in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def head(verb: str, status: int) -> dict[str, Any]:
    """What every object begins with."""
    return {
        "bulkhead": VERSION,
        "format": FORMAT,
        "verb": verb,
        "exit_status": status,
        "host": {
            "system": platform.system(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "is_root": os.geteuid() == 0,
        },
    }


def refused(verb: str, status: int, sentence: str) -> dict[str, Any]:
    """What a verb that was refused writes instead of its own object."""
    return head(verb, status) | {"error": sentence}


def host_times(started: datetime, took_s: float) -> dict[str, Any]:
    """When the command began, in UTC, and how long it took: facts of the host, in no journal."""
    at = started.astimezone(UTC).isoformat(timespec="milliseconds")
    return {"started_at": at.replace("+00:00", "Z"), "took_s": round(took_s, TIME_DIGITS)}


def story(found: Story, verb: str, status: int) -> dict[str, Any]:
    """The main job and ``attack``."""
    runs = {"attacked": found.attacked, "replayed": found.replayed, "calm": found.calm, "open": found.open}
    grades = {"attacked": found.harm_attacked, "open": found.harm_open}
    comparison = found.comparison
    seen = walls_seen(found.attacked.record.notes)
    counts = Counter(one.outcome for one in found.trials)
    return head(verb, status) | {
        "held": found.held,
        "problems": found.problems,
        "degraded": figures.degraded(found.attacked),
        "walls_unavailable": walls.in_order(seen.unavailable) if seen else [],
        "outcomes": {one.value: counts[one] for one in Outcome},
        "device": device(found.attacked),
        "trials": [_trial(one, found.attacked) for one in found.trials],
        "noninterference": {
            "holds": comparison.holds,
            "messages": comparison.messages,
            "difference": _text(comparison.difference),
            "open_difference": str(found.open_comparison.difference)
            if found.open_comparison.difference
            else None,
        },
        "canary_leaks": found.canary_leaks,
        "runs": {name: run_figures(one) | {"harm": _harm(grades.get(name))} for name, one in runs.items()},
    }


def run(found: Run, grade: HarmGrade | None, status: int) -> dict[str, Any]:
    """``run``."""
    attacks = [{"id": one.attack_id, "frame": one.frame} for one in found.schedule]
    return head("run", status) | {
        "problems": figures.run_problems(found),
        "off": [off._asdict() for off in off_at_end(found)],
        "degraded": figures.degraded(found),
        "device": device(found),
        "attacks": attacks,
        "run": run_figures(found) | {"harm": _harm(grade)},
    }


def check(design: Design, checked: Checked, status: int) -> dict[str, Any]:
    """``check``."""
    broken = {finding.rule for finding in checked.findings}
    return head("check", status) | {
        "design": {"name": design.name, "digest": design.digest},
        "degraded": design.label,
        "rules": [
            {"name": r.name, "passes": r.name not in broken, "statement": r.statement, "source": r.source}
            for r in RULES
        ],
        "findings": [finding._asdict() for finding in checked.findings],
        "images": [
            {"passes": None if image.untold else image.passes} | asdict(image) for image in checked.images
        ],
        "world": {
            "entry": design.world.entry,
            "passes": not checked.world_problem,
            "problem": checked.world_problem,
        },
        "crossings": [
            asdict(crossing) | {"bits_per_s_max": crossing.bits_per_s_max(design.frame_ms)}
            for crossing in crossings(design)
        ],
    }


def passport(stamps: Sequence[Stamp], status: int) -> dict[str, Any]:
    """``passport``."""
    return head("passport", status) | {
        "lacking": [stamp.wall for stamp in lacking(stamps)],
        "security_modules": host_facts()["security modules"],
        "walls": [
            {
                "name": stamp.wall,
                "state": stamp.state,
                "keeps": stamp.keeps,
                "mechanism": stamp.mechanism,
                "reason": stamp.reason,
                "remedy": stamp.remedy,
                "root_only": stamp.root_only,
                "required_by": stamp.required_by,
            }
            for stamp in stamps
        ],
    }


def catalogue_object() -> dict[str, Any]:
    """``attack`` without names."""
    return head("catalogue", 0) | {
        "attacks": [
            {
                "id": row.id,
                "name": row.name,
                "family": row.family,
                "tries": row.plain or row.attempt,
                "expected": row.expected,
                "is_built": row.built,
                "cwe": row.cwe,
                "emb3d": row.emb3d,
                "attack_ics": row.ics,
            }
            for row in catalogue.rows().values()
        ]
    }


def journal_verify(
    path: Path, reading: journal.Reading | None, problem: str, expected: str | None, status: int
) -> dict[str, Any]:
    """``journal verify``; without a reading the chain did not hold. ``expected`` is what ``--expect`` gave."""
    end = reading.entries[-1] if reading else None
    return head("journal verify", status) | {
        "file": str(path),
        "holds": reading is not None,
        "problem": problem,
        "records": len(reading.entries) if reading else 0,
        "is_complete": bool(reading and reading.is_complete),
        "torn_bytes": reading.torn_bytes if reading else 0,
        "frames": end.frames if isinstance(end, journal.End) else None,
        "why_ended": end.why if isinstance(end, journal.End) else None,
        "chain": reading.chain if reading else None,
        "expected": expected,
        "is_as_expected": bool(reading and reading.chain.startswith(expected)) if expected else None,
    }


def journal_show(
    path: Path, reading: journal.Reading, problem: str, shown: Sequence[Mapping[str, Any]], status: int
) -> dict[str, Any]:
    """``journal show``; ``reading`` has what held before the ``problem``, if there was one."""
    header = header_of(reading)
    return head("journal show", status) | {
        "file": str(path),
        "design": {"name": header.design, "digest": header.design_digest},
        "left_out": list(header.without),
        "accepts": list(header.accepts),
        "is_complete": reading.is_complete,
        "problem": problem,
        "chain": reading.chain or None,
        "entries": list(shown),
    }


def device(run: Run) -> dict[str, Any]:
    """What was run."""
    plan: Plan = run.record.plan
    return {
        "design": run.design.name,
        "digest": run.design.digest,
        "frame_ms": run.design.frame_ms,
        "frames": plan.frames,
        "seed": plan.seed,
        "patient": plan.patient,
    }


def run_figures(run: Run) -> dict[str, Any]:
    """One run's figures."""
    seen = walls_seen(run.record.notes)
    tally = figures.tally(run.reading)
    kills, launches = figures.spread(run.kill_ms), figures.spread(figures.launches_ms(run))
    found = figures.glycaemia_of(run)
    return {
        "frames_done": run.record.frames_done,
        "starts": run.record.starts,
        "monitor_status": run.record.exit_status,
        "clock": run.record.plan.clock,
        "wall_s": round(run.record.wall_s, TIME_DIGITS),
        "boot_ms": _rounded(figures.boot_ms(run), TIME_DIGITS),
        "boot": _boot(run),
        "walls": {
            "standing": walls.in_order(seen.standing) if seen else [],
            "unavailable": walls.in_order(seen.unavailable) if seen else [],
            "left_out": walls.in_order(seen.left_out) if seen else [],
        },
        "messages_admitted": tally.admitted,
        "messages_refused": tally.refused,
        "rulings": tally.rulings,
        "restarts": figures.restarts(run),
        "lateness_ms": {name: _spread(late) for name, late in figures.lateness_ms(run).items()},
        "kill_ms": _spread(kills),
        "restart_ms": _spread(launches),
        "glycaemia": _glycaemia(found) if found else None,
        "journal": {
            "chain": run.chain,
            "is_complete": bool(run.reading and run.reading.is_complete),
            "problem": run.journal_problem,
        },
    }


def _boot(run: Run) -> dict[str, Any] | None:
    """The root that the device trusts, and what each stage verified before it ran or used it."""
    for note in run.record.of_kind("chain"):
        verifier = run.record.plan.verifier
        told = attestation(verifier.appraisal) if isinstance(verifier, Attester) else None
        return {
            "root_key_sha256": note.facts["root"],
            "chain": [link._asdict() for link in chain_of(note)],
            "attestation": told and {name: told[name] for name in ("verdict", "sentence", "release")},
        }
    return None


def attestation(found: Appraisal | None) -> dict[str, Any] | None:
    """What a verifier made of a device's answer; None when there was none."""
    if found is None:
        return None
    return {
        "verdict": found.verdict.value,
        "sentence": found.sentence,
        "serial": found.serial or None,
        "release": found.release or None,
        "lifecycle": found.lifecycle or None,
        "is_debug": found.is_debug,
        "issued_at_s": found.issued_at_s,
        "checks": [msgspec.structs.asdict(check) for check in found.checks],
        "first_difference": _row(found.first) if found.first is not None else None,
        "rows": [_row(row) for row in found.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return msgspec.structs.asdict(row) | {"mark": row.mark.value}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _spread(values: figures.Spread | None) -> dict[str, Any] | None:
    if values is None:
        return None
    measured = {"p50": values.p50_ms, "p99": values.p99_ms, "max": values.max_ms}
    return {"count": values.count} | {key: round(value, TIME_DIGITS) for key, value in measured.items()}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _glycaemia(found: Glycaemia) -> dict[str, Any]:
    fields = msgspec.structs.asdict(found)
    return {
        key: round(value, FIGURE_DIGITS) if isinstance(value, float) else value
        for key, value in fields.items()
    }


def _harm(grade: HarmGrade | None) -> dict[str, Any] | None:
    if grade is None:
        return None
    return {"grade": grade.severity.name, "reason": grade.reason, "graded_min": grade.graded_min}


def _trial(trial: Trial, run: Run) -> dict[str, Any]:
    return {
        "at": clock_text(trial.injection.frame, run.design.frame_ms),
        "frame": trial.injection.frame,
        "id": trial.row.id,
        "name": trial.row.name,
        "tried": trial.row.plain or trial.row.attempt,
        "expected": trial.row.expected,
        "cwe": trial.row.cwe,
        "emb3d": trial.row.emb3d,
        "attack_ics": trial.row.ics,
        "outcome": trial.outcome.value,
        "stopped_by": {
            "walls": trial.stopping.walls,
            "observed": [
                {"event": one.event, "reason": one.reason or None} for one in trial.stopping.observed
            ],
            "attacker_reports": trial.stopping.reported or None,
            "stand_against_it": trial.stopping.candidates,
        },
        "stopped_by_text": trial.stopping.text,
        "effect": trial.effect.sentence,
        "has_effect": trial.effect.succeeded,
        "effect_without_walls": trial.open_effect.sentence,
        "has_effect_without_walls": trial.open_effect.succeeded,
        "undelivered_without_walls": trial.undelivered,
        "masked_by": trial.masked_by,
    }
