"""Attacks on the flash of a device that is off: what is not its own does not start, and does when its wall is out."""

from __future__ import annotations

from pathlib import Path

import pytest

from boot.refusal import ALWAYS
from evidence import experiment, fitting, harm
from evidence.experiment import Experiment, References
from evidence.outcome import Outcome
from evidence.testing.harness import Result
from faults import attack_files, effects
from faults.attack import Injection, Value
from monitor.loader import load_design
from sandbox import passport, walls
from tests.console import commands
from tests.console.commands import ROOT
from world.bench import BenchError

PUMP = ROOT / "designs" / "insulin_pump"
INCUBATOR = ROOT / "examples" / "thermostat"
#: Long enough for an overdose to be felt.
FRAMES = 19

#: Attack, parameters, the walls that have to fall, and which stage refuses it behind all of them, by which rule.
ROWS: list[tuple[str, dict[str, Value], set[str], str]] = [
    ("B01", {}, {"floor"}, "rom refused bootloader (floor)"),
    ("B04", {}, {"release"}, "monitor refused therapy (release)"),
    ("B05", {}, {"digest"}, "monitor refused therapy (digest)"),
    ("B05", {"image": "monitor"}, {"digest"}, "bootloader refused monitor (digest)"),
    ("B08", {}, {"hardware"}, "rom refused release (hardware)"),
    ("B08", {"other": "interpreter"}, {"platform"}, "bootloader refused"),
    ("B09", {"signer": "unsigned"}, {"signature"}, "monitor refused therapy (signature)"),
    ("B09", {"signer": "stranger"}, {"chain"}, "monitor refused therapy (chain)"),
    ("B09", {"signer": "revoked"}, {"revocation"}, "monitor refused therapy (revocation)"),
    ("B11", {}, {"floor"}, "rom refused bootloader (form)"),
    ("B12", {}, {"scope"}, "monitor refused therapy (scope)"),
    ("B13", {}, {"chain"}, "monitor refused therapy (chain)"),
    ("B14", {}, {"chain"}, "monitor refused therapy (chain)"),
    ("B15", {}, {"signature"}, "monitor refused therapy (signature)"),
    ("B20", {}, {"revocation"}, "rom refused release (revocation)"),
]


