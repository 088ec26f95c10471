"""The image of a taken-over partition: the benign image, the implant, the attacks, the schedule.

Inside the image the implant's code lies in a package of the same name as here, so that the very same files
run in the partition and in the tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from faults import attack_files
from faults.attack import Injection
from ipc_schemas import codec

#: What the partition's ``entry`` becomes.
ENTRY = "implant_main:Compromised"
SCHEDULE = "schedule.json"
_HERE = Path(__file__).parent
#: What attack files may import besides the implant.
_SHARED = ("__init__.py", "attack.py", "seen.py", "effects.py", "words.py")


class ImageClash(Exception):
    """The benign image has a file where the implant needs to put its own."""


def implant_files(attack_ids: Iterable[str], design_folder: Path | None = None) -> dict[str, bytes]:
    """The implant's source and that of these attacks, by path inside an image."""
    files = {f"faults/{name}": (_HERE / name).read_bytes() for name in _SHARED}
    for path in sorted((_HERE / "implant").glob("*.py")):
        files[f"faults/implant/{path.name}"] = path.read_bytes()
    files["implant_main.py"] = files.pop("faults/implant/implant_main.py")
    files["faults/attacks/__init__.py"] = (attack_files.OWN_FOLDER / "__init__.py").read_bytes()
    for attack_id in sorted(set(attack_ids)):
        path = attack_files.path_of(attack_id, design_folder)
        files[f"faults/attacks/{path.name}"] = path.read_bytes()
    return files


def schedule_bytes(schedule: Iterable[Injection], entry: str, design_folder: Path | None = None) -> bytes:
    """``schedule.json``: the benign entry, and for each attack its frame, file, port to take, and parameters."""
    attacks = attack_files.built(design_folder)
    plan = [
        {
            "frame": one.frame,
            "id": one.attack_id,
            "module": attack_files.path_of(one.attack_id, design_folder).stem,
            "replaces": attacks[one.attack_id].replaces,
            "starts": attacks[one.attack_id].at_start is not None,
            "parameters": dict(one.parameters),
        }
        for one in schedule
    ]
    return json.dumps({"entry": entry, "plan": plan}, indent=1).encode()


def config_bytes(equipped: Iterable[Injection], benign_config: bytes = b"") -> bytes:
    """The configuration: the benign one, and for each entry of the schedule the parameters that are new in each run.

    They are no part of the image, so that the image, and with it the journal, is the same in each run.
    """
    return codec.encode({"config": benign_config, "means": [dict(one.parameters) for one in equipped]})


def overlay_files(
    schedule: Sequence[Injection], entry: str, design_folder: Path | None = None
) -> dict[str, bytes]:
    """What to add to the benign image's folder for ``ENTRY`` to run: implant, attacks and schedule."""
    files = implant_files((one.attack_id for one in schedule), design_folder)
    return files | {SCHEDULE: schedule_bytes(schedule, entry, design_folder)}


def compromised(benign: Mapping[str, bytes], schedule: Sequence[Injection], entry: str) -> dict[str, bytes]:
    """The benign image's files with implant and schedule added. Raises ``ImageClash``."""
    added = overlay_files(schedule, entry)
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
