"""Runs on the real clock, attacked beside unattacked in turn, so that what the host does meanwhile meets both alike.

The attacker holds the networked partition by its image, behind all walls, and strikes again in every window that it
gets. Nobody samples processes meanwhile: a watcher would be load, too.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from evidence import hastened, matrix
from evidence.lateness import Pair, Sample
from faults import attack_files
from faults import experiment as runs
from faults.attack import Injection, Value
from faults.implant.implant_main import LASTS_FRAMES_MAX
from faults.window_times import NoTimes, WindowTimes, read_off
from monitor.design import Design
from monitor.loader import load_design, load_schemas
from sandbox import walls
from world.bench import Bench, Plan, Record, run_folder

NONE, RT = "none", "rt"
#: A note of the monitor holds the lateness of every window of a run, and has to fit its socket.
FRAMES_MAX = 3_000
_SAID = re.compile(r"ATTACK (\w+) (begin|end) frame=\d+")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of pressure: an attack of the catalogue with fixed parameters, and what it does in a few words."""

    attack_id: str
    what: str
    parameters: Mapping[str, Value] = field(default_factory=dict)


#: What holding on to its booty would waste is spent on the next strike.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "cpu": Kind("K20", "spins, and lets copies of itself spin", {"bytes": 0, "count": 2}),
        "cache": Kind("K20", "walks through 48 MiB, a cache line at a time", {"bytes": 48 << 20, "count": 2}),
        "memory": Kind("K17", "takes all the memory it can get, every page of it", {"hold_s": 0}),
        "fork": Kind("K16", "splits into 64 copies", {"hold_s": 0, "seconds": 1}),
        "disk": Kind("K19", "fills its disk and opens files without end", {"hold_s": 0, "token": "late"}),
    }
)


@dataclass(slots=True)
class Measured:
    """All pairs, by priority and kind in the order asked for; ``granted`` is what the host gave of ``rt``."""

    design: Design
    partition: str
    attacker: str
    frames: int
    rounds: int
    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    granted: dict[str, object] | None = None
    loads: tuple[float, float] = (0.0, 0.0)
    walls_standing: int = 0

    @property
    def judged_priority(self) -> str:
        """The last one asked for: with all that protects."""
        return list(self.pairs)[-1]

    @property
    def judged(self) -> list[Pair]:
        """The pairs that count."""
        return self.pairs[self.judged_priority]


class NobodyToAttack(Exception):
    """A design in which this attack has nobody to take over, or nobody to make late."""


@dataclass(slots=True)
class _Bag:
    """What gathers for one priority and kind."""

    attacked: list[WindowTimes] = field(default_factory=list)
    alone: list[WindowTimes] = field(default_factory=list)
    struck: int = 0
    problems: list[str] = field(default_factory=list)


def measure(
    design: Design,
    kinds: Sequence[str],
    priorities: Sequence[str],
    frames: int,
    rounds: int,
    on_run: Callable[[int, int, str], None] = lambda *_: None,
    *,
    seed: int = 1,
) -> Measured:
    """``rounds`` pairs of runs of ``frames`` frames for each kind and priority.

    ``on_run`` hears how many runs are done, of how many, and what the last one was. Raises ``NobodyToAttack``,
    ``CannotHasten``, ``BenchError`` and ``DesignError``.
    """
    victim = next((p.name for p in design.partitions if p.is_critical), None)
    attacker = next((p.name for p in design.partitions if p.is_networked and not p.is_critical), None)
    if victim is None or attacker is None:
        missing = "critical" if victim is None else "networked"
        raise NobodyToAttack(f"{design.name} has no {missing} partition; lateness needs one of each")
    total, done = 2 * rounds * len(kinds) * len(priorities), 0
    before = os.getloadavg()[0]
    bags = {(priority, kind): _Bag() for priority in priorities for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="bh-late-") as place:
        os.chmod(place, 0o711)
        folder = hastened.write(design, Path(place) / "design")
        quick = load_design(folder, walls.ALL)
        load_schemas(quick)
        found = Measured(quick, victim, attacker, frames, rounds)
        for turn in range(rounds):
            for kind in kinds:
                for priority in priorities:
                    for name in ("", kind):
                        _one(
                            found,
                            Plan(folder, frames, seed + turn, clock="real"),
                            name,
                            priority,
                            bags[priority, kind],
                        )
                        done += 1
                        on_run(done, total, f"{name or 'unattacked'}, priority {priority}")
    for (priority, kind), bag in bags.items():
        pair = Pair(
            kind,
            Sample(tuple(bag.attacked)),
            Sample(tuple(bag.alone)),
            bag.struck,
            rounds * frames,
            tuple(bag.problems),
        )
        found.pairs.setdefault(priority, []).append(pair)
    found.loads = (before, os.getloadavg()[0])
    return found


def _one(found: Measured, plan: Plan, kind: str, priority: str, bag: _Bag) -> None:
    """One run, into its bag."""
    record = _run(found.design, plan, found.attacker, kind, priority)
    for note in record.of_kind("scheduling"):
        found.granted = dict(note.facts)
    for note in record.of_kind("walls"):
        standing = note.facts["standing"]
        found.walls_standing = len(standing) if isinstance(standing, list) else 0
    for note in record.of_kind("unprioritised"):
        bag.problems.append(f"{kind or 'unattacked'}, seed {plan.seed}: {note.text}")
    try:
        times = read_off(record, found.partition, found.design.window_of(found.partition).budget_ms)
    except NoTimes as problem:
        bag.problems.append(f"{kind or 'unattacked'}, seed {plan.seed}: {problem}")
        return
    if kind:
        bag.struck += len(frames_struck(record, found.attacker))
    (bag.attacked if kind else bag.alone).append(times)


def _run(design: Design, plan: Plan, attacker: str, kind: str, priority: str) -> Record:
    plan = Plan(plan.design, plan.frames, plan.seed, clock="real", priority=RT if priority == RT else "")
    if kind:
        plan = runs.with_implants(design, plan, *(2 * [schedule(kind, attacker, plan.frames)]))
    with run_folder() as folder, Bench() as bench:
        return bench.run(plan, folder)


def schedule(kind: str, attacker: str, frames: int) -> list[Injection]:
    """A strike in every frame of a run."""
    one = KINDS[kind]
    given = {**one.parameters, "for_frames": LASTS_FRAMES_MAX}
    return [
        Injection(frame, one.attack_id, given, partition=attacker)
        for frame in range(0, frames, LASTS_FRAMES_MAX)
    ]


def frames_struck(record: Record, attacker: str) -> frozenset[int]:
    """The frames in which an attack had begun and not ended, by the attacker's own lines in the monitor's log.

    An attack ends at the latest with the attacker's life.
    """
    struck: set[int] = set()
    since: int | None = None
    for note in record.notes:
        if note.partition != attacker:
            continue
        said = _SAID.search(note.text) if note.kind == "log" else None
        if said is not None and said[2] == "begin":
            since = note.frame
            struck.add(note.frame)
        elif since is not None and (said is not None or note.kind in ("ended", "killed")):
            struck.update(range(since, note.frame + 1))
            since = None
    if since is not None:
        struck.update(range(since, record.frames_done))
    return frozenset(struck)


def kinds_of(design: Design) -> tuple[str, ...]:
    """The kinds for which this design has somebody to take over."""
    attacks = attack_files.built(design.folder)
    return tuple(
        name for name, kind in KINDS.items() if matrix.target_of(attacks[kind.attack_id], design) is not None
    )