#: Attack, the walls that have to fall, what the verifier or ROM says behind all of them, and what is seen without them.
TRUST_ROWS: list[tuple[str, set[str], str, str]] = [
    (
        "B16",
        {"layers"},
        "The verifier said CONTRAINDICATED: layer bootloader, measured by rom",
        "The verifier affirmed it (it runs release 1.0, as it should), and a foreign image ran.",
    ),
    (
        "B17",
        {"nonce"},
        "The verifier said CONTRAINDICATED: the token answers another nonce than ours.",
        "The verifier affirmed it (it runs release 1.0, as it should), and a foreign image ran.",
    ),
    (
        "B18",
        {"request", "pathlen", "revocation"},
        "The verifier said CONTRAINDICATED: who answers is not known: 2.5.4.5=SN-0666,OU=Desk,O=Development: invalid",
        "The verifier affirmed SN-9999, which the factory has never made.",
    ),
    (
        "B19",
        {"unlock"},
        "Debugging stays closed: the debug unlock is for device 'SN-0666', and this is 'SN-0001'",
        "Debugging was opened with a permission for another device.",
    ),
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
    assert through.effects[0].sentence.startswith("An image that is not the device's own ran as therapy: ")
    assert through.severity is harm.Severity.S4, "the foreign program overdoses, and the patient bears it"


@pytest.mark.parametrize(("attack_id", "without", "held", "through"), TRUST_ROWS)
def test_what_is_believed_of_a_device_holds_behind_all_walls_and_is_a_lie_without_its_own(
    attack_id: str, without: set[str], held: str, through: str
) -> None:
    walled = _perform((attack_id, {}), frozenset())
    assert walled.outcome is Outcome.HELD, walled.reasons
    assert walled.effects[0].sentence.startswith(held)
    assert walled.run.record.frames_done == FRAMES
    opened = _perform((attack_id, {}), frozenset(without))
    assert opened.outcome is Outcome.BREACH, opened.reasons
    assert opened.effects[0].sentence == through
    control = _perform((attack_id, {}), walls.ALL)
    assert control.outcome is Outcome.BREACH, control.reasons


@pytest.mark.parametrize("kept", ["request", "pathlen", "revocation"])
def test_any_one_of_the_three_walls_stops_a_request_for_authority(kept: str) -> None:
    without = frozenset({"request", "pathlen", "revocation"} - {kept})
    assert _perform(("B18", {}), without).outcome is Outcome.HELD


def test_an_image_swapped_between_its_check_and_its_start_runs_only_without_the_wall_swap() -> None:
    """The sealed copy is what runs, whatever took the file's name. It is a race: it may have to be asked again."""
    held = _perform(("B07", {}), frozenset())
    assert held.outcome is Outcome.HELD, held.reasons
    assert held.activated == (True,), "the file was swapped while the bootloader had it open"
    assert held.comparison is not None
    assert held.comparison.holds
    through = [_perform(("B07", {}), frozenset({"swap"})) for _ in range(3)]
    assert Outcome.BREACH in {found.outcome for found in through}
    assert harm.Severity.S4 in {found.severity for found in through}


def test_all_rows_of_the_flash_are_tried_here_in_all_variants_that_meet_other_walls() -> None:
    built = {name: one for name, one in attack_files.built().items() if one.tamper is not None}
    built.pop("B07")
    assert {row[0] for row in ROWS} | {row[0] for row in TRUST_ROWS} == built.keys()
    tried = [(name, parameters) for name, parameters, _, _ in ROWS] + [(row[0], {}) for row in TRUST_ROWS]
    for name, attack in built.items():
        for given in attack.variants:
            assert any(one == name and given.items() <= parameters.items() for one, parameters in tried), name
    assert {wall for row in ROWS for wall in row[2]} == walls.BOOT_WALL_NAMES - {"swap"}
    assert {wall for row in TRUST_ROWS for wall in row[1]} == walls.TRUST_WALL_NAMES | {"revocation"}


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


@pytest.mark.parametrize("line", ["B05@14 C05@20", "B05@14 B12@15", "K01@14 B05@20"])
def test_an_attack_on_the_flash_stands_alone_in_its_experiment(line: str) -> None:
    """Seen: beside another attack it was never carried out, and was told to have been held."""
    one = experiment.read(f"design={PUMP} frames=40 without=digest {line}")
    with pytest.raises(experiment.LineWrong, match=r"B\d\d strikes the flash .* leave out [BCK]\d\d"):
        fitting.require_fit(one, load_design(PUMP, walls.ALL))
    with pytest.raises(BenchError, match="stands alone"):
        experiment.perform(one, References())


@pytest.mark.parametrize("verb", ["attack", "run"])
def test_a_day_has_no_place_for_an_attack_on_a_device_that_is_off(verb: str) -> None:
    arguments = ("attack", "B05") if verb == "attack" else ("run", "--attack", "B05")
    done = commands.run(*arguments)
    assert done.returncode == 2
    assert "B05 strikes the flash of a device that is off" in done.stderr
    assert "boot --attack B05" in done.stderr


def test_what_a_stage_did_not_ask_is_not_told_as_verified() -> None:
    done = commands.run("boot", "--without", "digest")
    assert "took, without asking digest," in " ".join(done.stdout.split())
    assert "verified" not in done.stdout
    assert "DEGRADED: without digest" in done.stdout


def test_the_walls_of_a_device_that_did_not_start_are_those_of_the_host() -> None:
    found = _perform(("B05", {}), frozenset())
    assert found.standing >= walls.BOOT_WALL_NAMES
    assert found.standing == walls.ALL - passport.probe().unavailable


def test_of_a_device_that_did_not_start_no_deadline_is_told_to_be_met() -> None:
    result = Result(_perform(("B05", {}), frozenset()), 1)
    result.assert_held()
    with pytest.raises(AssertionError, match="the device did not start"):
        result.assert_no_missed_deadline()


def test_a_fallback_is_told_with_all_that_was_refused() -> None:
    sentence = _perform(("B11", {}), frozenset()).effects[0].sentence
    assert "slot a: rom refused bootloader (form)" in sentence
    assert "slot b: rom refused bootloader (floor): bootloader 0.9 has the security counter 1" in sentence


def test_the_rules_that_are_no_walls_are_those_that_the_boot_never_leaves_out() -> None:
    assert effects.NO_WALLS == ALWAYS
