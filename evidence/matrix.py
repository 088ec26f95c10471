"""The attack x wall matrix: the cut sets of many attacks, searched side by side, kept as they are found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from evidence import ablation, experiment, masking
from evidence.ablation import Cut, Row
from evidence.outcome import Outcome
from evidence.workers import Summary, Workers
from faults import attack_files
from faults.attack import ATTACKED, Attack, Injection
from monitor.design import Design
from sandbox import passport, walls

_ROOT = Path(__file__).resolve().parent.parent
#: When every attack strikes: late enough for messages to have been overheard, and for therapy's hourly settings.
FRAME = 14
#: An experiment of an ablation ends after the longest budget without walls and a little more.
EXPERIMENT_S_MAX = 45.0


class Kept(msgspec.Struct, frozen=True):
    """A row as it is kept in a file.

    ``design`` is the digest of the device, ``code`` that of all that runs, ``available`` the walls of the host.
    """

    design: str
    code: str
    available: tuple[str, ...]
    attack_id: str
    variant: str
    outcome: Literal["HELD", "BREACH", "NOT-ACTIVATED", "VACUOUS", "MASKED-BY-HOST", "NO-REPLY", "UNKNOWN"]
    reason: str
    cuts: tuple[tuple[tuple[str, ...], str], ...]
    is_complete: bool
    questions: int
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """All rows, in the order of their ids and variants, and the walls that this host can raise."""

    design: Design
    rows: tuple[Row, ...]
    available: frozenset[str]

    @property
    def carriers(self) -> frozenset[str]:
        """Walls in some cut set."""
        return frozenset[str]().union(*(row.carriers for row in self.rows))

    @property
    def idle(self) -> tuple[str, ...]:
        """Walls that carry nothing: in no cut set of any of these attacks.

        Of the walls of the boot it is said only where an attack strikes the flash, of all others where one does not.
        """
        attacks = attack_files.built(self.design.folder)
        on_flash = {
            attacks[row.attack_id].tamper is not None for row in self.rows if row.attack_id in attacks
        }
        asked = frozenset[str]()
        asked |= walls.BOOT_WALL_NAMES if True in on_flash else frozenset()
        asked |= walls.ALL - walls.BOOT_WALL_NAMES if False in on_flash else frozenset()
        return tuple(walls.in_order(self.available & asked - self.carriers))

    @property
    def alone(self) -> dict[str, tuple[str, ...]]:
        """Wall -> the attacks that only it stops: without it they get through, whatever else stands."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            for cut in row.cuts:
                if len(cut.walls) == 1:
                    found.setdefault(next(iter(cut.walls)), []).append(row.name)
        return {name: tuple(found[name]) for name in walls.in_order(found)}

    @property
    def on_a_stand_in(self) -> str:
        """A sentence about the attacks on the program that runs the experiment; empty when there are none."""
        attacks = attack_files.built(self.design.folder)
        ids = [row.attack_id for row in self.rows if "worker" in attacks[row.attack_id].needs]
        if not ids:
            return ""
        return (
            f"In {', '.join(ids)}, what is attacked is a stand-in for the program that runs the experiment: a process "
            "that it starts as its child for this, with its user and outside all walls, which holds a verdict in "
            "memory and answers on its standard output, so that an attack that gets through costs the stand-in, and "
            "can still be judged."
        )

    @property
    def problems(self) -> list[str]:
        """Attacks that did not hold with all walls, or about which the search could not be sure."""
        found = [
            f"{r.name}: {r.outcome.value}: {r.reason}" for r in self.rows if r.outcome is not Outcome.HELD
        ]
        found += [
            f"{r.name}: there may be more cut sets{': ' if r.doubts else ''}{'; '.join(r.doubts[:2])}"
            for r in self.rows
            if r.outcome is Outcome.HELD and not r.is_complete
        ]
        return found

    def size_with(self, row: Row, wall: str) -> int:
        """The size of the row's smallest cut set that holds ``wall``; 0: in none."""
        return min((len(cut.walls) for cut in row.cuts if wall in cut.walls), default=0)


def target_of(attack: Attack, design: Design) -> str | None:
    """The partition to take over with an attack: one that it names, else the networked one if any will do. For an
    attack on the flash, which takes none over, what an injection has that names none.

    ``None``: this device has none; attacks on the channel speak the messages of the reference device.
    """
    if attack.tamper is not None:  # it takes none over; it needs one whose image it can aim at
        return ATTACKED if any(p.is_critical for p in design.partitions) else None
    names = [p.name for p in design.partitions]
    named = next((name for name in attack.partitions if name in names), None)
    if named is not None or attack.id[0] != "K":
        return named
    return next((p.name for p in design.partitions if p.is_networked), None)


def targets_of(attack: Attack, design: Design) -> tuple[str, ...]:
    """All partitions of this device that can be taken over with an attack; none, where it has nothing to try."""
    names = {p.name for p in design.partitions}
    first = target_of(attack, design)
    if attack.tamper is not None:
        return (first,) if first else ()
    return tuple(name for name in attack.partitions if name in names) or ((first,) if first else ())


