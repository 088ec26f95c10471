"""What a run looks like at the moment: filled by the harness's callbacks, read by whoever draws it.

The callbacks run in the world's own loop, so they do little; drawing happens elsewhere and reads only values
that are replaced whole, never changed in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from console import telling
from console.telling import Line
from faults.attack import ATTACKED
from ipc_schemas import links
from monitor.design import Design
from sandbox import walls
from world.truth import Truth

LINES_KEPT = 200
#: How often the patient is looked at; copying a day's truth takes about 20 microseconds.
LOOK_S = 0.1
#: Notes and frames come over different sockets: a note may be heard one frame late.
SETTLED_FRAMES = 2
#: Too early to say how long the rest takes.
SHARE_FOR_ESTIMATE = 0.04

#: What each run of the story is, and roughly which share of the whole time it takes.
STORY_RUNS = {
    "attacked": ("the day under attack, behind all walls", 0.55),
    "replayed": ("the same day, attacker gone: only what the gates had admitted is played", 0.07),
    "calm": ("the same day without any attacker", 0.07),
    "open": ("the same attack with every wall left out", 0.31),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is being run. ``attack_frames``: in which an attacker inside strikes; ``clock`` is the first run's."""

    design: Design
    patient: int
    seed: int
    frames: int
    attacks: int = 0
    attack_frames: frozenset[int] = frozenset()
    clock: str = "virtual"


@dataclass(frozen=True, slots=True)
class WallsSeen:
    """What the monitor said of its walls when it was switched on."""

    standing: frozenset[str]
    left_out: frozenset[str]
    unavailable: frozenset[str]

    def sentence(self) -> str:
        """``27 of 31 walls stand; unavailable on this host: uid, memcg``."""
        if self.left_out == walls.ALL and not self.standing:
            return f"no wall stands: all {len(walls.WALLS)} are left out; what cannot be delivered still goes nowhere"
        text = f"{len(self.standing)} of {len(walls.WALLS)} walls stand"
        if self.unavailable:
            text += f"; unavailable on this host: {', '.join(walls.in_order(self.unavailable))}"
        if self.left_out:
            everything = self.left_out == walls.ALL
            text += f"; left out: {'all' if everything else ', '.join(walls.in_order(self.left_out))}"
        return text

    def missing(self, design: Design) -> list[str]:
        """The walls that the design requires and that do not stand, in their order.

        Walls that only root can raise count as required of root only: the monitor holds it the same way.
        """
        excused = {name for name in self.unavailable if walls.WALLS[name].root_only}
        required = frozenset[str]().union(*(p.walls for p in design.partitions))
        return walls.in_order(required - self.standing - excused)


def walls_seen(notes: Sequence[links.Note]) -> WallsSeen | None:
    """The walls note of a run, if it came so far."""
    for note in notes:
        if note.kind == "walls":
            return WallsSeen(*(_names(note, key) for key in ("standing", "off", "unavailable")))
    return None


def _names(note: links.Note, key: str) -> frozenset[str]:
    value = note.facts.get(key)
    return frozenset(value) & walls.ALL if isinstance(value, list) else frozenset()


def degraded_label(seen: WallsSeen | None, design: Design) -> str:
    """``DEGRADED: without seccomp, netns``, or nothing when all stands that the design requires, and it has no flaw
    by its author's word.
    """
    missing = seen.missing(design) if seen else []
    if seen is None or not missing:
        return design.label
    shown = "every wall" if seen.left_out == walls.ALL else ", ".join(missing)
    return f"DEGRADED: {'; '.join((f'without {shown}', *design.admitted))}"


def label_of(without: frozenset[str], design: Design) -> str:
    """``DEGRADED: without digest``, or nothing, by what was asked for: where nobody told what stood."""
    if not without:
        return design.label
    shown = "every wall" if without == walls.ALL else ", ".join(walls.in_order(without))
    return f"DEGRADED: {'; '.join((f'without {shown}', *design.admitted))}"


