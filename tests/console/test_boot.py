"""The verb boot: what each stage verified, told to people and as JSON, and a device that does not start."""

from __future__ import annotations

import json
from typing import Any

import pytest

from console import boot_page
from console.boot_page import Attacked, Refusal, Started
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


def test_a_device_whose_flash_somebody_had_tells_who_refuses_what_and_what_its_owner_can_do() -> None:
    done = commands.run("boot", "--attack", "b05", "--json", "-")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    refusal, other = found["refusals"]
    assert (refusal["stage"], refusal["image"], refusal["rule"]) == ("monitor", "therapy", "digest")
    assert (other["stage"], other["slot"], other["sentence"]) == ("rom", "b", "slot_b is empty")
    assert refusal["signer"] == "CN=Supplier of therapy,O=Development"
    assert (found["is_on"], found["attack"], found["foreign_program_in"]) == (False, "B05", None)
    text = " ".join(done.stderr.split())
    assert "the monitor does not go on" in text
    assert "remedy for whoever owns the device: install the release anew" in text
    assert "OFF B05 did not get through: the monitor refuses therapy (digest)" in text
    assert "boot --attack B05 --without digest" in text


def test_without_its_rule_the_foreign_program_runs_and_the_page_says_what_shows_its_harm() -> None:
    done = commands.run("boot", "--attack", "B05", "--without", "digest")
    assert done.returncode == 1
    text = " ".join(done.stdout.split())
    assert "ON B05 got through: what runs as therapy is a foreign program DEGRADED: without digest" in text
    assert "without=digest B05@14'" in text


def test_a_fallback_is_told_slot_by_slot() -> None:
    found = json.loads(commands.run("boot", "--attack", "B11(spoilt=release)", "--json", "-").stdout)
    assert [(one["slot"], one["image"], one["rule"]) for one in found["refusals"]] == [
        ("a", "release", "form"),
        ("b", "bootloader", "floor"),
    ]


def test_the_remedy_for_a_revoked_signer_is_not_to_bring_another_list() -> None:
    """Seen: it was, as if the owner of the device had forgotten something."""
    found = json.loads(commands.run("boot", "--attack", "B09(signer=revoked)", "--json", "-").stdout)
    refusal = found["refusals"][0]
    assert refusal["rule"] == "revocation"
    assert refusal["remedy"] == "install an image that somebody has signed whose certificate still counts"


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        ("K01", "K01 is no attack on the flash of a device that is off; there are B01,"),
        ("B05@14", "without a time"),
        ("B05(image=moon)", 'image takes one of "partition"'),
        ("B09(signer=", "without a time, its parameters in brackets"),
    ],
)
def test_what_is_no_attack_on_the_flash_is_refused_in_a_sentence(attack: str, says: str) -> None:
    done = commands.run("boot", "--attack", attack)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_users_own_device_refuses_and_overheats_too() -> None:
    """Seen: the B rows were refused there, because it has no partition called transfer."""
    design = ("--design", "examples/thermostat")
    assert commands.run("boot", "--attack", "B12", *design).returncode == 0
    assert commands.run("boot", "--attack", "B12", "--without", "scope", *design).returncode == 1


def test_a_swap_leaves_the_device_on_with_its_own_programs() -> None:
    done = commands.run("boot", "--attack", "B07")
    assert done.returncode == 0
    assert "ON B07 did not get through: the device's own programs run" in " ".join(done.stdout.split())


def _started(rule: str = "", **more: Any) -> Started:
    refusals = (Refusal("rom", "bootloader", "", rule, "it differs", "mend it"),) if rule else ()
    return Started("", (), {}, frozenset(), "", refusals, is_on=not rule, **more)


def test_what_no_wall_stopped_and_what_was_not_carried_out_is_no_success() -> None:
    attacked = Attacked("B05", "B05", "It changes it.")
    assert _started().is_well
    assert not _started("digest").is_well
    assert _started("digest", attacked=attacked).is_well
    assert not _started("form", attacked=attacked).is_well
    assert not _started(attacked=attacked, foreign="therapy").is_well
    assert _started(attacked=attacked).is_well
    assert not _started(attacked=attacked, missed="nobody opened it").is_well
    said = boot_page.closing(_started(attacked=attacked, missed="nobody opened it")).plain
    assert said == "ON  B05 was not carried out: nobody opened it"
