"""How late therapy's window opens under attack on the real clock, beside the same device unattacked.

Three partitions attack at once, each within the walls and limits it is given: one spins, one writes to all
its memory, one forks. Unattacked, the same three partitions beat like therapy does. A deadline is missed when
therapy's window did not open in a frame, opened later than its budget lasts, or did not close within it. The verb
``lateness`` measures one attack at a time, on the reference device.
"""

from __future__ import annotations

from benchmarks import device_runs
from benchmarks.device import build
from benchmarks.figures import Effort, Figure, Row, Spread, Step, beside, percentile
from faults.window_times import WindowTimes, read_off

FRAME_MS = 20
THERAPY_BUDGET_MS = 8
OTHER_BUDGET_MS = 4
PEER = "the same device unattacked"
ATTACKS = ("spinning", "touching", "forking")


def run(frames: int, *, is_attacked: bool) -> WindowTimes:
    """One run on the real clock. Raises ``NoTimes``."""
    patient = {"window_overrun": "drop", "cpu_exceeded": "note"}
    parts = [build.Part("therapy", "beating", is_therapy=True, budget_ms=THERAPY_BUDGET_MS, health=patient)]
    wires = [build.Wire("therapy.packets", "world.therapy", "Packet", 64, 1, False)]
    for attack in ATTACKS:
        role = attack if is_attacked else "beating"
        parts.append(build.Part(attack, role, budget_ms=OTHER_BUDGET_MS, restarts_max=20, health=patient))
        wires.append(build.Wire(f"{attack}.packets", f"world.{attack}", "Packet", 64, 1, False))
    with device_runs.design_folder() as folder:
        design = build.write(folder, "lateness", parts, wires, build.Load(), frame_ms=FRAME_MS)
        record = device_runs.run(design, frames, clock="real")
    return read_off(record, "therapy", THERAPY_BUDGET_MS)


def measure(effort: Effort, step: Step) -> list[Figure]:
    """Percentiles over all windows; the range is that of the runs' own."""
    attacked: list[WindowTimes] = []
    alone: list[WindowTimes] = []
    for _ in range(effort.pick(1, 4)):
        alone.append(run(500, is_attacked=False))
        attacked.append(run(500, is_attacked=True))
        step()
    missed, missed_alone = sum(r.missed for r in attacked), sum(r.missed for r in alone)
    figures = []
    for percent, label in ((50, "p50"), (99, "p99"), (99.9, "p99.9"), (100, "max")):
        is_aim = percent == 99.9
        figures.append(
            beside(
                "lateness",
                f"lateness of therapy's window under attack, {label}",
                "ms",
                _pooled(attacked, percent),
                PEER,
                _pooled(alone, percent),
                at_most=2.0 if is_aim else None,
                also=missed == 0,
                remark=f"deadlines missed: {missed} attacked, {missed_alone} unattacked" if is_aim else "",
            )
        )
    return figures


def _pooled(runs: list[WindowTimes], percent: float) -> Spread:
    each = [percentile(r.lateness_ms, percent) for r in runs]
    pool = [value for r in runs for value in r.lateness_ms]
    return Spread(percentile(pool, percent), min(each), max(each), len(pool))


ROWS = (Row("lateness", "therapy's lateness under attack", lambda effort: effort.pick(1, 4), 23.0, measure),)
