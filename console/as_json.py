"""The JSON objects, one per verb, as docs/json.md documents them. Pure: values in, plain dicts out."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from console import VERSION, figures
from console.design_page import crossings
from console.image_probe import ImageCheck
from console.journal_page import header_of
from console.passport_page import Stamp, host_facts, lacking
from console.scene import in_order, walls_seen
from console.telling import clock_text
from evidence.harm import HarmGrade
from evidence.story import Story, Trial, unfinished
from faults import catalogue
from faults.experiment import Run
from monitor import journal
from monitor.design import Design
from monitor.rules import RULES, Finding
from world.bench import Plan

FORMAT = 1


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


def story(found: Story, verb: str, status: int) -> dict[str, Any]:
    """The main job and ``attack``."""
    runs = {"attacked": found.attacked, "replayed": found.replayed, "calm": found.calm, "open": found.open}
    grades = {"attacked": found.harm_attacked, "open": found.harm_open}
    comparison = found.comparison
    return head(verb, status) | {
        "held": found.held,
        "problems": found.problems,
        "degraded": figures.degraded(found.attacked),
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
        "problems": unfinished(found),
        "degraded": figures.degraded(found),
        "device": device(found),
        "attacks": attacks,
        "run": run_figures(found) | {"harm": _harm(grade)},
    }


def check(
    design: Design, findings: Sequence[Finding], images: Sequence[ImageCheck], status: int
) -> dict[str, Any]:
    """``check``."""
    broken = {finding.rule for finding in findings}
    return head("check", status) | {
        "design": {"name": design.name, "digest": design.digest},
        "rules": [
            {"name": r.name, "passes": r.name not in broken, "statement": r.statement, "source": r.source}
            for r in RULES
        ],
        "findings": [finding._asdict() for finding in findings],
        "images": [{"passes": image.passes} | asdict(image) for image in images],
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
                "is_built": row.built,
                "cwe": row.cwe,
                "emb3d": row.emb3d,
                "attack_ics": row.ics,
            }
            for row in catalogue.rows().values()
        ]
    }


def journal_verify(path: Path, reading: journal.Reading | None, problem: str, status: int) -> dict[str, Any]:
    """``journal verify``; without a reading the chain did not hold."""
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
    }


def journal_show(path: Path, reading: journal.Reading, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``journal show``."""
    header = header_of(reading)
    return head("journal show", 0) | {
        "file": str(path),
        "design": {"name": header.design, "digest": header.design_digest},
        "left_out": list(header.without),
        "is_complete": reading.is_complete,
        "chain": reading.chain,
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
        "monitor_status": run.record.exit_status,
        "clock": run.record.plan.clock,
        "wall_s": run.record.wall_s,
        "boot_ms": figures.boot_ms(run),
        "walls": {
            "standing": in_order(seen.standing) if seen else [],
            "unavailable": in_order(seen.unavailable) if seen else [],
            "left_out": in_order(seen.left_out) if seen else [],
        },
        "messages_admitted": tally.admitted,
        "messages_refused": tally.refused,
        "rulings": tally.rulings,
        "restarts": figures.restarts(run),
        "lateness_ms": {name: _spread(late) for name, late in figures.lateness_ms(run).items()},
        "kill_ms": _spread(kills),
        "restart_ms": _spread(launches),
        "glycaemia": msgspec.structs.asdict(found) if found else None,
        "journal": {
            "chain": run.chain,
            "is_complete": bool(run.reading and run.reading.is_complete),
            "problem": run.journal_problem,
        },
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _spread(values: figures.Spread | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {"count": values.count, "p50": values.p50_ms, "p99": values.p99_ms, "max": values.max_ms}


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
        "cwe": trial.row.cwe,
        "emb3d": trial.row.emb3d,
        "attack_ics": trial.row.ics,
        "outcome": trial.outcome.value,
        "stopped_by": trial.stopped_by,
        "effect": trial.effect.sentence,
        "has_effect": trial.effect.succeeded,
        "effect_without_walls": trial.open_effect.sentence,
        "has_effect_without_walls": trial.open_effect.succeeded,
    }
