"""The machine a table was measured on, and how busy it was."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import zmq


@dataclass(frozen=True)
class Machine:
    """``load_before`` and ``load_after`` are 1-minute load averages; other users of the machine count."""

    processor: str
    cores: int
    kernel: str
    python: str
    libraries: str
    load_before: float
    load_after: float = 0.0


def describe() -> Machine:
    """This machine, now."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("pyzmq", "msgspec"))
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries=f"libzmq {zmq.zmq_version()}, {versions}",
        load_before=os.getloadavg()[0],
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
