"""One run of a device, attacked or not, and all that the harness saw of it.

An attack gets in through a real door: the image of the partition that is to be taken over. It is the honest image
with an implant beside it that sleeps until its frame; monitor, gates and walls treat it like any other.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faults import catalogue, image
from faults.catalogue import Injection, Means
from faults.collector import Collector, Received
from faults.watcher import Peaks, Survivor, Watcher
from ipc_schemas import links
from monitor import journal
from monitor.design import Design
from monitor.loader import load_design
from sandbox import walls
from world.bench import Bench, Plan, Record, run_folder

#: What an attack may leave alive ends by itself this long after the run began.
SURVIVAL_S = 60.0
ATTACKED = "transfer"


@dataclass(slots=True)
class Run:
    """A finished run. ``reading`` is ``None`` when no journal was left that holds."""

    design: Design
    record: Record
    reading: journal.Reading | None
    journal_problem: str = ""
    schedule: tuple[Injection, ...] = ()
    received: tuple[Received, ...] = ()
    peaks: dict[tuple[str, int], Peaks] = field(default_factory=dict)
    frame_seconds: dict[int, float] = field(default_factory=dict)
    shared_files: dict[tuple[int, str], int] = field(default_factory=dict)
    survivors: tuple[Survivor, ...] = ()

    @property
    def world(self) -> Any:
        """The world as the run left it."""
        return self.record.world

    @property
    def kill_ms(self) -> list[float]:
        """Violation received to last process gone, for each kill, in milliseconds."""
        return [float(note.facts["kill_ms"]) for note in self.record.of_kind("killed")]  # type: ignore[arg-type]

    @property
    def chain(self) -> str:
        """The journal's last chain value, empty without a journal."""
        return self.reading.chain if self.reading else ""


@dataclass(frozen=True, slots=True)
class Ears:
    """Who listens while a run goes on."""

    on_note: Callable[[links.Note], None] = lambda _: None
    on_frame: Callable[[int, Any], None] = lambda *_: None


def run(
    plan: Plan, schedule: Sequence[Injection] = (), ears: Ears | None = None, keep: Path | None = None
) -> Run:
    """Run a plan; with a schedule, in the hands of an attacker who holds ``ATTACKED``.

    ``keep`` is where a copy of the journal goes. Raises ``BenchError`` and ``DesignError``.
    """
    ears = ears or Ears()
    design = load_design(plan.design, walls.ALL)
    with run_folder(keep) as folder:
        if not schedule:
            with Bench() as bench:
                record = bench.run(plan, folder, ears.on_note, ears.on_frame)
            return _read(Run(design, record, None), folder)
        return _attacked(design, plan, schedule, ears, folder)


def _attacked(design: Design, plan: Plan, schedule: Sequence[Injection], ears: Ears, folder: Path) -> Run:
    token = "bx" + secrets.token_hex(3)
    now = _Now()
    names = {p.name: p.name for p in design.partitions} | {
        f"gate-{p.name}"[:15]: f"gate-{p.name}" for p in design.partitions
    }
    with Collector() as collector, Bench() as bench:
        equipped = _equip(design, schedule, collector, bench.monitor.pid, token)
        with Watcher(bench.monitor.pid, names, now.frame_now, token) as watcher:

            def on_frame(frame: int, world: Any) -> None:
                now.frame = frame
                ears.on_frame(frame, world)

            try:
                record = bench.run(
                    _with_implant(design, plan, schedule, equipped), folder, ears.on_note, on_frame
                )
            except BaseException:  # interrupted: what attacks left behind ends now, not at its own deadline
                bench.close()
                watcher.end_survivors()
                raise
            survivors = watcher.survivors()
            watcher.end_survivors()
    result = Run(
        design,
        record,
        None,
        schedule=tuple(equipped),
        received=collector.received(),
        peaks=watcher.peaks,
        frame_seconds=watcher.frame_seconds(),
        shared_files=watcher.shared_files,
        survivors=survivors,
    )
    return _read(result, folder)


@dataclass(slots=True)
class _Now:
    frame: int = 0

    def frame_now(self) -> int:
        return self.frame


def _equip(
    design: Design, schedule: Sequence[Injection], collector: Collector, run_pid: int, token: str
) -> list[Injection]:
    means = Means(
        run_pid=run_pid,
        token=token,
        ports={port.full_name: port.number for port in design.ports},
        partitions={partition.name: partition.number for partition in design.partitions},
        collector_tcp_port=collector.tcp_port,
        collector_udp_port=collector.udp_port,
        abstract_name=collector.abstract_name,
        deadline_unix_s=time.time() + SURVIVAL_S,
    )
    contracted = design.port(f"{ATTACKED}.activity").messages_per_frame_max
    bounds = {"C05": {"messages_per_frame_max": contracted}}
    known = [
        replace(one, parameters=bounds.get(one.attack_id, {}) | dict(one.parameters)) for one in schedule
    ]
    return catalogue.with_spans(catalogue.equip(known, means))


def _with_implant(
    design: Design, plan: Plan, schedule: Sequence[Injection], equipped: Sequence[Injection]
) -> Plan:
    files = image.overlay_files(catalogue.with_spans(schedule))
    folder = str(design.partition(ATTACKED).image)
    overlay = links.Overlay(folder, image.ENTRY, files, image.means_bytes(equipped))
    return replace(plan, overlays={**plan.overlays, ATTACKED: overlay})


def _read(result: Run, folder: Path) -> Run:
    try:
        result.reading = journal.read(folder / "journal.bhj")
    except (OSError, journal.JournalBroken) as error:
        result.journal_problem = str(error)
    return result
