"""One run of a device, attacked or not, and all that the harness saw of it.

An attack gets in through a real door: the image of the partition that is to be taken over. It is the honest image
with an implant beside it that sleeps until its frame; monitor, gates and walls treat it like any other.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faults import attack_files, catalogue, image, means
from faults.attack import ATTACKED, Attack, Injection, Report
from faults.collector import Collector
from faults.outside import Stage
from faults.seen import Peaks, Received, StandIn, Survivor
from faults.stand_in import Substitute
from faults.terminal import Terminal
from faults.watcher import Watcher
from faults.workshop import Workshop
from ipc_schemas import links
from monitor import journal
from monitor.design import Design
from monitor.loader import load_design, load_schemas
from sandbox import walls
from world.bench import Bench, BenchError, Plan, Record, run_folder
from world.devices import Opened, Overlay
from world.making import configs_of, load_world
from world.nursery import Nursery

#: What an attack may leave alive ends by itself this long after the run began.
SURVIVAL_S = 60.0
#: The monitor's exit status when a fault made it stop the device.
SAFE_STATE = 1
#: What refusals, rulings and lives may take of a frame's record, and what a message takes besides itself.
_RECORD_BYTES_OF_EVENTS, _BYTES_OF_A_MESSAGE = 32_768, 16
#: How long after the violent end of a monitor its processes may take to be gone.
PATIENCE_S = 2.0


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
    clock_jumps: tuple[tuple[int, int], ...] = ()
    survivors: tuple[Survivor, ...] = ()
    stand_in: StandIn | None = None
    #: Outside attacks that were carried out: id and frame, and what each says of itself.
    struck: dict[tuple[str, int], Report] = field(default_factory=dict)

    @property
    def world(self) -> Any:
        """The world as the run left it."""
        return self.record.world

    @property
    def world_faults(self) -> tuple[Injection, ...]:
        """What was done to the world from outside: part of any run that this one is compared with."""
        return tuple(one for one in self._struck() if self._attack(one).strikes == "world")

    @property
    def ended_by(self) -> Injection | None:
        """The attack from outside with which this run ended, as it must or may (in order, with status 1), if any."""
        kinds = ("must", "may") if self.record.exit_status == SAFE_STATE else ("must",)
        if self.was_refused:
            return next((one for one in self._struck() if self._attack(one).tamper is not None), None)
        return next((one for one in self._struck() if self._attack(one).ends_the_run in kinds), None)

    @property
    def was_refused(self) -> bool:
        """Whether a stage of the boot did not go on, so that no partition ever ran."""
        return bool(self.record.of_kind("boot_refused")) and not self.record.of_kind("world_gate")

    def _struck(self) -> list[Injection]:
        return [one for one in self.schedule if (one.attack_id, one.frame) in self.struck]

    def _attack(self, one: Injection) -> Attack:
        return attack_files.built(self.design.folder)[one.attack_id]

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
    plan: Plan,
    schedule: Sequence[Injection] = (),
    ears: Ears | None = None,
    keep: Path | None = None,
    nursery: Nursery | None = None,
) -> Run:
    """Run a plan; with a schedule, in the hands of an attacker who holds ``ATTACKED``.

    ``keep`` is where a copy of the journal goes; with a ``nursery`` the monitor comes from there.
    Raises ``BenchError`` and ``DesignError``.
    """
    ears = ears or Ears()
    design = load_design(plan.design, walls.ALL)
    load_schemas(design)  # a world beside them imports them by name
    with run_folder(keep) as folder:
        if not schedule:
            with Bench(nursery, plan) as bench:
                record = bench.run(plan, folder, ears.on_note, ears.on_frame)
            return _read(Run(design, record, None), folder)
        return _attacked(design, plan, schedule, ears, folder, nursery)


def _attacked(
    design: Design,
    plan: Plan,
    schedule: Sequence[Injection],
    ears: Ears,
    folder: Path,
    nursery: Nursery | None,
) -> Run:
    token = "bx" + secrets.token_hex(3)
    now = _Now()
    names = {p.name: p.name for p in design.partitions} | {
        f"gate-{p.name}"[:15]: f"gate-{p.name}" for p in design.partitions
    }
    after_attacks = {one.frame + 1 for one in schedule}
    struck: dict[tuple[str, int], Report] = {}
    ends = ExitStack()
    tampered: dict[tuple[str, int], Report] = {}
    if any(attack_files.built(design.folder)[one.attack_id].tamper is not None for one in schedule):
        if len(schedule) > 1:
            raise BenchError("an attack on the flash of a device that is off stands alone in its run")
        plan = replace(plan, tamper=tampering(design, schedule, tampered, ends, plan.without))
        nursery = None  # which starts no device of its own
    with (
        ends,
        Collector() as collector,
        Terminal() as terminal,
        Bench(nursery, with_implants(design, plan, schedule, schedule)) as bench,
        _open_folder(token) as drop,
        _worker(design, schedule, token) as worker,
    ):
        known = _means(design, collector, bench.monitor.pid, token, terminal, drop)
        if worker is not None:
            known = replace(known, worker_pid=worker.pid, verdict=worker.held)
        equipped = catalogue.with_spans(means.equip(schedule, known, attack_files.built(design.folder)))
        with Watcher(
            bench.monitor.pid, names, now.frame_now, token, folder=drop, run_folder=str(folder)
        ) as watcher:

            def on_frame(frame: int, world: Any) -> None:
                now.frame = frame
                if frame in after_attacks:
                    watcher.await_look()
                struck.update(_strike(design, equipped, Stage(frame + 1, world, bench.monitor.pid)))
                ears.on_frame(frame, world)

            try:
                record = bench.run(
                    with_implants(design, plan, schedule, equipped), folder, ears.on_note, on_frame
                )
            except BaseException:  # interrupted: what attacks left behind ends now, not at its own deadline
                bench.close()
                watcher.end_survivors()
                raise
            survivors = watcher.survivors(0.0 if record.exit_status >= 0 else PATIENCE_S)
            watcher.end_survivors()
    result = Run(
        design,
        record,
        None,
        schedule=tuple(equipped),
        received=collector.received() + terminal.received(),
        peaks=watcher.peaks,
        frame_seconds=watcher.frame_seconds(),
        shared_files=watcher.shared_files,
        clock_jumps=tuple(watcher.clock_jumps),
        survivors=survivors,
        stand_in=worker.seen if worker is not None else None,
        struck=struck | {key: report for key, report in tampered.items() if "missed" not in report},
    )
    return _read(result, folder)


def tampering(
    design: Design,
    schedule: Sequence[Injection],
    reports: dict[tuple[str, int], Report],
    ends: ExitStack,
    without: frozenset[str],
) -> Callable[[Opened], None]:
    """What attacks on the flash do to it, in their order; each leaves its report.

    What goes on while the device runs is left to ``ends``, to be closed after the run. ``without`` are the walls that
    the run leaves out.
    """
    victim = next((p.name for p in design.partitions if p.is_critical), "")

    def tamper(opened: Opened) -> None:
        shop = Workshop(opened, design, victim, ends, without)
        for one in schedule:
            door = attack_files.built(design.folder)[one.attack_id].tamper
            if door is not None:
                reports[one.attack_id, one.frame] = door(shop, dict(one.parameters))

    return tamper


def _strike(design: Design, equipped: Sequence[Injection], stage: Stage) -> dict[tuple[str, int], Report]:
    """Carry out what comes from outside before the stage's frame.

    A report that says what was ``missed`` is of an attack that found nothing to strike: it was not carried out.
    """
    reports: dict[tuple[str, int], Report] = {}
    for one in equipped:
        strike = attack_files.built(design.folder)[one.attack_id].strike
        if one.frame == stage.frame and strike is not None:
            report = strike(stage, dict(one.parameters))
            if "missed" not in report:
                reports[one.attack_id, one.frame] = report
    return reports


@dataclass(slots=True)
class _Now:
    frame: int = 0

    def frame_now(self) -> int:
        return self.frame


def _means(
    design: Design, collector: Collector, run_pid: int, token: str, terminal: Terminal, drop: str
) -> means.Means:
    return means.Means(
        run_pid=run_pid,
        token=token,
        ports={port.full_name: port.number for port in design.ports},
        partitions={partition.name: partition.number for partition in design.partitions},
        collector_tcp_port=collector.tcp_port,
        collector_udp_port=collector.udp_port,
        abstract_name=collector.abstract_name,
        deadline_unix_s=time.time() + SURVIVAL_S,
        restarts={p.name: (p.restart.restarts_max, p.restart.within_frames) for p in design.partitions},
        hints_max=max(
            (
                port.messages_per_frame_max
                for port in design.ports
                if port.full_name == f"{ATTACKED}.activity"
            ),
            default=0,
        ),
        victim=next((p.name for p in design.partitions if p.is_critical), ""),
        terminal=terminal.path,
        folder=drop,
        record_bytes_max=_RECORD_BYTES_OF_EVENTS
        + sum(
            port.messages_per_frame_max * (port.bytes_max + _BYTES_OF_A_MESSAGE)
            for port in design.ports
            if port.is_output
        ),
        core_pattern=Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8").strip(),
        messages_per_frame_max={port.full_name: port.messages_per_frame_max for port in design.ports},
    )


@contextmanager
def _worker(design: Design, schedule: Sequence[Injection], token: str) -> Iterator[Substitute | None]:
    """A stand-in for the worker, where an attack is one on the worker."""
    attacks = attack_files.built(design.folder)
    if not any("worker" in attacks[one.attack_id].needs for one in schedule):
        yield None
        return
    with Substitute(token) as worker:
        yield worker


@contextmanager
def _open_folder(token: str) -> Iterator[str]:
    """A folder into which every process of this machine may write, and which ends with the run."""
    with tempfile.TemporaryDirectory(prefix=f"{token}-") as folder:
        os.chmod(folder, 0o1777)
        yield folder


def with_implants(
    design: Design, plan: Plan, schedule: Sequence[Injection], equipped: Sequence[Injection]
) -> Plan:
    """Each taken-over partition gets its own share of the schedule."""
    overlays = dict(plan.overlays)
    configs = configs_of(design, load_world(design, plan.seed, plan.patient))
    attacks = attack_files.built(design.folder)
    inside = [one for one in catalogue.with_spans(schedule) if attacks[one.attack_id].inject is not None]
    for name in {one.partition for one in inside}:
        partition = design.partition(name)
        own = [one for one in inside if one.partition == name]
        files = image.overlay_files(own, partition.entry, design.folder)
        benign = configs[partition.config] if partition.config else b""
        theirs = [
            one for one in equipped if one.partition == name and attacks[one.attack_id].inject is not None
        ]
        config = image.config_bytes(theirs, benign)
        overlays[name] = Overlay(partition.image, image.ENTRY, files, config)
    return replace(plan, overlays=overlays)


def _read(result: Run, folder: Path) -> Run:
    try:
        result.reading = journal.read(folder / "journal.bhj")
    except (OSError, journal.JournalBroken) as error:
        result.journal_problem = str(error)
    return result
