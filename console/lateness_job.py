"""The verb ``lateness``: measure on the real clock, show it, write it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from console import failures, jobs, lateness_page
from console.as_json import head
from console.failures import Refused
from console.output import Output
from evidence import lateness_html, lateness_runs
from evidence.hastened import CannotHasten
from evidence.lateness import AIM_RATIO_MAX, PERCENTS, Judgement, Pair, Percentile, Sample
from evidence.lateness_runs import KINDS, NONE, RT, Measured, NobodyToAttack

PRIORITIES = {NONE: (NONE,), RT: (RT,), "both": (NONE, RT)}


def lateness(output: Output, given: Mapping[str, Any]) -> int:
    """Status 0 only if every attack was at work and met the aim, with the priority that was asked for."""
    design = jobs.sound_design(given["design"])
    kinds = tuple(dict.fromkeys(given["attack"])) or lateness_runs.kinds_of(design)
    html = given["html"]
    if html is not None and not os.access(html.resolve().parent, os.W_OK):
        raise Refused(f"--html {html}: cannot be written; name a file in a folder that can")
    started_s = time.monotonic()

    def on_run(done: int, total: int, what: str) -> None:
        left_s = (time.monotonic() - started_s) * (total - done) / done
        output.show(lateness_page.progress(done, total, what, left_s))

    priorities = PRIORITIES[given["priority"]]
    try:
        found = lateness_runs.measure(
            design, kinds, priorities, given["frames"], given["rounds"], on_run, seed=given["seed"]
        )
    except (NobodyToAttack, CannotHasten) as error:
        raise Refused(str(error)) from None
    output.show(lateness_page.page(found))
    if html is not None:
        html.write_text(lateness_html.page(found), encoding="utf-8")
        output.show(f"picture: {html}")
    output.verdict(lateness_page.closing(found))
    is_met = all(pair.judgement is Judgement.MET for pair in found.judged)
    status = failures.HELD if is_met else failures.NOT_HELD
    output.write_json(as_json(found, status))
    return status


def as_json(found: Measured, status: int) -> dict[str, Any]:
    """The object that ``docs/json.md`` describes."""
    return head("lateness", status) | {
        "design": found.design.name,
        "frame_ms": found.design.frame_ms,
        "partition": found.partition,
        "attacker": found.attacker,
        "budget_ms": found.design.window_of(found.partition).budget_ms,
        "frames": found.frames,
        "rounds": found.rounds,
        "walls_standing": found.walls_standing,
        "load_average": list(found.loads),
        "processors": len(os.sched_getaffinity(0)),
        "aim_ratio_max": AIM_RATIO_MAX,
        "scheduling": found.granted,
        "priorities": [
            {"priority": priority, "attacks": [_pair(pair) for pair in pairs]}
            for priority, pairs in found.pairs.items()
        ],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "kind": pair.kind,
        "id": KINDS[pair.kind].attack_id,
        "parameters": dict(KINDS[pair.kind].parameters),
        "judgement": pair.judgement.value,
        "frames_struck": pair.struck,
        "frames_attacked": pair.of_frames,
        "problems": list(pair.problems),
        "attacked": _sample(pair.attacked),
        "unattacked": _sample(pair.alone),
        "ratio": {_key(percent): _percentile(pair.ratio(percent)) for percent in PERCENTS},
        "ratio_by_round": pair.ratio_by_round,
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "windows": len(sample.lateness_ms),
        "due": sample.frames,
        "missed": sample.missed,
        "max_ms": sample.max_ms,
        "percentiles_ms": {_key(percent): _percentile(sample.at(percent)) for percent in PERCENTS},
    }


def _percentile(one: Percentile) -> dict[str, Any]:
    return {"value": one.value, "low": one.low, "high": one.high}


def _key(percent: float) -> str:
    return f"p{percent:g}".replace(".", "_")
