"""The power goes before any step on the disk of what a factory does: what is found is the old state or the new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import factory
from tests.world import cut_factory
from world.factory import ledger, manufacture
from world.factory import maker as makers

ROOT = Path(__file__).parents[2]
#: Steps on the disk at least: fewer would mean that they are not seen.
STEPS_MIN = {"root": 30, "factory": 8, "supplier": 8, "device": 25, "operator": 8, "enrol": 5, "revoke": 5}
STEPS_MIN |= {"rename": 8, "renew": 40}
#: What makes a device, or asks one at each step, takes a minute or two: here it is cut before every third step.
EVERY = {"device": 3, "enrol": 3, "rename": 3, "renew": 3}


@pytest.mark.slow
@pytest.mark.parametrize("deed", sorted(cut_factory.DEEDS))
def test_a_cut_at_any_step_leaves_the_old_state_or_the_new_one(deed: str, tmp_path: Path) -> None:
    # A program of its own: it forks, and hears what its process does to the disk.
    every = EVERY.get(deed, 1)
    command = [sys.executable, "-m", "tests.world.cut_factory", str(tmp_path / "factory"), deed, str(every)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    cuts: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    assert [cut for cut in cuts if cut["found"] not in ("old", "new")] == []
    assert [cut for cut in cuts if cut["again"] not in ("", "new")] == []
    assert {cut["found"] for cut in cuts if cut["cut"]} == {"old", "new"}
    assert [cut["cut"] for cut in cuts] == [True] * (len(cuts) - 1) + [False]
    assert cuts[-1]["step"] > STEPS_MIN[deed]


def test_what_gets_a_name_is_synchronised_before_and_its_name_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process loses nothing that the kernel has, a disk without power does: so the order is looked at."""
    steps: list[tuple[str, str, bytes]] = []
    rename, fsync = os.rename, os.fsync
    target = tmp_path / "ledger.json"

    def noted_fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        steps.append(("fsync", path.name, path.read_bytes() if path.is_file() else b""))
        fsync(descriptor)

    def noted_rename(old: Path, new: Path) -> None:
        steps.append(("rename", new.name, old.read_bytes()))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    ledger.replace_file(target, b"new")
    assert steps == [
        ("fsync", ledger.draft_of(target).name, b"new"),
        ("rename", target.name, b"new"),
        ("fsync", tmp_path.name, b""),
    ]


def test_a_device_that_was_half_made_is_removed_and_one_that_was_whole_is_taken_up(tmp_path: Path) -> None:
    path = factory.make(tmp_path / "factory")
    half = path / "devices" / ".SN-0002.new"
    half.mkdir()
    (half / "rom.img").write_bytes(b"half")
    with factory.at_work(path) as maker:
        assert maker.folder.said == [
            "SN-0002 was half made when the power went: it is removed, make it again"
        ]
        assert not half.exists()
        issuer = manufacture.factory_named(maker, factory.FACTORY)
        manufacture._make(maker, issuer, "SN-0003", b"rom", "provisioned")
    with factory.at_work(path) as maker:
        assert maker.folder.said == ["SN-0003 was whole when the power went: it stands in the ledger now"]
        assert set(maker.ledger.devices) == {factory.SERIAL, "SN-0003"}
    with factory.at_work(path) as maker:
        assert maker.folder.said == []


def test_a_root_ceremony_that_was_cut_short_goes_on_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "factory"
    with factory.at_work(path, creates=True) as maker:
        maker.folder.keep(ledger.Ledger(factory.MAKER, "0a0b0c0d", "emulated pump 1"))
    with factory.at_work(path) as maker:
        with pytest.raises(ledger.FactoryRefused, match="was cut short; run provision root again"):
            manufacture.factory_named(maker, factory.FACTORY)
        with pytest.raises(ledger.FactoryRefused, match="a root ceremony of Example Devices was cut short"):
            makers.hold_root_ceremony(maker, "Another")
        assert makers.hold_root_ceremony(maker, factory.MAKER).root is not None
