"""What each stage of a cold boot costs, beside the same boot without its ten checks; how that grows with an image.

A stage's time begins when the one before it starts it, so that the interpreter's start and all imports count. Without
its checks a stage judges nothing: it reads, hashes and logs the same bytes.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from statistics import linear_regression
from typing import Any

from benchmarks import device_runs
from benchmarks.figures import Effort, Figure, Row, Step, beside, spread
from monitor.loader import load_design
from sandbox import walls
from world.bench import Bench, Plan, run_folder
from world.devices import Overlay

DESIGN = Path(__file__).resolve().parent.parent / "designs" / "insulin_pump"
PARTITION = "transfer"
FRAMES = 2
#: The stages in their order, each with the note that ends it.
STAGES = {
    "ROM, from the power on": "stage bootloader",
    "bootloader": "stage monitor",
    "monitor, all images verified": "chain",
    "gates and partitions, first window": "window",
}
WHOLE = "power-on -> first window, all of it"
PEER = "the same stage of a boot with all ten checks left out"
#: Of a file that is added to an image; the least is what the others are compared with.
SIZES_MIB = (0.1, 1.0, 4.0, 7.5)
GROWTH_PEER = "the same boot with 0.1 MiB in place of it"
_MIB = 1 << 20


def stage_ms(plan: Plan) -> dict[str, float]:
    """How long each stage of one cold boot took, and ``WHOLE``. Raises ``RunFailed``."""
    import time

    at_s: dict[str, float] = {}
    opened_s: list[float] = []

    def note_time(_frame: int, _world: Any) -> None:
        opened_s.append(time.monotonic())

    with run_folder() as folder, Bench(plan=plan) as bench:
        switched_on_s = bench.switched_on_s
        record = bench.run(plan, folder, on_frame=note_time)
    device_runs.check(record)
    for note in record.notes:
        if isinstance(note.facts.get("monotonic_s"), float):
            key = f"stage {note.text}" if note.kind == "stage" else note.kind
            at_s[key] = float(str(note.facts["monotonic_s"]))
    at_s["window"] = opened_s[1]  # the second one: the first has been worked through and closed
    found, since_s = {}, switched_on_s
    for name, end in STAGES.items():
        if end not in at_s:
            raise device_runs.RunFailed(f"the boot told nothing of its end of {name!r}")
        found[name] = (at_s[end] - since_s) * 1_000
        since_s = at_s[end]
    return found | {WHOLE: (since_s - switched_on_s) * 1_000}


def measure(effort: Effort, step: Step) -> list[Figure]:
    """Boots with and without, in turn."""
    asked: list[dict[str, float]] = []
    unasked: list[dict[str, float]] = []
    for _ in range(effort.pick(3, 15)):
        asked.append(stage_ms(Plan(DESIGN, FRAMES)))
        unasked.append(stage_ms(Plan(DESIGN, FRAMES, without=walls.BOOT_WALL_NAMES)))
        step()
    return [
        beside(
            "boot", name, "ms", spread([one[name] for one in asked]), PEER, spread([o[name] for o in unasked])
        )
        for name in (*STAGES, WHOLE)
    ]


def with_file(mib: float) -> Plan:
    """The reference device with a file of this size in one partition's image. No two pieces of it are alike."""
    own = load_design(DESIGN, walls.ALL).partition(PARTITION)
    filler = b"".join(number.to_bytes(8, "big") for number in range(int(mib * _MIB) // 8))
    return Plan(DESIGN, FRAMES, overlays={PARTITION: Overlay(own.image, own.entry, {"filler.bin": filler})})


def growth_of(over_ms: dict[float, float]) -> str:
    """How the time over the smallest image's grows, by least squares: a slope, and the exponent of a power law.

    ``over_ms`` is by MiB added, in order; unless each is above the one before, no exponent is claimed.
    """
    sizes, times = list(over_ms), list(over_ms.values())
    slope = linear_regression(sizes, times, proportional=True).slope
    said = f"{slope:.1f} ms for each MiB more"
    if any(after <= before for before, after in pairwise([0.0, *times])):
        return f"{said}; no exponent: this machine's noise is larger than what an image adds"
    exponent = linear_regression([math.log(size) for size in sizes], [math.log(ms) for ms in times]).slope
    return f"{said}; it grows as the size to the power {exponent:.2f} (1 is linear)"


def measure_growth(effort: Effort, step: Step) -> list[Figure]:
    """The smallest image beside each larger one, boot by boot in turn."""
    plans = {mib: with_file(mib) for mib in SIZES_MIB}
    times: dict[float, list[float]] = {mib: [] for mib in SIZES_MIB}
    for _ in range(effort.pick(2, 9)):
        for mib, plan in plans.items():
            times[mib].append(stage_ms(plan)[WHOLE])
        step()
    least, *larger = SIZES_MIB
    peer = spread(times[least])
    # Of the quickest boots: whatever else runs on this machine only ever makes one slower.
    said = growth_of({mib - least: min(times[mib]) - peer.low for mib in larger})
    return [
        beside(
            "boot_growth",
            f"cold boot, {mib:g} MiB in an image",
            "ms",
            spread(times[mib]),
            GROWTH_PEER,
            peer,
            remark=said if mib == larger[-1] else "",
        )
        for mib in larger
    ]


ROWS = (
    Row("boot", "cost of each boot stage", lambda effort: effort.pick(3, 15), 3.0, measure),
    Row(
        "boot_growth", "cold boot by size of an image", lambda effort: effort.pick(2, 9), 7.0, measure_growth
    ),
)
