"""The verbs ``provision`` and ``sign``: from the root ceremony to a device that boots, and every wrong word refused."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console import factory_options
from monitor.loader import load_design
from sandbox import walls
from tests.console import commands
from tests.console.in_process import refused, status_of
from tests.console.test_json import documented, keys_of
from tests.support import factory
from tests.support.softhsm import PIN, TOKEN, token_in_software
from world import devices
from world.factory import ledger


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return factory.make(tmp_path / "factory")


def do(folder: Path, line: str) -> dict[str, Any]:
    """One verb in this factory, which has to go through; its JSON object."""
    out = folder.parent / "out.json"
    arguments = [*shlex.split(line), "--folder", str(folder), "--quiet", "--json", str(out)]
    assert status_of(arguments) == 0, line
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def booted(device: Path, *more: str) -> dict[str, Any]:
    """What ``boot --device`` writes."""
    done = commands.run("boot", "--device", str(device), *more, "--quiet", "--json", "-")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_status"] == done.returncode
    return found


def signers(found: dict[str, Any]) -> dict[str, str]:
    """Who signed what, as the device's own log has it."""
    return {line["name"]: line["signer"] for line in found["chain"] if line["kind"] == "image"}


def hold_ceremony(folder: Path, *token: str) -> None:
    """Everything up to a device that may boot."""
    more = " ".join(token)
    do(folder, f"provision root --maker 'Example Devices' {more}")
    do(folder, "provision factory Lyon")
    do(folder, "provision supplier 'Loops Ltd' --partition therapy --class C")
    assert do(folder, "provision devices 2 --factory Lyon")["serials"] == ["SN-0001", "SN-0002"]
    do(folder, "provision operator Hospital")
    do(folder, "provision enrol SN-0001 --operator Hospital")
    do(folder, "provision life SN-0001 --to operational")
    do(folder, "sign --device SN-0001 --device SN-0002")


@pytest.mark.walls
def test_a_device_proves_itself_to_whoever_knows_its_factory_and_to_nobody_else(folder: Path) -> None:
    device = folder / "devices" / factory.SERIAL
    do(folder, f"sign --device {factory.SERIAL}")
    done = commands.run("attest", "--device", str(device), "--quiet", "--json", "-")
    found = json.loads(done.stdout)
    assert (done.returncode, found["attestation"]["verdict"]) == (0, "AFFIRMING")
    assert found["attestation"]["serial"] == factory.SERIAL
    assert found["root_key_sha256"] == do(folder, "provision show")["root_key_sha256"]
    # Also by the way that a user writes from where they are; and only by what was signed last.
    near = os.path.relpath(device, commands.ROOT)
    assert commands.run("attest", "--device", near, "--quiet").returncode == 0
    shutil.copytree(device / "flash" / "slot_a", folder.parent / "older")
    do(folder, f"sign --device {factory.SERIAL} --version 1.1")
    shutil.rmtree(device / "flash" / "slot_a")
    shutil.copytree(folder.parent / "older", device / "flash" / "slot_a")
    done = commands.run("attest", "--device", str(device), "--quiet", "--json", "-")
    assert (done.returncode, json.loads(done.stdout)["attestation"]["verdict"]) == (1, "CONTRAINDICATED")
    # Taken elsewhere, it starts as ever, and there is nobody to ask.
    shutil.copytree(device, folder.parent / "far" / "away" / "SN-0001")
    far = ["--device", str(folder.parent / "far" / "away" / "SN-0001")]
    assert "name it where provision devices made it" in commands.run("attest", *far).stderr
    told = booted(folder.parent / "far" / "away" / "SN-0001")
    assert told["is_on"]
    assert not any("attested" in line for line in told["told"])
    # A release that another maker has signed does not even start.
    design = load_design(commands.ROOT / "designs" / "insulin_pump", walls.ALL)
    devices.write_flash(folder.parent / "flash", design, {})
    shutil.rmtree(device / "flash" / "slot_a")
    shutil.copytree(folder.parent / "flash" / "slot_a", device / "flash" / "slot_a")
    done = commands.run("attest", "--device", str(device), "--quiet", "--json", "-")
    assert (done.returncode, json.loads(done.stdout)["attestation"]) == (1, None)


