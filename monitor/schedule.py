"""When windows open and end, on each clock. Pure: times are arguments, in seconds.

On the ``virtual`` clock all windows of a frame open at once and the next frame begins when the last has closed;
because what is sent in one frame becomes visible only in the next, the order in which processes run changes
nothing. On the ``real`` clock, or one that runs N times faster, frames begin at fixed times and each window opens
at its offset; a budget is wall-clock time on every clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from monitor.design import Design

#: How long past its budget the monitor waits for a gate's own report before it blames the gate.
GATE_GRACE_S = 0.5
_FACTOR = re.compile(r"\A([1-9][0-9]{0,6})x\Z")


class ClockRefused(ValueError):
    """A clock that does not exist, or on which the windows do not fit their frame."""


@dataclass(frozen=True, slots=True)
class Clock:
    """``factor`` 0 is virtual, 1 real, N means N times faster than real."""

    factor: int

    @property
    def is_virtual(self) -> bool:
        """Whether frames follow one another as fast as they go."""
        return self.factor == 0


def parse_clock(text: str) -> Clock:
    """``virtual``, ``real`` or ``60x``. Raises ``ClockRefused``."""
    if text == "virtual":
        return Clock(0)
    if text == "real":
        return Clock(1)
    match = _FACTOR.match(text)
    if match is None:
        raise ClockRefused(f"clock {text!r}: use virtual, real, or a factor such as 60x")
    return Clock(int(match[1]))


@dataclass(frozen=True, slots=True)
class Slot:
    """One partition's window: it opens ``offset_s`` after its frame and may last ``budget_s``."""

    partition: str
    offset_s: float
    budget_s: float


def plan(design: Design, clock: Clock) -> tuple[Slot, ...]:
    """The slots of a frame, in the order in which they open.

    Raises ``ClockRefused`` when offsets, which shrink with the clock, and budgets, which do not, no longer fit. On
    clocks faster than real the time that a gate may be late counts, too: where it lacks, a gate that hangs in one
    frame makes the next one late. (On the real clock windows fit by the design's rules, however short its frames.)
    """
    slots = []
    for window in design.windows:
        offset_s = 0.0 if clock.is_virtual else window.offset_ms / 1000 / clock.factor
        slots.append(Slot(window.partition, offset_s, window.budget_ms / 1000))
    if clock.factor > 1:
        _check_fit(design, clock)
    return tuple(sorted(slots, key=lambda slot: slot.offset_s))


def _check_fit(design: Design, clock: Clock) -> None:
    """In whole milliseconds of the design, so that what the sentence offers does fit."""
    frame_ms = design.frame_ms / clock.factor
    grace_ms = round(GATE_GRACE_S * 1000)
    for window in design.windows:
        lasting_ms = window.budget_ms + grace_ms
        if window.offset_ms + lasting_ms * clock.factor > design.frame_ms:
            fitting = min((design.frame_ms - w.offset_ms) // (w.budget_ms + grace_ms) for w in design.windows)
            needed_ms = window.offset_ms / clock.factor + lasting_ms
            raise ClockRefused(
                f"clock {clock.factor}x: a frame then lasts {frame_ms:.0f} ms, and the window of "
                f"{window.partition} needs {needed_ms:.0f} ms of it, {grace_ms} of them for its gate's report; "
                + (f"use at most {fitting}x" if fitting > 1 else "use real")
            )


def frame_length_s(design: Design, clock: Clock) -> float:
    """Wall-clock seconds from one frame to the next; 0 on the virtual clock."""
    return 0.0 if clock.is_virtual else design.frame_ms / 1000 / clock.factor
