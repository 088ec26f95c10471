"""A partition finds the packages that its own manifest pins: also where it sees the whole folder of packages."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import devices as toys
from tests.support.devices import Outcome, Toy, standby
from world import devices, power
from world.bench import BootRefused, Plan
from world.factory import platforms

pytestmark = pytest.mark.walls
Run = Callable[..., Outcome]

#: Without these a partition sees the host's files.
SEES_ALL = frozenset({"mntns", "landlock", "uid", "userns"})
#: Installed on every host that tests, and nothing that the template has loaded.
OTHER = "click"


@pytest.mark.parametrize("name", [OTHER, "pyseccomp"])
def test_a_package_of_somebody_elses_is_not_found(name: str, device: Run) -> None:
    """Not even one that the template has: the monitor's manifest pins that."""
    outcome = device(Toy(f"import {name}"), 4, without=SEES_ALL)
    assert outcome.rulings()[0][1:] == ("partition_exit", "restart")
    assert f"ModuleNotFoundError: No module named '{name}'" in [n.text for n in outcome.record.of_kind("log")]


def test_it_would_be_found_by_a_partition_with_the_folder_on_its_path(device: Run) -> None:
    outcome = device(
        Toy(f"sys.path.append({power.packages_folder()!r}); import {OTHER}"), 4, without=SEES_ALL
    )
    assert outcome.rulings() == []


@pytest.mark.parametrize("without", [frozenset(), SEES_ALL])
def test_one_that_its_manifest_pins_is_found(without: frozenset[str], device: Run) -> None:
    outcome = device(Toy(f"import {OTHER}", packages=(OTHER,)), 4, without=without)
    assert outcome.rulings() == []


def test_a_package_that_nobody_measured_runs_in_no_process_of_a_device(
    device: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``copy`` asks for ``org.python.core``; the template, what it forks and the monitor import it."""
    folder, mark = tmp_path / "packages", tmp_path / "mark"
    folder.mkdir()
    for path in Path(power.packages_folder()).iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "org/python").mkdir(parents=True)
    (folder / "org/python/core.py").write_text(f"open({str(mark)!r}, 'a').close()\nPyStringMap = None\n")
    monkeypatch.setattr(power, "packages_folder", lambda: str(folder))
    outcome = device(Toy("sys.modules.pop('copy', None); import copy"), 4, without=SEES_ALL)
    assert outcome.rulings() == []
    assert not mark.exists()
    opened = f"sys.modules.pop('copy', None); sys.path.append({str(folder)!r}); import copy"
    device(Toy(opened), 4, without=SEES_ALL)
    assert mark.exists()


@pytest.mark.parametrize("library", ["/libstdc++", "/libseccomp"])
def test_a_library_that_only_monitor_or_template_loads_has_to_be_pinned_by_the_monitors_manifest(
    library: str, device: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = platforms.parts()
    lacking = platforms.Platforms(here.boot, tuple(part for part in here.monitor if library not in part))
    monkeypatch.setattr(platforms, "parts", lambda: lacking)
    devices.stage_images.cache_clear()
    try:
        with pytest.raises(
            BootRefused, match=rf"monitor refuses to go on: slot a: '\S+{re.escape(library)}\S+' is mapped"
        ):
            device(Toy(), 4)
        assert device(Toy(), 4, without=frozenset({"platform"})).record.frames_done == 4
    finally:
        devices.stage_images.cache_clear()


def test_schemas_that_load_a_library_into_the_monitor_do_not_start(
    device: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run with the monitor's powers; what they bring along was measured by nobody."""
    monkeypatch.setattr(toys, "SCHEMAS", "import sqlite3\n" + toys.SCHEMAS)
    with pytest.raises(
        BootRefused, match=r"refuses to go on: slot a: '\S+sqlite3\S+' is mapped into a process"
    ):
        device(Toy(), 4)


def test_a_package_that_is_written_to_while_the_device_starts_keeps_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage reads again from the disk what ROM has measured; nobody may have written there meanwhile."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for path in Path(power.packages_folder()).iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "msgspec").unlink()
    shutil.copytree(Path(power.packages_folder()) / "msgspec", folder / "msgspec")
    monkeypatch.setattr(power, "packages_folder", lambda: str(folder))
    design = Toy().write(tmp_path / "toy")

    def ended(without: frozenset[str]) -> tuple[int, str]:
        with standby() as (place, bench):
            _await_monitor(bench.monitor.pid)
            first = folder / "msgspec/__init__.py"
            first.write_bytes(first.read_bytes())
            record = bench.run(Plan(design, 4, without=without), place)
        return record.exit_status, record.of_kind("end")[0].text

    status, said = ended(frozenset())
    assert status == 1
    assert said.startswith("safe state: msgspec was written to after it had been measured")
    assert ended(frozenset({"platform"})) == (0, "all frames done")


def _await_monitor(pid: int) -> None:
    """Until this process, which starts as ROM, is a monitor that has loaded its rooms."""
    until_s = time.monotonic() + 60
    while Path(f"/proc/{pid}/comm").read_text() != "bh-monitor\n":
        assert time.monotonic() < until_s
        time.sleep(0.01)