@pytest.mark.walls
@pytest.mark.slow
def test_from_the_root_ceremony_to_a_device_that_boots_and_one_that_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "factory"
    hold_ceremony(folder)
    root = do(folder, "provision show")["root_key_sha256"]
    found = booted(folder / "devices" / "SN-0001")
    assert found["refusals"] == []
    assert found["root_key_sha256"] == root
    assert signers(found)["therapy"] == "CN=Loops Ltd,O=Example Devices"
    assert signers(found)["transfer"] == "CN=Release,O=Example Devices"
    # What it kept: nothing below the release that it has confirmed.
    do(folder, "sign --device SN-0001 --version 0.9 --security-counter 1")
    refusal = booted(folder / "devices" / "SN-0001")["refusals"][0]
    assert (refusal["stage"], refusal["image"], refusal["rule"]) == ("rom", "bootloader", "floor")
    assert "bootloader 0.9 has the security counter 1, and the floor is 2" in refusal["sentence"]
    # A day, or some of it, on the other one; an attack would bring an image that nobody signed into its flash.
    other = ["--device", str(folder / "devices" / "SN-0002"), "--days", "0.02", "--quiet"]
    assert commands.run("run", *other).returncode == 0
    assert "leave out one of the two" in commands.run("run", "--attack", "K01@00:00", *other).stderr
    # A subcontractor that was revoked, on a device that has heard of it.
    do(folder, "provision revoke 'Loops Ltd'")
    assert booted(folder / "devices" / "SN-0002")["refusals"] == []
    do(folder, "provision lists SN-0002")
    refusal = booted(folder / "devices" / "SN-0002")["refusals"][0]
    assert (refusal["stage"], refusal["image"], refusal["rule"]) == ("monitor", "therapy", "revocation")


@pytest.mark.walls
@pytest.mark.slow
def test_a_signature_beyond_its_scope_is_refused_by_the_verb_and_when_forced_by_the_device(
    folder: Path,
) -> None:
    line = [
        "sign",
        "--device",
        factory.SERIAL,
        "--signer",
        f"therapy={factory.TRANSFER}",
        "--folder",
        str(folder),
    ]
    assert status_of([*line, "--quiet"]) == 2
    assert status_of([*line, "--quiet", "--force"]) == 0
    device = folder / "devices" / factory.SERIAL
    refusal = booted(device)["refusals"][0]
    assert (refusal["stage"], refusal["image"], refusal["rule"]) == ("monitor", "therapy", "scope")
    assert f"CN={factory.TRANSFER},O={factory.MAKER} may not vouch for" in refusal["sentence"]
    do(
        folder, f"provision unlock {factory.SERIAL} --restore a"
    )  # the monitor has asked for a start too often
    let_through = booted(device, "--without", "scope")
    assert let_through["refusals"] == []
    assert signers(let_through)["therapy"] == f"CN={factory.TRANSFER},O={factory.MAKER}"


@pytest.mark.walls
@pytest.mark.slow
def test_a_whole_ceremony_goes_through_a_token_which_keeps_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "softhsm").mkdir()
    with token_in_software(tmp_path / "softhsm") as module:
        monkeypatch.setenv(factory_options.PIN_VARIABLE, PIN)
        folder = tmp_path / "factory"
        hold_ceremony(folder, "--token", str(module), "--token-label", TOKEN)
        assert booted(folder / "devices" / "SN-0001")["refusals"] == []
        do(folder, "provision revoke Lyon")
        assert do(folder, "provision show")["token"] == TOKEN
        # In files there are the keys that sign manifests, and no authority's.
        held = json.loads((folder / "ledger.json").read_text())
        kept = {path.stem for path in (folder / "keys").iterdir()}
        assert kept == {held["signers"][name]["key"] for name in ("Release", "Service")}
        assert held["root"]["key"] not in kept
        capfd.readouterr()
        monkeypatch.setenv(factory_options.PIN_VARIABLE, "0000")
        before = (folder / "ledger.json").read_bytes()
        assert status_of(["provision", "factory", "Oslo", "--folder", str(folder)]) == 2
        assert f"the token {TOKEN} behind {module} cannot be opened" in capfd.readouterr().err
        monkeypatch.delenv(factory_options.PIN_VARIABLE)
        assert commands.run("provision", "factory", "Oslo", "--folder", str(folder)).returncode == 2
        assert (folder / "ledger.json").read_bytes() == before


