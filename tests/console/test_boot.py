"""The verb boot: what each stage verified, told to people and as JSON, and a device that does not start."""

from __future__ import annotations

import json

import pytest

from sandbox import walls
from tests.console import commands
from world.factory import platforms

pytestmark = pytest.mark.walls


def test_the_chain_is_told_stage_by_stage() -> None:
    done = commands.run("boot")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    assert "ROM verified the release of insulin_pump 1.0 (Release), bootloader 1.0 (Release)" in text
    assert "therapy 1.0 (Supplier of therapy), transfer 1.0 (Supplier of transfer)" in text
    assert "ON every stage went on" in text


def test_explained_it_names_every_check_and_says_which_is_left_out() -> None:
    done = commands.run("boot", "--explain", "--without", "floor")
    assert done.returncode == 0
    for name in walls.BOOT_WALL_NAMES:
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"{name} "))
        assert ("left out" in line) == (name == "floor")
    assert "DEGRADED: without floor" in done.stdout


def test_the_log_as_json_has_every_image_and_every_part_of_the_platform() -> None:
    found = json.loads(commands.run("boot", "--json", "-").stdout)
    named = [(line["stage"], line["kind"], line["name"]) for line in found["chain"]]
    images = [("rom", "release", "insulin_pump"), ("rom", "image", "bootloader")]
    assert [line for line in named if line[0] == "rom" and line[1] != "platform"] == images
    parts = [(stage, name) for stage, kind, name in named if kind == "platform"]
    here = platforms.parts()
    later = set(here.monitor) - set(here.boot)
    assert {"pyseccomp", "zmq"} <= later
    assert parts == [("rom", part) for part in sorted(here.boot)] + [
        ("bootloader", part) for part in sorted(later)
    ]
    assert [name for stage, kind, name in named if (stage, kind) == ("monitor", "image")] == [
        "design", "therapy", "transfer",
    ]  # fmt: skip
    assert all(len(line["digest"]) == 64 for line in found["chain"])
    assert set(found["took_ms"]) == {"rom", "bootloader", "monitor", "device"}
    assert all(value > 0 for value in found["took_ms"].values())


def test_every_session_has_a_root_of_its_own_and_builds_the_same_images() -> None:
    one, other = (json.loads(commands.run("boot", "--json", "-").stdout) for _ in range(2))
    assert one["root_key_sha256"] != other["root_key_sha256"]
    digests = [
        [line["digest"] for line in found["chain"] if line["kind"] != "release"] for found in (one, other)
    ]
    assert digests[0] == digests[1]
