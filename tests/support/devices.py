"""Toy devices of two partitions and a world, made from strings; and what is left on the host after a run.

``rogue`` may be made to do anything in a window; ``steady`` beats once a frame and tells what it heard of
rogue. The world ticks, and may fall silent. Every partition has all walls.
"""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor import journal as books
from monitor.design import Event
from sandbox import cgroups, linux
from world.bench import Bench, Plan, Record, run_folder

SCHEMAS = """
from typing import Annotated

import msgspec

Number = Annotated[int, msgspec.Meta(ge=0, le=1000000)]
Small = Annotated[int, msgspec.Meta(ge=0, le=100)]
Word = Annotated[str, msgspec.Meta(max_length=8)]


class Tick(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    n: Number


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    n: Small
    text: Word


class Beat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    n: Number
    heard: Small
"""

ROGUE = """
import ctypes, os, signal, socket, stat, sys, time

import zmq
from design_schemas import Note
from ipc_schemas import codec, wire
from partitions.sdk import Partition, Setup, Window

{top}


class Rogue(Partition):
    def __init__(self, setup):
        self.windows = 0
{init}

    def window(self, window):
        link = window._emit.__self__
        port = window._ports.outputs["note"].number
        self.windows += 1
{body}
        window.send("note", Note(n=min(self.windows, 100), text="ok"))
"""

STEADY = """
from design_schemas import Beat
from partitions.sdk import Partition, Setup, Window


class Steady(Partition):
    def __init__(self, setup):
        self.heard = 0

    def window(self, window):
        for note in window.received("note"):
            self.heard = note.n
        window.send("beat", Beat(n=window.frame, heard=self.heard))
"""

WORLD = """
import random
import time

from design_schemas import Tick


class ToyWorld:
    def __init__(self, seed, patient=0):
        self.chance = random.Random(seed)
        self.beats = []
        self.orphaned_frames = 0

    def configs(self):
        return {{}}

    def frame(self, window):
        beat = window.latest("beat")
        if beat is not None and beat.age_frames == 1:
            self.beats.append((window.frame, beat.value.n, beat.value.heard))
{world}
        window.send("tick", Tick(n=self.chance.randrange(1000)))

    def orphaned(self, frames):
        self.orphaned_frames += frames
"""

TOML = """
[device]
name = "toy"
frame_ms = {frame_ms}
schemas = "schemas.py"

[world]
entry = "world.py:ToyWorld"
budget_ms = {world_budget_ms}

{partitions}

[[channel]]
from = "world.tick"
message = "Tick"
kind = "sampling"
bytes = 32
messages_per_frame = 1
to = {{ "rogue.tick" = {{ freshness_frames = 2 }}, "steady.tick" = {{ freshness_frames = 2 }} }}

[[channel]]
from = "rogue.note"
message = "Note"
kind = "queuing"
bytes = 48
messages_per_frame = 4
rejections_per_frame = 3
to = {{ "steady.note" = {{ depth = 4 }} }}

[[channel]]
from = "steady.beat"
message = "Beat"
kind = "sampling"
bytes = 32
messages_per_frame = 1
to = {{ "world.beat" = {{ freshness_frames = 2 }} }}

[schedule]
windows = [
  {{ partition = "steady", offset_ms = 0, budget_ms = {steady_budget_ms} }},
  {{ partition = "rogue", offset_ms = {steady_budget_ms}, budget_ms = {budget_ms} }},
]
"""

PARTITION = """
[partition.{name}]
safety_class = "B"
critical = {critical}
networked = false
image = "images/{name}"
packages = [{packages}]
entry = "main:{name_capital}"
walls = "all"

[partition.{name}.limits]
memory_mb = 64
processes = 1
files = 32
scratch_kb = 0
cpu_ms_per_frame = {cpu_ms}
log_bytes_per_frame = 4096

[partition.{name}.restart]
restarts = {restarts}
within_frames = {within_frames}

[partition.{name}.health]
{rows}
"""


#: The process ids of the monitors that tests of this process have started.
OUR_MONITORS: set[int] = set()


@dataclass(frozen=True)
class Toy:
    """A toy device: what its rogue does (Python statements), and the numbers of its design that matter."""

    body: str = ""
    init: str = ""
    top: str = ""
    world: str = ""
    rogue: str = ""
    health: dict[str, str] = field(default_factory=dict)
    is_critical: bool = False
    restarts: int = 3
    within_frames: int = 100
    frame_ms: int = 1_000
    budget_ms: int = 400
    steady_budget_ms: int = 400
    world_budget_ms: int = 1_000
    cpu_ms: int = 800
    packages: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """The design as files below ``folder``; returns the design's folder."""
        for name in ("rogue", "steady"):
            (folder / "images" / name).mkdir(parents=True)
        indent = " " * 8
        rogue = self.rogue or ROGUE.format(
            top=textwrap.dedent(self.top),
            init=textwrap.indent(textwrap.dedent(self.init), indent),
            body=textwrap.indent(textwrap.dedent(self.body), indent),
        )
        (folder / "images/rogue/main.py").write_text(rogue)
        (folder / "images/steady/main.py").write_text(STEADY)
        (folder / "schemas.py").write_text(SCHEMAS)
        (folder / "world.py").write_text(
            WORLD.format(world=textwrap.indent(textwrap.dedent(self.world), indent))
        )
        (folder / "device.toml").write_text(self._toml())
        return folder

    def _toml(self) -> str:
        mild = dict.fromkeys([event.value for event in Event], "restart")
        steady = self._partition(
            "steady", mild | {"stale_input": "note", "window_overrun": "drop"}, critical=True
        )
        rogue = self._partition(
            "rogue", mild | {"stale_input": "note"} | self.health, critical=self.is_critical
        )
        return TOML.format(
            partitions=steady + rogue,
            frame_ms=self.frame_ms,
            world_budget_ms=self.world_budget_ms,
            steady_budget_ms=self.steady_budget_ms,
            budget_ms=self.budget_ms,
        )

    def _partition(self, name: str, rows: dict[str, str], *, critical: bool) -> str:
        return PARTITION.format(
            name=name,
            name_capital=name.capitalize(),
            critical=str(critical).lower(),
            packages=", ".join(f'"{one}"' for one in self.packages) if name == "rogue" else "",
            cpu_ms=self.cpu_ms if name == "rogue" else 10_000,
            restarts=self.restarts,
            within_frames=self.within_frames,
            rows="\n".join(f'{event} = "{action}"' for event, action in rows.items()),
        )


