"""The power goes before any step of any change of the element: the next start finds the old state or the new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from boot import cells
from boot.cells import Cells, Disk
from ipc_schemas import element
from tests.boot import cut_power, elements

ROOT = Path(__file__).parents[2]


#: What a cut takes with it, beside the process.
LOSSES = {
    "nothing": "-",
    "what was not synchronised": "contents,names",
    "contents that were not synchronised": "contents",
}


@pytest.fixture(scope="module", params=list(LOSSES.values()), ids=list(LOSSES))
def losses(request: pytest.FixtureRequest) -> str:
    """As the program that cuts takes it."""
    return str(request.param)


@pytest.fixture(scope="module")
def cuts(losses: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What became of every cut of one life."""
    folder = tmp_path_factory.mktemp("cut") / "element"
    # A program of its own: it forks, and must be alone in its process.
    command = [sys.executable, "-m", "tests.boot.cut_power", str(folder), losses]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_cut_at_any_step_leaves_the_old_state_or_the_new_one(cuts: list[dict[str, Any]]) -> None:
    assert [cut for cut in cuts if cut["found"] not in ("old", "new")] == []


def test_every_change_was_cut_on_its_way_to_the_disk(losses: str, cuts: list[dict[str, Any]]) -> None:
    changes = {type(change).__name__ for change in cut_power.CHANGES_AFTER_IDEVID}
    changes -= {kind.__name__ for kind in cut_power.IS_ASKED}
    changes |= {"BurnFuse", "Manufacture", "StoreChain"}
    for change in changes:
        found = {cut["found"] for cut in cuts if cut["cut"] and cut["during"] == change}
        # Where names are lost, the new state is there only once its name is synchronised: then the change is over.
        assert found >= ({"old"} if "names" in losses else {"old", "new"}), change
    assert len(cuts) > 100
    assert [cut["cut"] for cut in cuts] == [True] * (len(cuts) - 1) + [False]


def test_a_secret_that_a_cut_left_on_a_decommissioned_device_is_wiped_at_the_next_start(
    tmp_path: Path,
) -> None:
    folder = elements.make(tmp_path / "e", "operational")
    secret = (folder / cells.SECRET_FILE).read_bytes()
    disk = Disk(folder)
    Cells(disk).replace(element.State(lifecycle="decommissioned"))
    disk.close()
    held = os.open(folder / cells.SECRET_FILE, os.O_RDONLY)
    Cells(Disk(folder))
    assert not (folder / cells.SECRET_FILE).exists()
    assert os.pread(held, 64, 0) == bytes(len(secret))
    os.close(held)
