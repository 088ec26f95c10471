"""Attacks on the flash of a device that is off: what is not its own does not start, and does when its wall is out."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidence import experiment
from evidence.experiment import Experiment, References
from evidence.outcome import Outcome
from faults import attack_files
from faults.attack import Injection, Value
from sandbox import walls
from tests.console.commands import ROOT

PUMP = ROOT / "designs" / "insulin_pump"
INCUBATOR = ROOT / "examples" / "thermostat"
FRAMES = 6

#: Attack, parameters, the walls that have to fall, and which stage refuses it behind all of them, by which rule.
ROWS: list[tuple[str, dict[str, Value], set[str], str]] = [
    ("B01", {}, {"floor"}, "rom refused bootloader (floor)"),
    ("B04", {}, {"release"}, "monitor refused therapy (release)"),
    ("B05", {}, {"digest"}, "monitor refused therapy (digest)"),
    ("B08", {}, {"hardware"}, "rom refused release (hardware)"),
    ("B09", {"signer": "unsigned"}, {"signature"}, "monitor refused therapy (signature)"),
    ("B09", {"signer": "stranger"}, {"chain", "revocation"}, "rom refused release (chain)"),
    ("B09", {"signer": "revoked"}, {"revocation"}, "monitor refused therapy (revocation)"),
    ("B11", {}, {"floor"}, "rom refused bootloader (form)"),
    ("B12", {}, {"scope"}, "monitor refused therapy (scope)"),
    ("B13", {}, {"chain"}, "monitor refused therapy (chain)"),
    ("B14", {}, {"chain"}, "monitor refused therapy (chain)"),
    ("B15", {}, {"signature"}, "monitor refused therapy (signature)"),
]


def _perform(row: tuple[str, dict[str, Value]], without: frozenset[str]) -> experiment.Finding:
    attack_id, parameters = row
    return experiment.perform(
        Experiment(PUMP, (Injection(1, attack_id, parameters),), FRAMES, without=without), References()
    )


@pytest.mark.parametrize(("attack_id", "parameters", "without", "refused"), ROWS)
def test_it_is_refused_behind_all_walls_and_runs_without_its_own(
    attack_id: str, parameters: dict[str, Value], without: set[str], refused: str
) -> None:
    held = _perform((attack_id, parameters), frozenset())
    assert held.outcome is Outcome.HELD
    assert refused in held.effects[0].sentence
    assert held.treated == ("safe state, refused",)
    assert held.run.record.frames_done == 0
    through = _perform((attack_id, parameters), frozenset(without))
    assert through.outcome is Outcome.BREACH, through.reasons
    assert through.effects[0].sentence == "An image that is not the device's own ran as therapy."


def test_all_rows_of_the_flash_are_tried_here_with_all_their_parameters() -> None:
    built = {name: one for name, one in attack_files.built().items() if one.tamper is not None}
    assert {row[0] for row in ROWS} == built.keys()
    assert {row[1]["signer"] for row in ROWS if row[1]} == set(built["B09"].parameters["signer"].values)  # type: ignore[union-attr]
    assert {wall for row in ROWS for wall in row[2]} == walls.BOOT_WALL_NAMES - {"swap", "platform"}


def test_a_device_that_does_not_start_leaves_the_pump_in_its_safe_state() -> None:
    found = experiment.perform(Experiment(PUMP, (Injection(1, "B05"),), 12), References())
    assert found.outcome is Outcome.HELD
    assert found.run.world.pump.is_suspended
    assert 60 * 1_000 * len(found.run.world.truth().suspended_min) > 0.5 * 12 * found.run.design.frame_ms


def test_a_run_whose_foreign_image_runs_replays_to_the_same_journal() -> None:
    chains = {_perform(("B05", {}), frozenset({"digest"})).chain for _ in range(2)}
    assert len(chains) == 1


def test_it_works_on_a_users_own_design_too() -> None:
    one = Experiment(INCUBATOR, (Injection(1, "B05"),), FRAMES)
    assert experiment.perform(one, References()).outcome is Outcome.HELD
    open_one = Experiment(INCUBATOR, (Injection(1, "B05"),), FRAMES, without=frozenset({"digest"}))
    assert experiment.perform(open_one, References()).outcome is Outcome.BREACH


def test_no_attack_file_of_the_flash_needs_what_an_image_lacks() -> None:
    for attack_id, one in attack_files.built().items():
        if one.tamper is not None:
            source = Path(attack_files.path_of(attack_id)).read_text(encoding="utf-8")
            assert "    from faults.workshop import Workshop" in source, attack_id
