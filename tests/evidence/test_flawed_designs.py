"""Designs with a flaw on purpose: a few experiments, drawn as a campaign draws them, find it, and it is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from evidence import experiment, flaws
from evidence.outcome import Outcome
from evidence.workers import Summary, Told, Worker
from faults import attack_files
from faults.attack import Injection
from monitor import rules
from monitor.design import Design
from monitor.loader import load_design, load_schemas
from sandbox import walls

ROOT = Path(__file__).resolve().parents[2]
SOUND = ROOT / "designs" / "insulin_pump"
FLAWED = ROOT / "examples" / "flawed"
#: Of each flawed design: attacks that meet its flaw. As root and as another user, not the same of them can be told.
MEET = {
    "unbounded_field": ("C08", "C08"),
    "missing_wall": ("K10", "K11", "K12"),
    "leaked_descriptor": ("K05", "K05"),
}
FRAME = 14


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One worker for all experiments here."""
    with Worker() as one:
        yield one


def drawn(design: Path, attack_ids: tuple[str, ...], seed: int = 1) -> list[str]:
    """The lines of experiments on a design, one for each attack, with the parameters that ``seed`` draws."""
    chance = Random(seed)
    attacks = attack_files.built()
    return [
        experiment.single(design, Injection(FRAME, one, attacks[one].draw(chance))).line for one in attack_ids
    ]


def design_in(folder: Path) -> Design:
    """The design as it is loaded."""
    return load_design(folder, walls.ALL)


@pytest.mark.parametrize("name", MEET)
def test_the_flaw_is_found_and_named(name: str, worker: Worker) -> None:
    folder = FLAWED / name
    flaw = (folder / "FLAW").read_text(encoding="utf-8").strip()
    breaches = [one for one in map(worker.ask, drawn(folder, MEET[name])) if one.outcome == Outcome.BREACH]
    assert breaches
    for one in breaches:
        found = flaws.named(one, design_in(folder), worker.ask)
        assert any(flaw in sentence for sentence in found), (one, found)


@pytest.mark.parametrize("attack_id", sorted({one for ids in MEET.values() for one in ids}))
def test_the_same_attacks_hold_on_the_sound_design(attack_id: str, worker: Worker) -> None:
    (line,) = drawn(SOUND, (attack_id,))
    told = worker.ask(line)
    # Where only root can look into a process's descriptors, another user is told so: that is no pass, and no breach.
    is_blind = os.geteuid() != 0 and "could not be looked at" in str(told.reasons)
    assert told.outcome == (Outcome.UNKNOWN if is_blind else Outcome.HELD), told
    assert flaws.named(told, design_in(SOUND), worker.ask) == ()


@pytest.mark.parametrize("name", MEET)
def test_a_flawed_design_says_so_wherever_it_runs(name: str) -> None:
    design = design_in(FLAWED / name)
    assert rules.unaccepted(design, rules.check(design, load_schemas(design))) == ()
    assert design.label.startswith("DEGRADED: ")
    assert design_in(SOUND).label == ""


