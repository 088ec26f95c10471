"""What runs in a Dask worker: one trial at a time, each in a process tree of its own below.

A Dask worker is trusted tooling. It never performs an experiment itself: it keeps one ``evidence.workers.Worker``, and
what an attack takes down is that one. What comes back is JSON of a known shape.
"""

from __future__ import annotations

import atexit
import time
from functools import cache
from pathlib import Path

import msgspec

from evidence import matrix
from evidence.campaign import results
from evidence.campaign.strata import Campaign, Sampler
from evidence.outcome import Outcome
from evidence.workers import Worker
from faults import attack_files
from monitor.design import Design
from monitor.loader import load_design
from sandbox import walls

#: An experiment that takes longer has no answer: the longest attack holds a device for a few seconds.
ANSWER_S_MAX = 45.0


class Here(msgspec.Struct, frozen=True):
    """What a trial's result depends on besides the campaign, as this process finds it."""

    design: str
    code: str
    available: tuple[str, ...]


def this_host(design: Design) -> Here:
    """What this very process finds."""
    return Here(design.digest, matrix.code_digest(design.folder), tuple(sorted(matrix.available_walls())))


def here(design_folder: str) -> bytes:
    """``Here`` as JSON. Raises ``DesignError`` and ``OSError``."""
    return msgspec.json.encode(this_host(load_design(Path(design_folder), walls.ALL)))


@cache
def _worker() -> Worker:
    worker = Worker()
    atexit.register(worker.close)
    return worker


def abandon() -> None:
    """End the experiment that goes on in this process, and start no other: its campaign was interrupted.

    Called from another thread than the one that waits for the answer.
    """
    _worker().abandon()


@cache
def _sampler(campaign_json: bytes) -> Sampler:
    campaign = msgspec.json.decode(campaign_json, type=Campaign)
    return Sampler(campaign, attack_files.built(Path(campaign.design).resolve()))


def perform(campaign_json: bytes, number: int, unavailable: tuple[str, ...]) -> bytes:
    """Trial ``number`` of a campaign, and its control: a ``Result`` as JSON."""
    started_s = time.monotonic()
    trial = _sampler(campaign_json).trial(number)
    result = results.performed(trial, lambda line: _worker().ask(line, ANSWER_S_MAX), frozenset(unavailable))
    if result.outcome == Outcome.NO_REPLY.value:
        _worker().close()  # whatever was the matter with it shall not cost the next trial its answer, too
    took_s = round(time.monotonic() - started_s, 4)
    return msgspec.json.encode(msgspec.structs.replace(result, took_s=took_s))
