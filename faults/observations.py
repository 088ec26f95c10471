"""What the harness saw of a run, in the shapes in which detectors are given it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from faults.collector import Received
from faults.watcher import Peaks, Survivor
from ipc_schemas import insulin_pump


class Admitted(NamedTuple):
    """What the monitor let through to one port in one frame.

    ``source`` is the partition it put it down to.
    """

    frame: int
    source: str
    port: str
    payloads: tuple[bytes, ...]


class Emission(NamedTuple):
    """One message of a critical partition: T of the design's section on isolation."""

    frame: int
    port: str
    payload: bytes


class Life(NamedTuple):
    """One life of a partition. ``ended_frame`` is ``None`` for a life that lasted to the end of the run."""

    partition: str
    epoch: int
    started_frame: int
    ended_frame: int | None
    reason: str


class LogLine(NamedTuple):
    """One line of a partition's standard error."""

    frame: int
    partition: str
    text: str


class Missed(NamedTuple):
    """A window that a partition did not have, or did not end in time."""

    frame: int
    partition: str


@dataclass(frozen=True)
class Observations:
    """All that the harness saw of a run. ``None`` says that it did not look.

    ``reference_outputs`` is therapy's output to compare with: of the run in which a player feeds exactly the
    messages that were admitted (``reference_is_replay``), or else of the twin without an attacker. ``peaks``
    is by label (partition, or ``gate_label`` for the attacked partition's gate) and frame, as the watcher
    keeps it. ``canaries`` are the secrets that the harness planted.
    """

    log_lines: tuple[LogLine, ...]
    admitted: tuple[Admitted, ...] | None = None
    therapy_outputs: tuple[Emission, ...] | None = None
    reference_outputs: tuple[Emission, ...] | None = None
    reference_is_replay: bool = False
    true_glucose_mg_dl: tuple[float, ...] | None = None
    received: tuple[Received, ...] | None = None
    peaks: Mapping[tuple[str, int], Peaks] | None = None
    frame_seconds: Mapping[int, float] | None = None
    shared_files: Mapping[tuple[int, str], int] | None = None
    survivors: tuple[Survivor, ...] | None = None
    lives: tuple[Life, ...] | None = None
    missed: tuple[Missed, ...] | None = None
    canaries: tuple[bytes, ...] = ()
    attacker: str = "transfer"
    victim: str = "therapy"
    gate_label: str = "gate-transfer"
    message_types: Mapping[str, type[msgspec.Struct]] = field(
        default_factory=lambda: {
            "transfer.activity": insulin_pump.ActivityHint,
            "transfer.target_request": insulin_pump.TargetRequest,
            "transfer.upload": insulin_pump.Upload,
        }
    )
