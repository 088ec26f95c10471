"""Walled patient-days per second, default design, journal on, beside simglucose 0.2.11 without any walls.

simglucose (MIT licence) is no dependency of Bulkhead. For this row alone it is installed into a virtual
environment of its own under build/; where that cannot be done, the recorded figure stands in, and the table
says so.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import device_runs
from benchmarks.figures import Effort, Figure, Row, Spread, Step, beside, spread
from world.bench import Bench, Plan, run_folder

ROOT = Path(__file__).resolve().parent.parent
DESIGN = ROOT / "designs" / "insulin_pump"
FRAMES_PER_DAY = 288
WARM_UP_FRAMES = 4
PEER = "simglucose 0.2.11, no walls"
RECORDED_DAYS_PER_S = 0.16
ENVIRONMENT = ROOT / "build" / "simglucose"
#: simglucose imports pkg_resources (through gym), which setuptools 82 no longer has.
REQUIREMENTS = ("simglucose==0.2.11", "setuptools<81")
INSTALL_TIMEOUT_S = 600
RUN_TIMEOUT_S = 300


def ours_per_s(days: int) -> float:
    """Patient-days per second of frames, the boot left out."""
    import time

    times_s: list[float] = []

    def note_time(_frame: int, _world: Any) -> None:
        times_s.append(time.perf_counter())

    frames = WARM_UP_FRAMES + days * FRAMES_PER_DAY + 1
    with run_folder() as folder, Bench() as bench:
        device_runs.check(bench.run(Plan(DESIGN, frames), folder, on_frame=note_time))
    return days / (times_s[-1] - times_s[WARM_UP_FRAMES])


class SimglucoseMissing(Exception):
    """simglucose cannot be installed or run here; the sentence says why."""


def simglucose_python() -> Path:
    """The interpreter that has simglucose. Raises ``SimglucoseMissing``."""
    python = ENVIRONMENT / "bin" / "python"
    marker = ENVIRONMENT / "ready"
    if marker.exists():
        return python
    commands = (
        [sys.executable, "-m", "venv", str(ENVIRONMENT)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS],
    )
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)
        except (subprocess.SubprocessError, OSError) as error:
            raise SimglucoseMissing(f"simglucose could not be installed ({type(error).__name__})") from None
    marker.touch()
    return python


def simglucose_per_s(python: Path) -> float:
    """Patient-days per second of one simulated day. Raises ``SimglucoseMissing``."""
    program = ROOT / "benchmarks/simglucose_day.py"
    try:
        done = subprocess.run(
            [str(python), "-W", "ignore", str(program)],
            check=True,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise SimglucoseMissing(f"simglucose could not be run ({type(error).__name__})") from None
    return float(done.stdout.split()[-1])


def measure(effort: Effort, step: Step) -> list[Figure]:
    """Days of ours and of simglucose's, in turn."""
    missing, python = "", None
    try:
        python = simglucose_python()
    except SimglucoseMissing as error:
        missing = str(error)
    ours, theirs = [], []
    for _ in range(effort.pick(2, 5)):
        ours.append(ours_per_s(effort.pick(2, 5)))
        if python is not None:
            try:
                theirs.append(simglucose_per_s(python))
            except SimglucoseMissing as error:
                missing, python = str(error), None
        step()
    peer = (
        spread(theirs) if theirs else Spread(RECORDED_DAYS_PER_S, RECORDED_DAYS_PER_S, RECORDED_DAYS_PER_S, 0)
    )
    remark = "" if theirs else f"peer recorded, not measured here: {missing}"
    what = "walled patient-days, default design"
    return [beside("patient_days", what, "days/s", spread(ours), PEER, peer, at_least=60.0, remark=remark)]


ROWS = (
    Row("patient_days", "walled patient-days per second", lambda effort: effort.pick(2, 5), 9.0, measure),
)