def built_for(design: Design) -> dict[str, Attack]:
    """The attacks that can be tried on this device, by id. Raises ``AttackFileWrong``."""
    built = attack_files.built(design.folder)
    return {name: attack for name, attack in built.items() if targets_of(attack, design)}


def available_walls() -> frozenset[str]:
    """The walls that this host can raise, tried now."""
    return walls.ALL - passport.probe().unavailable


def search(
    design: Design,
    folder: Path,
    attack_ids: Sequence[str],
    workers: int,
    on_row: Callable[[Row, int, int], None] = lambda *_: None,
    keep: Path | None = None,
) -> Matrix:
    """Search the cut sets of these attacks, ``workers`` at a time. ``folder`` is the design's, as experiments name it.

    An attack has a row for each of its ``variants``. ``on_row`` hears each row, how many are done, and of how many.
    With ``keep`` rows are appended to that file, and rows that it holds of this very design and host are not searched
    again. Raises ``OSError`` and ``KeyError``.
    """
    available = available_walls()
    attacks = attack_files.built(design.folder)
    wanted = {
        (attack_id, experiment.parameters_told(parameters)): parameters
        for attack_id in sorted(attack_ids)
        for parameters in attacks[attack_id].variants
    }
    kept = {(row.attack_id, row.variant): row for row in _kept(keep, design, available)}
    done = {key: row for key, row in kept.items() if key in wanted}

    def one(attack_id: str, variant: str) -> Row:
        attack = attacks[attack_id]

        def ask(without: frozenset[str]) -> Summary:
            one = Injection(
                FRAME, attack_id, wanted[attack_id, variant], partition=target_of(attack, design) or ""
            )
            return pool.ask(experiment.single(folder, one, without).line, EXPERIMENT_S_MAX)

        found = ablation.search(
            attack_id,
            ask,
            available,
            attack.walls,
            is_root=os.geteuid() == 0,
            loses_its_window=attack.costs_a_restart,
            is_a_race=attack.is_a_race,
            masked_by=masking.masked_by(attack_id, walls.ALL - available),
        )
        return replace(found, variant=variant)

    with Workers() as pool, ThreadPoolExecutor(workers) as threads:
        futures = [threads.submit(one, *key) for key in wanted if key not in done]
        try:
            for future in as_completed(futures):
                row = future.result()
                done[row.attack_id, row.variant] = row
                _keep(keep, design, available, row)
                on_row(row, len(done), len(wanted))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.abandon()
            raise
    return Matrix(design, tuple(done[key] for key in wanted), available)


def _kept(keep: Path | None, design: Design, available: frozenset[str]) -> Iterable[Row]:
    if keep is None or not keep.exists():
        return
    for line in keep.read_bytes().splitlines():
        try:
            one = msgspec.json.decode(line, type=Kept)
        except msgspec.DecodeError:
            continue  # torn by a kill in the middle of a write, or not ours: that row is searched again
        is_same = (one.design, one.code) == (design.digest, code_digest(design.folder))
        names = {name for cut, _ in one.cuts for name in cut}
        if is_same and frozenset(one.available) == available and names <= walls.ALL:
            cuts = tuple(Cut(frozenset(names), told) for names, told in one.cuts)
            yield Row(
                one.attack_id,
                Outcome(one.outcome),
                one.reason,
                cuts,
                one.is_complete,
                one.questions,
                one.doubts,
                one.variant,
            )


def may_keep_in(path: Path) -> bool:
    """Whether a file is a record of rows, empty, or not there: nobody else's file is written into."""
    if not path.exists() or not path.stat().st_size:
        return True
    for line in path.read_bytes().splitlines():
        try:
            msgspec.json.decode(line, type=Kept)
        except msgspec.DecodeError:
            continue  # torn, perhaps
        return True
    return False


@cache
def code_digest(folder: Path) -> str:
    """A digest of all that a row depends on: the design's folder, Bulkhead's own code, the kernel, and who asks."""
    found = sha256(f"{os.uname().release} {os.geteuid() == 0}".encode())
    rooms = ("ipc_schemas", "boot", "sandbox", "monitor", "partitions", "world", "faults", "evidence")
    files = [path for room in rooms for path in sorted((_ROOT / room).rglob("*.py"))]
    for path in (*files, *sorted(path for path in folder.rglob("*") if path.is_file())):
        if "__pycache__" not in path.parts:
            found.update(str(path).encode(errors="replace") + sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _keep(keep: Path | None, design: Design, available: frozenset[str], row: Row) -> None:
    if keep is None:
        return
    one = Kept(
        design.digest,
        code_digest(design.folder),
        tuple(sorted(available)),
        row.attack_id,
        row.variant,
        cast(Any, row.outcome.value),
        row.reason,
        tuple((tuple(sorted(cut.walls)), cut.line) for cut in row.cuts),
        row.is_complete,
        row.questions,
        row.doubts,
    )
    with open(keep, "ab") as out:
        out.write(b"\n" + msgspec.json.encode(one) + b"\n")
