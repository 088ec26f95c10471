"""The verb ``ablate``: search the cut sets, show them, write them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from console import ablation_page, failures, jobs
from console.as_json import head
from console.failures import Refused
from console.output import Output
from console.scene import label_of
from console.shrink_job import fitting_experiment
from evidence import experiment, flaws, matrix, matrix_html
from evidence.ablation import Row
from evidence.experiment import References
from evidence.matrix import Matrix
from evidence.outcome import Outcome
from evidence.workers import summary_of
from sandbox import walls
from world.nursery import Nursery


def ablate(output: Output, given: Mapping[str, Any]) -> int:
    """Status 0 only if every attack held with all walls and all cut sets are known."""
    design = jobs.sound_design(given["design"])
    wanted = jobs.wanted(given["attacks"], matrix.built_for(design))
    html = given["html"]
    if html is not None:
        _require_writable("--html", html)
    if given["resume"] is not None:
        jobs.require_outside("--resume", given["resume"], design)
        _require_writable("--resume", given["resume"])
        if not matrix.may_keep_in(given["resume"]):
            raise Refused(
                f"--resume {given['resume']}: it is there already, and holds no row of this verb; name another file"
            )
    started_s = time.monotonic()

    def on_row(row: Row, done: int, total: int) -> None:
        share = done / total
        left_s = (time.monotonic() - started_s) * (1.0 - share) / share
        output.show(ablation_page.progress(row, done, total, left_s))

    workers = given["workers"] or os.cpu_count() or 1
    found = matrix.search(design, as_named(given["design"]), wanted, workers, on_row, keep=given["resume"])
    output.show(ablation_page.page(found))
    if html is not None:
        html.write_text(matrix_html.page(found), encoding="utf-8")
        output.show(f"picture: {html}")
    output.verdict(ablation_page.closing(found))
    status = failures.NOT_HELD if found.problems else failures.HELD
    output.write_json(as_json(found, status))
    return status


def _require_writable(option: str, path: Path) -> None:
    """See that a file can be written before the long search. Raises ``Refused``."""
    is_new = not path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        raise Refused(
            f"{option} {path}: {error.strerror}; name a file in a folder that can be written"
        ) from None
    if is_new:
        path.unlink()


def as_named(design: Path) -> Path:
    """The design's folder as it stands in a line: below the working directory without what leads there."""
    whole = design.resolve()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole


def replay(output: Output, given: Mapping[str, Any]) -> int:
    """One experiment again, from its line. Status 0 only if it held."""
    one, design = fitting_experiment(given["line"])
    with Nursery() as nursery:
        references = References(nursery)
        found = experiment.perform(one, references)
        told = summary_of(found)
        named = flaws.named(
            told, design, lambda line: summary_of(experiment.perform(experiment.read(line), references))
        )
    label = label_of(one.without, design.with_walls(one.restored))
    output.show(ablation_page.finding(found, named, label))
    output.verdict(ablation_page.outcome_line(found, label))
    status = failures.HELD if found.outcome is Outcome.HELD else failures.NOT_HELD
    more = {"flaws": named, "degraded": label}
    output.write_json(head("replay", status) | msgspec.to_builtins(told) | more)
    return status


def as_json(found: Matrix, status: int) -> dict[str, Any]:
    """The object that ``docs/json.md`` describes."""
    return head("ablate", status) | {
        "design": found.design.name,
        "design_digest": found.design.digest,
        "degraded": found.design.label,
        "walls": walls.in_order(found.available),
        "attacks": [
            {
                "id": row.attack_id,
                "parameters": row.variant,
                "outcome": row.outcome.value,
                "reason": row.reason,
                "cut_sets": [{"walls": walls.in_order(cut.walls), "line": cut.line} for cut in row.cuts],
                "is_complete": row.is_complete,
                "experiments": row.questions,
                "doubts": list(row.doubts),
            }
            for row in found.rows
        ],
        "walls_that_carry_nothing": list(found.idle),
        "walls_that_stand_alone": {name: list(ids) for name, ids in found.alone.items()},
        "problems": found.problems,
    }
