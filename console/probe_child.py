"""The program of a bounded child: loads a design's schemas or world, or reads a partition's image, and reports.

    python -s -m console.probe_child schemas DESIGN REPORT_FD TIME_S
    python -s -m console.probe_child world DESIGN SEED PATIENT REPORT_FD TIME_S
    python -s -m console.probe_child image FOLDER SCHEMAS ENTRY PACKAGES REPORT_FD TIME_S

Schemas and world are code of the design's author and are run, as every tool runs them. An image is partition code,
which is not believed: it is read, and nothing of it is run (``console.image_reader``). FOLDER holds it as the monitor
packs it, in ``lib`` and ``app``; PACKAGES are names as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings
from pathlib import Path

ADDRESS_SPACE_BYTES_MAX = 1 << 30
FILE_BYTES_MAX = 1 << 20


def main() -> None:
    """Bound this process, do what is asked, report."""
    *arguments, report_fd, time_s = sys.argv[1:]
    _limit(int(time_s))
    what, folder, *rest = arguments
    match what:
        case "schemas":
            report = _schemas(Path(folder))
        case "world":
            report = _world(Path(folder), *(int(word) for word in rest))
        case _:
            report = _image(Path(folder), *rest)
    os.write(int(report_fd), json.dumps(report).encode())


def _limit(time_s: int) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, ADDRESS_SPACE_BYTES_MAX),
        (resource.RLIMIT_FSIZE, FILE_BYTES_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (time_s, time_s + 1))
    signal.alarm(time_s + 2)  # should whoever started this be gone by then


def _schemas(folder: Path) -> dict[str, object]:
    from monitor.design import DesignError
    from monitor.loader import load_design, load_schemas
    from sandbox import walls

    try:
        load_schemas(load_design(folder, walls.ALL))
    except DesignError as error:
        return {"kind": "refused", "said": str(error)}
    return {"kind": "ok"}


def _world(folder: Path, seed: int, patient: int) -> dict[str, object]:
    from monitor.design import DesignError
    from monitor.loader import load_design, load_schemas
    from sandbox import walls
    from world.making import configs_of, load_world

    try:
        design = load_design(folder, walls.ALL)
        load_schemas(design)
        configs_of(design, load_world(design, seed, patient))
    except DesignError as error:
        return {"kind": "refused", "said": str(error)}
    return {"kind": "ok"}


def _image(folder: Path, schemas: str, entry: str, packages: str) -> dict[str, object]:
    from console.image_reader import read

    warnings.simplefilter("ignore")  # what the compiler warns of is no error, whatever the environment says
    return read(folder, schemas, entry, json.loads(packages))


if __name__ == "__main__":
    main()