@dataclass
class Outcome:
    """A finished run: the bench's record, its journal, and the pid of its monitor."""

    record: Record
    journal: books.Reading
    monitor_pid: int

    @property
    def frames(self) -> list[books.Frame]:
        """The journal's frames."""
        return [entry for entry in self.journal.entries if isinstance(entry, books.Frame)]

    def rulings(self, partition: str = "rogue") -> list[tuple[int, str, str]]:
        """``(frame, event, action)`` of every ruling about a partition."""
        return [
            (frame.frame, ruling.event, ruling.action)
            for frame in self.frames
            for ruling in frame.rulings
            if ruling.partition == partition
        ]

    def reasons(self, partition: str = "rogue") -> set[str]:
        """The reasons of all refusals of a partition's messages."""
        return {
            refusal.reason for f in self.frames for refusal in f.refusals if refusal.partition == partition
        }

    def lives(self, partition: str = "rogue") -> list[tuple[int, int, str]]:
        """``(frame, epoch, what)`` of every beginning and end of a partition's lives."""
        return [
            (frame.frame, life.epoch, life.what)
            for frame in self.frames
            for life in frame.lives
            if life.partition == partition
        ]

    def details(self) -> str:
        """All that the notes of rulings say, for a failing assertion and for words in details."""
        return "\n".join(
            f"{n.frame} {n.text}: {n.facts.get('detail')}" for n in self.record.of_kind("ruling")
        )

    @property
    def end(self) -> books.End:
        """The end record. Raises ``AssertionError`` when the journal has none."""
        last = self.journal.entries[-1]
        assert isinstance(last, books.End), last
        return last

    @property
    def beats(self) -> list[tuple[int, int, int]]:
        """What the world got from steady: ``(frame of arrival, frame of sending, last note heard)``."""
        found: list[tuple[int, int, int]] = self.record.world.beats
        return found


@contextmanager
def standby() -> Iterator[tuple[Path, Bench]]:
    """A run folder, and a monitor that waits to be switched on."""
    with run_folder() as folder, Bench() as bench:
        OUR_MONITORS.add(bench.monitor.pid)
        yield folder, bench


def run(toy: Toy | Path, folder: Path, frames: int = 12, **plan: Any) -> Outcome:
    """Run a toy (written below ``folder``) to its end, and read its journal.

    Raises ``BenchError``, ``DesignError`` and ``journal.JournalBroken``.
    """
    design = toy.write(folder) if isinstance(toy, Toy) else toy
    watch = plan.pop("on_note", lambda _: None)
    on_frame = plan.pop("on_frame", lambda *_: None)
    with standby() as (place, bench):
        record = bench.run(Plan(design, frames, **plan), place, on_note=watch, on_frame=on_frame)
        outcome = Outcome(record, books.read(record.journal), bench.monitor.pid)
    assert not place.exists()
    return outcome


# --- what is left on the host ---


def descendants(root: int) -> dict[int, str]:
    """All living processes below ``root`` and their names; those dead but not yet reaped do not count."""
    children: dict[int, list[tuple[int, str, str]]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue  # it ended while we looked
            name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
            children.setdefault(int(rest[1]), []).append((int(entry), name, rest[0]))
    found: dict[int, str] = {}
    todo = [root]
    while todo:
        for pid, name, state in children.get(todo.pop(), []):
            todo.append(pid)
            if state not in "ZX":
                found[pid] = name
    return found


def groups_of(monitors: set[int]) -> set[str]:
    """Control groups that these monitors have made and that are still there."""
    folders: set[Path] = set()
    for controller in cgroups.CONTROLLERS.values():
        try:
            folders.add(cgroups.find_home(controller).folder)
        except cgroups.NoHome:
            continue  # where none can be made, none can be left
    found = (path for folder in folders for path in folder.glob(f"{cgroups.PREFIX}*"))
    return {str(path) for path in found if int(path.name.split("_")[2]) in monitors}


def wait_until(condition: Any, timeout_s: float) -> bool:
    """Whether ``condition()`` came true within ``timeout_s``."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def nothing_left(*, within_s: float = 1.0) -> Iterator[None]:
    """See that what runs inside leaves no process and no control group behind.

    The calling process becomes a child subreaper, so that whatever loses its parent turns up below it.
    """
    linux.adopt_orphans()
    before = descendants(os.getpid())
    yield
    assert wait_until(lambda: not set(descendants(os.getpid())) - set(before), within_s), descendants(
        os.getpid()
    )
    reap_adopted()
    assert groups_of(OUR_MONITORS) == set()


def reap_adopted() -> None:
    """Collect adopted children that have ended, so that they do not stay as zombies."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
                fields = text[text.rindex(")") + 2 :].split()
                if fields[0] == "Z" and int(fields[1]) == os.getpid():
                    os.waitpid(int(entry), os.WNOHANG)
            except (OSError, ValueError):
                continue
