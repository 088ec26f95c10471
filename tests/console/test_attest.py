"""The verb attest: a device that starts is challenged, its answer kept, and appraised again by somebody else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.console import commands

pytestmark = pytest.mark.walls


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str, str]:
    """A kept attestation, the root and the nonce that it was made with, and what was printed."""
    folder = tmp_path_factory.mktemp("kept") / "attested"
    done = commands.run("attest", "--keep", str(folder), "--json", str(folder.parent / "told.json"))
    assert done.returncode == 0, done.stderr
    told = json.loads((folder.parent / "told.json").read_text())
    return folder, told["root_key_sha256"], told["nonce"], " ".join(done.stdout.split())


def test_the_verdict_is_told_check_by_check_and_layer_by_layer(kept: tuple[Path, str, str, str]) -> None:
    _, root, nonce, text = kept
    assert "AFFIRMING it runs release 1.0, as it should" in text
    assert "SN-0001 says of itself: operational, debugging closed" in text
    for name in ("nonce", "form", "layers", "signature", "device", "log", "measurements", "life"):
        assert f"{name} holds" in text
    assert "rom bootloader (layer)" in text
    assert "bootloader monitor (layer)" in text
    assert "monitor therapy (image)" in text
    assert "It says what was started, and nothing of what happened since." in text
    assert f"--root {root} --nonce {nonce}" in text
    assert "secure" not in text


@pytest.mark.parametrize(
    ("knows_root", "knows_nonce", "verdict", "status"),
    [
        (True, True, "AFFIRMING", 0),
        (True, False, "WARNING", 1),
        (False, True, "WARNING", 1),
        (False, False, "WARNING", 1),
    ],
)
def test_what_was_kept_is_affirmed_to_who_knows_root_and_nonce(
    kept: tuple[Path, str, str, str], knows_root: bool, knows_nonce: bool, verdict: str, status: int
) -> None:
    folder, root, nonce, _ = kept
    known = [*(["--root", root] if knows_root else []), *(["--nonce", nonce] if knows_nonce else [])]
    done = commands.run("attest", "--verify", str(folder), *known, "--quiet")
    assert (done.returncode, done.stdout.split()[0]) == (status, verdict)


def test_another_root_is_contraindicated(kept: tuple[Path, str, str, str]) -> None:
    folder, _, nonce, _ = kept
    done = commands.run("attest", "--verify", str(folder), "--root", "0" * 64, "--nonce", nonce, "--quiet")
    assert done.returncode == 1
    assert done.stdout.startswith(
        "CONTRAINDICATED  who answers is not known: the root is not the one that is trusted"
    )


def test_a_changed_reference_is_told_as_none(kept: tuple[Path, str, str, str], tmp_path: Path) -> None:
    folder, root, nonce, _ = kept
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "reference" / "therapy.bhm").unlink()
    done = commands.run(
        "attest", "--verify", str(copy), "--root", root, "--nonce", nonce, "--json", "-", "--quiet"
    )
    told = json.loads(done.stdout)["attestation"]
    assert (done.returncode, told["verdict"]) == (1, "CONTRAINDICATED")
    assert "the manifest of therapy is not there" in told["sentence"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--verify", "{}/nowhere"), "there is no such folder; name the one that attest --keep wrote"),
        (("--keep", "{}"), "is there already; name another folder"),
        (
            ("--verify", "{}", "--keep", "{}/x"),
            "--keep is for a device that starts now; leave it out beside --verify",
        ),
        (("--verify", "{}", "--without", "nonce"), "--without is for a device that starts now"),
        (("--root", "0" * 64), "give it with --verify FOLDER"),
        (("--nonce", "0" * 64), "give it with --verify FOLDER"),
        (("--verify", "{}", "--nonce", "0" * 64), "this is not the nonce in"),
        (("--verify", "{}", "--nonce", "abc"), "'abc' is not 64 hexadecimal digits: copy them whole"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(
    kept: tuple[Path, str, str, str], arguments: tuple[str, ...], said: str
) -> None:
    done = commands.run("attest", *(argument.format(kept[0]) for argument in arguments))
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_challenge_that_leaves_a_check_out_is_labelled() -> None:
    done = commands.run("attest", "--without", "nonce", "--quiet")
    assert done.returncode == 1
    assert "DEGRADED: without nonce" in done.stdout


def test_every_run_tells_what_its_device_was_attested_to_be() -> None:
    done = commands.run("run", "--days", "0.004")
    lines = [line for line in done.stdout.splitlines() if "attested" in line or "sealed" in line]
    assert [line.partition("* ")[2] for line in lines] == [
        "attested: AFFIRMING, nonce fresh, release 1.0",
        "the settings of therapy are sealed to insulin_pump 1.0",
    ]


def test_one_device_that_starts_four_times_shows_which_release_opens_its_settings() -> None:
    done = commands.run("boot", "--settings")
    text = " ".join(done.stdout.split())
    assert done.returncode == 0
    assert "start 3, release 1.2: a release that nobody authorised OFF, by the rule seal" in text
    assert "SEALED the settings opened in the release that sealed them and in its successor" in text


@pytest.mark.parametrize(
    "arguments", [("--explain",), ("--without", "floor"), ("--attack", "B05"), ("--device", "x")]
)
def test_four_starts_are_not_mixed_with_what_belongs_to_one(arguments: tuple[str, ...]) -> None:
    done = commands.run("boot", "--settings", *arguments)
    assert done.returncode == 2
    assert f"leave out {arguments[0]}" in done.stderr


def test_a_design_without_settings_has_nothing_to_show(tmp_path: Path) -> None:
    design = tmp_path / "incubator"
    shutil.copytree(commands.ROOT / "examples" / "thermostat", design)
    text = (design / "device.toml").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not line.startswith("config = ")]
    assert len(kept) < len(text.splitlines())
    (design / "device.toml").write_text("\n".join(kept) + "\n", encoding="utf-8")
    done = commands.run("boot", "--settings", "--design", str(design))
    assert done.returncode == 2
    assert "has settings; name a design in which one has a config" in done.stderr


def test_an_attacked_device_is_attested_to_run_what_its_suppliers_have_signed() -> None:
    """Seen: the taken-over partition lay in another flash than the one that ROM had measured."""
    done = commands.run("run", "--attack", "C05@00:30", "--days", "0.1")
    (line,) = (line for line in done.stdout.splitlines() if "attested" in line)
    assert line.endswith("* attested: AFFIRMING, nonce fresh, release 1.0")