def altered(name: str, tmp_path: Path, changes: dict[str, tuple[str, str]]) -> Path:
    """A copy of a flawed design in which each named file has one text for another."""
    folder = tmp_path / name
    shutil.copytree(FLAWED / name, folder)
    images = {"device.toml": ("../../../partitions", str(ROOT / "partitions"))}
    for pair in (images, changes):
        for file, (old, new) in pair.items():
            text = (folder / file).read_text(encoding="utf-8")
            assert old in text
            (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    return folder


def test_bounds_that_are_worth_nothing_pass_every_rule_and_are_found_all_the_same(
    tmp_path: Path, worker: Worker
) -> None:
    bounded = "Annotated[float, msgspec.Meta(ge=-1.7e308, le=1.7e308)]"
    folder = altered(
        "unbounded_field",
        tmp_path,
        {
            "schemas.py": ("steps_per_min: float", f"steps_per_min: {bounded}"),
            "device.toml": ('accepts = ["every-field-bounded", "networked-reaches-class-c"]\n', ""),
        },
    )
    schemas = folder / "schemas.py"
    text = schemas.read_text(encoding="utf-8")
    imports = "from typing import Annotated\n\nimport msgspec\n\nfrom ipc_schemas"
    schemas.write_text(text.replace("from ipc_schemas", imports, 1), encoding="utf-8")
    design = design_in(folder)
    assert rules.check(design, load_schemas(design)) == ()
    line = experiment.single(folder, Injection(FRAME, "C08", {"value": "huge"})).line
    told = worker.ask(line)
    assert told.outcome == Outcome.BREACH
    (sentence,) = flaws.named(told, design, worker.ask)
    assert "transfer.activity.steps_per_min has bounds that are worth nothing" in sentence


def test_a_descriptor_that_is_closed_again_is_no_leak(tmp_path: Path, worker: Worker) -> None:
    opened = '"rb")  # noqa: SIM115  the flaw; its world put it there\n'
    folder = altered(
        "leaked_descriptor", tmp_path, {"schemas.py": (opened, f"{opened}    SERVICE_LOG.close()\n")}
    )
    (line,) = drawn(folder, ("K05",))
    assert worker.ask(line).got_through is not True


def test_a_policing_wall_that_only_transfer_lacks_is_named_too(tmp_path: Path, worker: Worker) -> None:
    """Such a design breaks a rule as well, and does not run unless it says so."""
    folder = altered("missing_wall", tmp_path, {"device.toml": ('lacks = ["seccomp"]', 'lacks = ["escape"]')})
    (line,) = drawn(folder, ("C12",))
    refused = worker.ask(line)
    assert refused.outcome == Outcome.NO_REPLY
    assert "breaks 1 rule" in refused.reasons[0]
    toml = folder / "device.toml"
    accepts = '"therapy_command"]\naccepts = ["writers-to-class-c-are-policed"]\n\n[world]'
    text = toml.read_text(encoding="utf-8").replace('"therapy_command"]\n\n[world]', accepts)
    toml.write_text(text, encoding="utf-8")
    told = worker.ask(line)
    assert told.outcome == Outcome.BREACH, told
    assert flaws.named(told, design_in(folder), worker.ask) == (
        "escape is not among the walls of transfer: put up for it, it stopped C12",
    )


# --- the naming by itself ---


def breach(folder: Path, *effects: Told) -> Summary:
    """What a worker might tell of one experiment."""
    one = experiment.single(folder, Injection(FRAME, effects[0].attack_id, {}))
    return Summary(one.line, Outcome.BREACH.value, effects, ("it got through",))


def test_without_asking_the_walls_of_the_attacks_own_file_are_named() -> None:
    told = breach(FLAWED / "missing_wall", Told("K12", True, "It ran."))
    assert flaws.named(told, design_in(FLAWED / "missing_wall")) == (
        "seccomp is not among the walls of transfer; by the attack's own file it stands against it",
    )


def test_a_wall_that_is_put_up_and_stops_nothing_is_not_named() -> None:
    told = breach(FLAWED / "missing_wall", Told("K12", True, "It ran."))
    assert flaws.named(told, design_in(FLAWED / "missing_wall"), lambda _: told) == ()


def test_walls_that_only_stop_it_together_are_named_together() -> None:
    told = breach(FLAWED / "leaked_descriptor", Told("K05", True, "It read."))
    asked: list[str] = []

    def ask(line: str) -> Summary:
        asked.append(line)
        is_whole = experiment.read(line).restored == {"transfer.landlock", "transfer.mntns"}
        return breach(FLAWED / "leaked_descriptor", Told("K05", not is_whole, "."))

    (sentence,) = flaws.named(told, design_in(FLAWED / "leaked_descriptor"), ask)
    assert sentence.startswith("mntns, landlock are not among the walls of transfer: put up together")
    assert len(asked) == 3


def test_an_answer_that_cannot_be_told_is_no_proof_that_the_wall_stops_it() -> None:
    told = breach(FLAWED / "missing_wall", Told("K12", True, "It ran."))
    blind = Summary(told.line, Outcome.UNKNOWN.value, (Told("K12", None, "."),))
    (sentence,) = flaws.named(told, design_in(FLAWED / "missing_wall"), lambda _: blind)
    assert "could not be told" in sentence


def test_what_held_has_no_flaw_to_name() -> None:
    told = breach(FLAWED / "missing_wall", Told("K12", True, "It ran."))
    held = Summary(told.line, Outcome.HELD.value, (Told("K12", False, "."),))
    assert flaws.named(held, design_in(FLAWED / "missing_wall")) == ()
