"""From power-on to therapy's first window, beside one ``python -c "import zmq, msgspec"``.

Ours ends when the world's second window opens: then every window of frame 0, therapy's among them, has been
opened, worked through and *closed*, so the figure is an upper bound of the time to its opening.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks import device_runs, peers
from benchmarks.figures import Effort, Figure, Row, Step, beside, spread
from world.bench import Bench, Plan, run_folder

DESIGN = Path(__file__).resolve().parent.parent / "designs" / "insulin_pump"
PEER = f'python -c "{peers.IMPORTS}"'
#: How long a bench stands by before a warm power-on; its template is loaded well before.
STANDBY_S = 1.5
FRAMES = 2


def cold_ms() -> float:
    """From the power, through the whole chain of trust. That the device is made before is the factory's time."""
    with run_folder() as folder, Bench(plan=Plan(DESIGN, FRAMES)) as bench:
        return _first_window_ms(bench, folder, bench.switched_on_s)


def warm_ms() -> float:
    """From the power-on order to a monitor that stands by with its template loaded."""
    with run_folder() as folder, Bench() as bench:
        time.sleep(STANDBY_S)
        return _first_window_ms(bench, folder, time.monotonic())


def _first_window_ms(bench: Bench, folder: Path, started_s: float) -> float:
    opened_s: list[float] = []

    def note_time(_frame: int, _world: Any) -> None:
        opened_s.append(time.monotonic())

    record = bench.run(Plan(DESIGN, FRAMES), folder, on_frame=note_time)
    device_runs.check(record)
    return (opened_s[1] - started_s) * 1000


def measure(effort: Effort, step: Step) -> list[Figure]:
    """Cold and warm, each beside an import made right after it."""
    times: dict[str, list[float]] = {"cold": [], "warm": [], "peer": []}
    for _ in range(effort.pick(3, 9)):
        times["cold"].append(cold_ms())
        times["peer"].append(peers.import_ms())
        times["warm"].append(warm_ms())
        times["peer"].append(peers.import_ms())
        step()
    peer = spread(times["peer"])
    aims = {
        "cold": ("power-on -> first therapy window, cold", 10.0),
        "warm": ("the same, template warm", 2.0),
    }
    return [
        beside("power_on", what, "ms", spread(times[kind]), PEER, peer, at_most=at_most)
        for kind, (what, at_most) in aims.items()
    ]


ROWS = (Row("power_on", "time to therapy's first window", lambda effort: effort.pick(3, 9), 4.0, measure),)
