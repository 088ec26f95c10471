"""Designs with a flaw on purpose, as people meet them: labelled everywhere, and told what let an attack through."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from console import jobs
from console.failures import Refused
from tests.console import commands

FLAWED = commands.ROOT / "examples" / "flawed"
LABEL = "DEGRADED: breaks every-field-bounded; breaks networked-reaches-class-c"


def test_check_goes_on_failing_a_rule_that_the_design_accepts_to_break() -> None:
    done = commands.run("check", "--design", str(FLAWED / "unbounded_field"), "--quiet")
    assert done.returncode == 1
    assert "breaks 2 of 19 rules" in done.stdout
    assert LABEL in " ".join(done.stdout.split())


def test_replay_names_the_flaw_and_the_label() -> None:
    done = commands.run("replay", "design=examples/flawed/unbounded_field frames=19 C08@14")
    assert (done.returncode, done.stderr) == (1, "")
    told = " ".join(done.stdout.split())
    assert "flaw: the field transfer.activity.steps_per_min is unbounded" in told
    assert LABEL in told


def test_a_rule_that_is_kept_cannot_be_accepted_as_broken(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(commands.ROOT / "examples" / "thermostat", tmp_path / "incubator"))
    toml = folder / "device.toml"
    toml.write_text(toml.read_text().replace("\n[world]", '\naccepts = ["one-window-each"]\n\n[world]', 1))
    with pytest.raises(
        Refused, match="accepts holds one-window-each, which is no rule that the design breaks"
    ):
        jobs.sound_design(folder)
