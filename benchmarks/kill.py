"""From a violation received to the last process of its partition gone, beside plain SIGKILL and wait.

A partition sends a message of a wrong type first thing in each life, is killed for it, and starts again. The
monitor times each kill itself: from the gate's report in its hands to the end of the first process of the PID
namespace, which the kernel reports only when no member is left.
"""

from __future__ import annotations

from benchmarks import device_runs, peers
from benchmarks.device import build
from benchmarks.figures import Effort, Figure, Row, Spread, Step, beside, percentile

KILLS_PER_RUN = 50
PEER = "SIGKILL + wait of an unconfined child"


def ours_ms(kills: int) -> list[float]:
    """How long each of ``kills`` kills took."""
    with device_runs.design_folder() as folder:
        parts = [build.Part("violator", "violator", restarts_max=1_000)]
        wires = [build.Wire("violator.packets", "world.packets", "Packet", 64, 1, True)]
        design = build.write(folder, "kill", parts, wires, build.Load())
        record = device_runs.run(design, kills)
    took_ms = [float(str(note.facts["kill_ms"])) for note in record.of_kind("killed")]
    if len(took_ms) != kills:
        raise device_runs.RunFailed(f"{kills} violations, but {len(took_ms)} kills")
    return took_ms


def measure(effort: Effort, step: Step) -> list[Figure]:
    """p50 and p99 over all kills; the range is that of the runs' own p50 and p99."""
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    for _ in range(effort.pick(2, 6)):
        ours.append(ours_ms(KILLS_PER_RUN))
        theirs.append(peers.plain_kills_ms(KILLS_PER_RUN))
        step()
    figures = []
    for percent, at_most in ((50, None), (99, 3.0)):
        what = f"violation received -> last process gone, p{percent}"
        mine, peer = _pooled(ours, percent), _pooled(theirs, percent)
        figures.append(beside("kill", what, "ms", mine, PEER, peer, at_most=at_most))
    return figures


def _pooled(runs: list[list[float]], percent: float) -> Spread:
    each = [percentile(run, percent) for run in runs]
    pool = [value for run in runs for value in run]
    return Spread(percentile(pool, percent), min(each), max(each), len(pool))


ROWS = (Row("kill", "time to kill a violator", lambda effort: effort.pick(2, 6), 8.0, measure),)
