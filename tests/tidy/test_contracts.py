"""The import contracts of pyproject.toml hold here, and each turns red when a module breaks it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.tidy import contracts

SETTINGS = tomllib.loads((contracts.ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]

#: A small house in which every contract holds.
SOUND_HOUSE = {
    "ipc_schemas/codec.py": "import msgspec",
    "boot/verify.py": "from ipc_schemas import codec",
    "sandbox/walls.py": "import os\nfrom ipc_schemas import codec",
    "sandbox/launch.py": "from sandbox import walls",
    "monitor/design.py": "from pathlib import Path",
    "monitor/judge.py": "import enum\nfrom ipc_schemas import codec\nfrom monitor import design",
    "monitor/health.py": "from monitor.design import Event",
    "monitor/rehearing.py": "from monitor import judge",
    "monitor/rejudge.py": "from monitor import rehearing",
    "monitor/warden.py": "import os, boot.verify, sandbox.launch\nfrom monitor import judge",
    "partitions/sdk/window.py": "from ipc_schemas import codec",
    "world/patient.py": "import random\nfrom ipc_schemas import codec",
    "faults/inject.py": "from world import patient\nfrom monitor import design",
    "evidence/claims.py": "from faults import inject\nfrom monitor.design import Event",
    "benchmarks/cost.py": "from faults import inject\nfrom sandbox import walls",
    "console/main.py": "import evidence.claims, benchmarks.cost, monitor.rejudge\nfrom monitor.design import Event",
}

#: What is added to the sound house, and the first words of the contract that must break.
BREACHES = [
    ("ipc_schemas/codec.py", "import sandbox.walls", "monitor -> boot"),
    ("boot/verify.py", "import sandbox.walls", "monitor -> boot"),
    ("sandbox/launch.py", "from monitor import design", "monitor -> boot"),
    ("partitions/sdk/window.py", "from monitor import design", "partitions know"),
    ("partitions/sdk/window.py", "import sandbox.walls", "partitions know"),
    ("monitor/warden.py", "import partitions.sdk.window", "trusted rooms know"),
    ("monitor/warden.py", "from world import patient", "trusted rooms know"),
    ("ipc_schemas/codec.py", "from console import main", "trusted rooms know"),
    ("console/main.py", "from monitor import warden", "rooms outside"),
    ("faults/inject.py", "import sandbox.launch", "rooms outside"),
    ("console/main.py", "from monitor import rehearing", "rooms outside"),
    ("world/patient.py", "def late():\n    import boot.verify", "rooms outside"),
    ("world/patient.py", "from console import main", "console -> evidence"),
    ("evidence/claims.py", "from benchmarks import cost", "console -> evidence"),
    ("monitor/judge.py", "import time", "judge and health"),
    ("monitor/health.py", "import zmq", "judge and health"),
    ("monitor/design.py", "import os", "judge and health"),
]


def build(house: dict[str, str], root: Path) -> None:
    for name, text in house.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        (path.parent / "__init__.py").touch()
        (root / name.split("/")[0] / "__init__.py").touch()


def broken(root: Path) -> tuple[list[str], str]:
    """The names of the contracts that do not hold in ``root``, and the report."""
    result = contracts.run(root, SETTINGS)
    names = re.findall(r"^(.+) BROKEN", result.stdout, re.MULTILINE)
    assert result.returncode == (1 if names else 0), result.stdout + result.stderr
    return names, result.stdout


def test_contracts_hold_in_this_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert contracts.main() == 0, capsys.readouterr().out


def test_contracts_hold_in_a_sound_house(tmp_path: Path) -> None:
    build(SOUND_HOUSE, tmp_path)
    names, report = broken(tmp_path)
    assert names == [], report


@pytest.mark.parametrize(("path", "addition", "contract"), BREACHES)
def test_a_forbidden_import_breaks_its_contract(
    tmp_path: Path, path: str, addition: str, contract: str
) -> None:
    build(SOUND_HOUSE | {path: f"{SOUND_HOUSE[path]}\n{addition}"}, tmp_path)
    names, report = broken(tmp_path)
    assert any(name.startswith(contract) for name in names), report


def test_only_what_is_not_in_the_tree_is_left_out(tmp_path: Path) -> None:
    build({k: v for k, v in SOUND_HOUSE.items() if not k.startswith(("boot", "monitor/health"))}, tmp_path)
    short, missing = contracts.present(SETTINGS, tmp_path)
    assert missing == ["boot", "monitor.health"]
    assert short["contracts"][0]["layers"] == ["monitor", "sandbox", "ipc_schemas"]
    assert len(short["contracts"]) == len(SETTINGS["contracts"])


def test_rooms_need_no_init_file(tmp_path: Path) -> None:
    build(SOUND_HOUSE | {"partitions/sdk/window.py": "import sandbox.walls"}, tmp_path)
    for init in tmp_path.rglob("partitions/**/__init__.py"):
        init.unlink()
    names, report = broken(tmp_path)
    assert names == ["partitions know ipc_schemas and nothing else of ours"], report


def test_nothing_is_left_out_of_a_whole_house(tmp_path: Path) -> None:
    build(SOUND_HOUSE, tmp_path)
    short: dict[str, Any]
    short, missing = contracts.present(SETTINGS, tmp_path)
    assert (short, missing) == (SETTINGS, [])