class Scene:
    """One or several runs, as seen so far. ``on_line`` hears each line of the story as it is told."""

    def __init__(
        self,
        subject: Subject,
        runs: dict[str, tuple[str, float]],
        on_line: Callable[[Line], None] = lambda _: None,
    ) -> None:
        self.subject = subject
        self.runs = runs
        self.run_name = next(iter(runs))
        self.run_number = 0
        self.frame = 0
        self.lines: tuple[Line, ...] = ()
        self.truths: dict[str, Truth] = {}
        self.walls: WallsSeen | None = None
        self.attacks_begun = 0
        self.is_over = False
        self._attack: Line | None = None
        self._held: list[links.Note] = []
        self._on_line = on_line
        self._started_s = time.monotonic()
        self._looked_s = 0.0
        self._seen_s = self._started_s
        self._card_frame: int | None = None
        self._world: Any = None

    # -- what the harness calls --

    def begin(self, name: str, number: int) -> None:
        """A run begins."""
        self.run_name, self.run_number, self.frame = name, number, 0
        self.walls, self._card_frame, self.attacks_begun, self._world = None, None, 0, None
        self.lines, self.is_over, self._attack, self._held = (), False, None, []
        self._seen_s = time.monotonic()

    def hear(self, note: links.Note) -> None:
        """One note of the monitor.

        The monitor may read an attacker's log after it has ruled on what the attacker sent. What becomes of an
        attacker in the frame of its attack is therefore kept back until the attack has announced itself: told in the
        order in which it was heard, it would seem to belong to the attack before.
        """
        if note.kind == "walls":
            self.walls = walls_seen([note])
            return
        if self._is_early(note):
            self._held.append(note)
            return
        if self._held and note.frame > self._held[0].frame + 1:
            self._tell_held()
        self.is_over = self.is_over or note.kind == "end"
        if self.is_over:
            self._tell_held()
        self._tell_note(note)

    def _is_early(self, note: links.Note) -> bool:
        is_attackers = note.partition in (ATTACKED, f"gate of {ATTACKED}")
        has_begun = self._attack is not None and self._attack.frame >= note.frame
        begins = note.kind == "log" and telling.announced(note.text)
        return is_attackers and not has_begun and not begins and note.frame in self.subject.attack_frames

    def _tell_held(self) -> None:
        held, self._held = self._held, []
        for note in held:
            self._tell_note(note)

    def _tell_note(self, note: links.Note) -> None:
        left_out = self.walls.left_out if self.walls else frozenset[str]()
        for line in telling.lines_of(note, left_out, self.subject.design):
            if line.kind == "attack":
                self._close_card()
                self._card_frame, self._attack = line.frame, line
                self.attacks_begun += 1
                self.tell(line)
                self._tell_held()
                continue
            if line.kind == "device":
                self._close_card()
            self.tell(line)

    def see(self, frame: int, world: Any) -> None:
        """The world after one frame."""
        self.frame, self._world, self._seen_s = frame + 1, world, time.monotonic()
        is_last = self.frame >= self.subject.frames
        if is_last or time.monotonic() - self._looked_s >= LOOK_S:
            self._look()
        if self._held and frame >= self._held[0].frame + SETTLED_FRAMES:
            self._tell_held()
        if self._card_frame is not None and frame >= self._card_frame + SETTLED_FRAMES:
            self._close_card()

    def tell(self, line: Line) -> None:
        """Add one line."""
        self.lines = (*self.lines[-LINES_KEPT + 1 :], line)
        self._on_line(line)

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        if hasattr(self._world, "truth"):
            self.truths = {**self.truths, self.run_name: self._world.truth()}

    def _close_card(self) -> None:
        """An attack is over: say what the patient noticed of it."""
        if self._card_frame is None:
            return
        self._card_frame = None
        self._look()
        if self.truth is not None:
            self.tell(Line(self.frame, "patient", telling.patient_sentence(self.truth.glucose_mg_dl)))

    # -- what a view asks --

    @property
    def truth(self) -> Truth | None:
        """What is known of the patient in this run; ``None`` for a world that does not tell."""
        return self.truths.get(self.run_name)

    @property
    def title(self) -> str:
        """What this run is, in words."""
        return self.runs[self.run_name][0]

    @property
    def clock(self) -> str:
        """The simulated time of day: when the frame began that is being lived through."""
        return telling.clock_text(max(self.frame - 1, 0), self.subject.design.frame_ms)

    @property
    def frames_done(self) -> int:
        """The world answers at the start of a frame: while the run goes on, the last one it saw is not done."""
        return self.frame if self.is_over else max(self.frame - 1, 0)

    def waits_for(self, now_s: float) -> str:
        """Whom the run is waiting for, and for how long, as far as that can be known; else empty."""
        waited = f"for {max(now_s - self._seen_s, 0.1):.1f} s"
        if self.frame == 0:
            return f"the device to switch on {waited}"
        clock = self.subject.clock if self.run_number <= 1 else "virtual"
        if clock != "virtual":
            return f"the {clock} clock {waited}"
        if self._attack is not None and self._attack.frame == self.frame - 1:
            return f"{ATTACKED} {waited}, which {self._attack.attack_id} has in its hands"
        return ""

    @property
    def share_done(self) -> float:
        """Of all runs together, from 0 to 1."""
        done = 0.0
        for name, (_, share) in self.runs.items():
            if name == self.run_name:
                return done + share * self.frames_done / self.subject.frames
            done += share
        return done

    def seconds_left(self, now_s: float) -> float | None:
        """An estimate for all runs together, or ``None`` while it is too early."""
        share = self.share_done
        if share < SHARE_FOR_ESTIMATE:
            return None
        return (now_s - self._started_s) * (1.0 - share) / share

    @property
    def degraded(self) -> str:
        """The label for every output, or nothing. The open control is meant to be without walls."""
        if self.run_name == "open":
            return ""
        return degraded_label(self.walls, self.subject.design)
