"""The image of a compromised transfer partition: the benign image, the implant, the attacks, the schedule.

Inside the image the implant's code lies in a package of the same name as here, so that the very same files
run in the partition and in the tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from faults.catalogue import Injection

#: What the design's ``entry`` becomes.
ENTRY = "implant_main:CompromisedTransfer"
SCHEDULE = "schedule.json"
_HERE = Path(__file__).parent


class ImageClash(Exception):
    """The benign image has a file where the implant needs to put its own."""


def implant_files() -> dict[str, bytes]:
    """The implant's and the attacks' source, by path inside an image."""
    files = {"faults/__init__.py": (_HERE / "__init__.py").read_bytes()}
    for folder in ("implant", "attacks"):
        for path in sorted((_HERE / folder).glob("*.py")):
            files[f"faults/{folder}/{path.name}"] = path.read_bytes()
    files["implant_main.py"] = files.pop("faults/implant/implant_main.py")
    return files


def schedule_bytes(schedule: Iterable[Injection]) -> bytes:
    """``schedule.json``: ``[{"frame": 96, "id": "K01", "parameters": {...}}, ...]``."""
    plan = [{"frame": one.frame, "id": one.attack_id, "parameters": dict(one.parameters)} for one in schedule]
    return json.dumps(plan, indent=1).encode()


def means_bytes(equipped: Iterable[Injection]) -> bytes:
    """The configuration: for each entry of the schedule, in its order, the parameters that are new in each run.

    They are no part of the image, so that the image, and with it the journal, is the same in each run.
    """
    return json.dumps([dict(one.parameters) for one in equipped]).encode()


def overlay_files(schedule: Iterable[Injection]) -> dict[str, bytes]:
    """What to add to the benign image's folder for ``ENTRY`` to run: implant, attacks and schedule."""
    return implant_files() | {SCHEDULE: schedule_bytes(schedule)}


def compromised(benign: Mapping[str, bytes], schedule: Iterable[Injection]) -> dict[str, bytes]:
    """The benign image's files with implant and schedule added. Raises ``ImageClash``."""
    added = overlay_files(schedule)
    clash = sorted(set(benign) & set(added))
    if clash:
        raise ImageClash(f"the benign image already has a file {clash[0]!r}")
    return dict(benign) | added


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write an image below ``folder``, which is created. Raises ``OSError``."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