def test_a_pin_is_never_an_option() -> None:
    from console.provision_verbs import provision

    options = {name for verb in provision.commands.values() for option in verb.params for name in option.opts}
    assert options
    assert not [name for name in options if "pin" in name.lower()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, the state of the elements left out: switching one on changes nothing that counts."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("provision", "Usage"),
        ("provision root --maker Another", "of Example Devices already"),
        ("provision root", "--maker"),
        ("provision root --maker X --token /nowhere/lib.so", "--token-label"),
        ("provision factory Lyon", "taken"),
        ("provision factory ''", "cannot be a name"),
        ("provision factory a/b", "cannot be a name"),
        ("provision factory Oslo --years 0", "--years"),
        ("provision factory Oslo --years 101", "--years"),
        ("provision supplier Belts --partition pump/x --class C", "no partition's name"),
        ("provision supplier Belts --partition therapy --class D", "--class"),
        ("provision supplier Belts --class C", "--partition"),
        ("provision supplier Belts --partition therapy --class C --until 2020-01-01", "is over"),
        ("provision supplier Belts --partition therapy --class C --until 2199-01-01", "after the end of"),
        ("provision supplier Belts --partition therapy --class C --until soon", "is no day"),
        ("provision supplier Belts --partition therapy --class C --until 2031-02-30", "is no day"),
        ("provision supplier Belts --partition therapy --class C --public-key nowhere.pub", "nowhere.pub"),
        (
            "provision supplier Belts --partition therapy --class C --public-key README.md",
            "no public key in PEM",
        ),
        ("provision supplier 'Loops Ltd' --partition therapy --class C", "taken"),
        ("provision devices 0 --factory Lyon", "0"),
        ("provision devices 1000000000 --factory Lyon", "1000000000"),
        ("provision devices x --factory Lyon", "'x'"),
        ("provision devices 1 --factory Oslo", "no factory of this name"),
        ("provision devices 1 --factory Lyon --serial SN-0001", "SN-0001"),
        ("provision devices 1 --factory Lyon --serial 'SN 1'", "cannot be a serial number"),
        ("provision devices 1 --factory Lyon --serial ../x", "cannot be a serial number"),
        ("provision devices 1 --factory Lyon --serial SN-ö", "cannot be a serial number"),
        ("provision devices 2 --factory Lyon --serial SN", "end it in digits"),
        ("provision life SN-0009 --to operational", "no such device"),
        ("provision life SN-0001 --to provisioned", "its next step is operational"),
        ("provision life SN-0001 --to blank", "--to"),
        ("provision enrol SN-0001 --operator Clinic", "no operator of this name"),
        ("provision revoke Nobody", "nobody here has this name"),
        ("provision lists SN-0009", "no such device"),
        ("provision unlock SN-0009", "no such device"),
        ("provision unlock SN-0001 --minutes 100000", "--minutes"),
        ("provision renew SN-0001", "--new-element"),
        ("provision renew SN-0001 --factory Oslo --new-element", "no factory of this name"),
        ("sign", "sign where to?"),
        ("sign --device SN-0009", "no such device"),
        ("sign --device SN-0001 --signer therapy", "NAME=VALUE"),
        ("sign --device SN-0001 --signer therapy=Nobody", "no signer of this name"),
        ("sign --device SN-0001 --signer pump=Release", "no image of this name"),
        ("sign --device SN-0001 --version ''", "--version"),
        ("sign --device SN-0001 --security-counter -1", "--security-counter"),
        ("sign --device SN-0001 --image therapy", "who is to sign it?"),
        ("sign --device SN-0001 --image therapy --signer therapy=Release", "therapy.bhm"),
        ("sign --flash docs", "something else is there"),
        ("sign --device SN-0001 --design nowhere", "nowhere"),
    ],
)
def test_a_careless_word_is_refused_in_one_sentence_and_changes_nothing(
    line: str, words: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    arguments = shlex.split(line)
    if arguments != ["provision"]:
        arguments += ["--folder", str(folder)]
        assert words in refused(arguments, capfd)
    else:
        assert status_of(arguments) == 2
        assert words in capfd.readouterr().err
    assert contents(folder) == before


@pytest.mark.parametrize("line", ["provision show", "provision factory Oslo", "sign --device SN-0001"])
def test_a_foreign_folder_is_refused(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert "no factory's folder" in refused([*line.split(), "--folder", "docs"], capfd)
    assert "provision root" in refused([*line.split(), "--folder", "nowhere"], capfd)


def test_a_ceremony_that_is_refused_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(factory_options.PIN_VARIABLE, "1")
    token = ["--token", str(tmp_path / "none.so"), "--token-label", "x"]
    folder = ["--folder", str(tmp_path / "factory")]
    assert "none.so" in refused(["provision", "root", "--maker", "X", *token, *folder], capfd)
    assert "maker's name" in refused(["provision", "root", "--maker", "X/", *folder], capfd)
    assert not (tmp_path / "factory").exists()
    (tmp_path / "factory").mkdir()
    assert "maker's name" in refused(["provision", "root", "--maker", "X/", *folder], capfd)
    assert (tmp_path / "factory").is_dir()


def test_two_commands_at_once_are_told_in_one_sentence(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ledger.opened(folder):
        assert "another command is at work" in refused(["provision", "show", "--folder", str(folder)], capfd)


@pytest.mark.parametrize("missing", ["element", "rom.img", "flash"])
def test_a_folder_that_is_no_device_is_not_switched_on(
    folder: Path, missing: str, capfd: pytest.CaptureFixture[str]
) -> None:
    device = folder / "devices" / factory.SERIAL
    (device / missing).rename(folder / "aside")
    assert f"{device}" in refused(["boot", "--device", str(device)], capfd)


def test_a_device_with_another_design_in_its_flash_is_told_and_not_switched_on(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    do(folder, f"sign --device {factory.SERIAL} --design examples/thermostat")
    device = folder / "devices" / factory.SERIAL
    assert "it holds thermostat" in refused(["boot", "--device", str(device)], capfd)


def test_a_subcontractor_makes_its_key_at_its_side_and_hands_out_the_public_half_alone(
    folder: Path, tmp_path: Path
) -> None:
    pem = tmp_path / "belts.pem"
    assert status_of(["provision", "key", str(pem), "--quiet"]) == 0
    do(folder, f"provision supplier Belts --partition therapy --class C --public-key {pem}.pub")
    assert not (folder / "suppliers" / "Belts").exists()
    line = f"sign --flash {tmp_path / 'flash'} --signer therapy=Belts"
    assert status_of([*shlex.split(line), "--folder", str(folder), "--quiet"]) == 2
    written = do(folder, f"{line} --key Belts={pem}")["images"]
    assert {one["image"]: one["signer"] for one in written}["therapy"] == "Belts"


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        ("provision factory, operator", ["provision factory Oslo", "provision operator Clinic"]),
        ("provision supplier", ["provision supplier Belts --partition therapy --class C"]),
        (
            "provision devices, life",
            ["provision devices 1 --factory Lyon", "provision life SN-0001 --to operational"],
        ),
        ("provision enrol", ["provision operator Clinic", "provision enrol SN-0001 --operator Clinic"]),
        ("provision renew", ["provision renew SN-0001 --new-element"]),
        ("provision revoke", ["provision revoke Lyon"]),
        ("provision lists", ["provision lists"]),
        ("provision unlock", ["provision unlock SN-0001"]),
        ("provision show", ["provision show"]),
        ("sign", ["sign --device SN-0001"]),
    ],
)
def test_each_verb_writes_what_is_documented(folder: Path, section: str, lines: list[str]) -> None:
    told = [do(folder, line) for line in lines]
    verbs = [" ".join(line.split()[: 2 if line.startswith("provision") else 1]) for line in lines]
    assert [found["verb"] for found in told] == verbs
    assert set(keys_of(told[-1])) == documented("Every object", section)


def test_the_root_ceremony_and_a_new_key_write_what_is_documented(tmp_path: Path) -> None:
    told = do(tmp_path / "factory", "provision root --maker X")
    assert set(keys_of(told)) == documented("Every object", "provision root")
    out = tmp_path / "out.json"
    assert status_of(["provision", "key", str(tmp_path / "x.pem"), "--quiet", "--json", str(out)]) == 0
    assert set(keys_of(json.loads(out.read_text()))) == documented("Every object", "provision key")


def test_a_command_that_is_killed_leaves_the_folder_to_the_next_one(folder: Path) -> None:
    arguments = ["provision", "devices", "200", "--factory", factory.FACTORY, "--folder", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "run_device.py", *arguments],
        cwd=commands.ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ,
    )  # fmt: skip
    try:
        while process.poll() is None and not (folder / "devices" / "SN-0003").exists():
            os.sched_yield()
    finally:
        process.kill()
        process.communicate()
    found = do(folder, "provision show")["devices"]
    assert {"SN-0002", "SN-0003"} <= {one["serial"] for one in found}
    assert {one["life"] for one in found} == {"provisioned"}
