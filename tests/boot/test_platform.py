"""The platform's digest: every file from which code can come changes it, and the monitor uses no other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from boot import platform
from boot.refusal import ALWAYS, RULES, Refused
from ipc_schemas import interpreter
from sandbox import rootfs, walls
from world import devices, power
from world.factory import platforms


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    (tmp_path / "toy/inner/__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "inner/part.py", "inner/__pycache__/part.cpython-311.pyc", "fast.so"):
        (tmp_path / "toy" / name).write_bytes(name.encode())
    (tmp_path / "other.py").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda toy: (toy / "inner/part.py").write_bytes(b"other"),
        lambda toy: (toy / "inner/__pycache__/part.cpython-311.pyc").write_bytes(b"other"),
        lambda toy: (toy / "fast.so").write_bytes(b"other"),
        lambda toy: (toy / "fast.so").rename(toy / "faster.so"),
        lambda toy: (toy / "more.py").touch(),
        lambda toy: (toy / "fast.so").unlink(),
        lambda toy: (toy / "linked.py").symlink_to(toy.parent / "other.py"),
        lambda toy: (toy / "linked").symlink_to(toy.parent),
    ],
)
def test_any_change_below_a_package_changes_its_digest(
    packages: Path, change: Callable[[Path], object]
) -> None:
    before = platform.measure("toy", str(packages))
    assert platform.measure("toy", str(packages)) == before
    change(packages / "toy")
    assert platform.measure("toy", str(packages)) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda toy: (toy / "fast.so").write_bytes((toy / "fast.so").read_bytes()),
        lambda toy: os.replace(shutil.copy2(toy / "fast.so", toy / "new"), toy / "fast.so"),
        lambda toy: (toy / "more.py").touch(),
        lambda toy: os.utime(toy / "fast.so", ns=(0, (toy / "fast.so").stat().st_mtime_ns)),
    ],
)
def test_what_was_written_to_after_it_was_measured_is_seen_although_it_reads_the_same(
    packages: Path, change: Callable[[Path], object]
) -> None:
    states = [("toy", platform.look("toy", str(packages)).state)]
    platform.require_unchanged(states, str(packages))
    change(packages / "toy")
    with pytest.raises(Refused, match="toy was written to after it had been measured"):
        platform.require_unchanged(states, str(packages))


def test_a_child_finds_what_its_parent_would_find(packages: Path) -> None:
    before = platform.measure("toy", str(packages))
    assert platform.Begun(["toy"], str(packages)).looks() == {"toy": platform.look("toy", str(packages))}
    (packages / "toy" / "fast.so").write_bytes(b"other")
    after = platform.measure("toy", str(packages))
    found = platform.Begun(["toy", "other"], str(packages)).looks()
    assert [look.digest for look in found.values()] == [after, platform.measure("other", str(packages))]
    assert after != before


def test_what_a_child_cannot_measure_is_refused_by_its_parent(packages: Path) -> None:
    with pytest.raises(Refused, match="the package 'nothing' is not installed"):
        platform.Begun(["toy", "nothing"], str(packages)).looks()


def test_a_child_whose_answer_nobody_wants_is_gone(packages: Path) -> None:
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = children.read_text()
    begun = platform.Begun(["toy"], str(packages))
    assert children.read_text() != before
    begun.abandon()
    assert children.read_text() == before


def test_what_only_an_optimizing_interpreter_would_run_does_not_count(packages: Path) -> None:
    before = platform.measure("toy", str(packages))
    (packages / "toy/inner/__pycache__/part.cpython-311.opt-1.pyc").write_bytes(b"other")
    assert platform.measure("toy", str(packages)) == before


def test_what_lies_beside_a_package_does_not_count(packages: Path) -> None:
    before = platform.measure("toy", str(packages))
    (packages / "other.py").write_bytes(b"changed")
    assert platform.measure("toy", str(packages)) == before


@pytest.mark.parametrize("name", ["nothing", "../toy", "", "toy/inner"])
def test_a_package_that_is_not_there_is_refused(packages: Path, name: str) -> None:
    with pytest.raises(Refused) as refused:
        platform.measure(name, str(packages))
    assert refused.value.rule == "platform"


_LOADED = """
import os, sys
sys.path.insert(0, sys.argv[2])
sys.path.append(sys.argv[1])
from monitor import main, nursery, power_on
from sandbox import stub, template
template.warm_up()
for module in list(sys.modules.values()):
    if getattr(module, "__file__", None):
        print(os.path.realpath(module.__file__))
"""


def test_the_monitor_loads_nothing_but_its_image_and_what_its_manifest_pins(tmp_path: Path) -> None:
    image = tmp_path / "monitor.img"
    image.write_bytes(devices.stage_images()["monitor"].content)
    installed = power.packages_folder()
    said = subprocess.run(
        [sys.executable, *interpreter.FLAGS, "-c", _LOADED, installed, str(image)],
        capture_output=True, text=True, check=True, cwd="/", env=interpreter.ENVIRONMENT,
    )  # fmt: skip
    roots = [str(image), *rootfs.interpreter_paths()]
    beside = [
        path for path in said.stdout.split() if not path.startswith(tuple(f"{root}/" for root in roots))
    ]
    below = {Path(path).relative_to(Path(installed).resolve()).parts[0] for path in beside}
    assert below, "it imports zmq at least"
    assert {name.split(".")[0] for name in below} <= set(platforms.parts().monitor)
    left_out = [f"/{name}/" for name in platform.LEFT_OUT if name not in ("site-packages", "dist-packages")]
    assert not [path for path in said.stdout.split() if any(name in path for name in left_out)]


def test_what_is_not_measured_of_the_standard_library_is_not_seen_by_partitions() -> None:
    assert set(rootfs.HIDDEN) == platform.LEFT_OUT


def test_every_rule_that_may_be_left_out_is_a_wall_and_no_other() -> None:
    assert RULES - ALWAYS == walls.BOOT_WALL_NAMES


@pytest.mark.parametrize("what", ["/dev/zero", "pipe"])
def test_a_part_that_is_no_plain_file_is_refused_and_nobody_reads_for_ever(tmp_path: Path, what: str) -> None:
    """Seen: a supplier's manifest that pinned /dev/zero kept the monitor busy for good."""
    path = what if what.startswith("/") else str(tmp_path / what)
    if not what.startswith("/"):
        os.mkfifo(path)
    with pytest.raises(Refused, match="is no plain file"):
        platform.measure(path, str(tmp_path))
