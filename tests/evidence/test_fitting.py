"""A line names attacks, parameters, partitions and frames that its design has, or is refused with what it has."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from evidence import experiment, fitting
from evidence.experiment import Experiment, LineWrong
from faults import attack_files
from faults.attack import Injection
from monitor.loader import load_design
from sandbox import walls

ROOT = Path(__file__).resolve().parent.parent.parent
PUMP = load_design(ROOT / "designs" / "insulin_pump", walls.ALL)
THERMOSTAT = load_design(ROOT / "examples" / "thermostat", walls.ALL)


@pytest.mark.parametrize(
    "attack_id", sorted(name for name, one in attack_files.built().items() if one.partitions)
)
def test_each_draw_of_each_attack_fits_where_it_can_be_run_and_reads_back(attack_id: str) -> None:
    attack = attack_files.built()[attack_id]
    chance = Random(11)
    for _ in range(30):
        one = Injection(
            chance.randint(1, 60), attack_id, attack.draw(chance), partition=chance.choice(attack.partitions)
        )
        whole = Experiment(PUMP.folder, (one,), 100)
        assert experiment.read(whole.line) == whole
        fitting.require_fit(whole, PUMP)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "names no attack; there are B01, B04"),
        ("X77@3", "the line names X77; there are"),
        ("B02@3", "B02 (freeze-expired), which is in the catalogue but not built"),
        ("K01@3/pump", "insulin_pump has no such partition; it has therapy, transfer"),
        ("K01@3/world", "no such partition"),
        ("C06@3/therapy", "C06 cannot be run there; it can on transfer"),
        ("K03@3/therapy", "K03 cannot be run there; it can on transfer"),
        ("B05@3/therapy", "takes no partition over; leave out"),
        ("C06@9", "the run ends after 9 frames, before its effect could show; write frames=14"),
        ("F04@0", "strikes between two frames, the first time at 1"),
        ("C06@3(form=all)", "C06 has no parameter 'form'; it has shape"),
        ("K02@3(form=all)", "K02 has no parameter 'form'; it has none"),
        ("C05@3(count=11)", "count takes whole numbers from 12 to 20000"),
        ("C05@3(count=20001)", "count takes whole numbers"),
        ("C05@3(count=true)", "count takes whole numbers"),
        ("C05@3(count=12.0)", "count takes whole numbers"),
        ("C06@3(shape=round)", 'shape takes one of "wrong type", "missing", "another", "all"'),
        ("C01@3(kind=1)", 'kind takes one of "message", "frame"'),
        ("clock=9000x C06@3", "use at most 199x"),
        ("restored=transfer.netns C06@3", "does not lack transfer.netns; it lacks none, so name none"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(words: str, says: str) -> None:
    one = experiment.read(f"design=d frames=9 {words}")
    with pytest.raises(LineWrong, match=re.escape(says)):
        fitting.require_fit(one, PUMP)


def test_what_can_be_asked_for_but_is_not_drawn_fits() -> None:
    fitting.require_fit(experiment.read("design=d frames=10 F04@3(kind=stuck) F05@5(where=value)"), PUMP)


def test_a_design_takes_its_own_attacks_and_those_on_the_kernel_in_its_own_partitions() -> None:
    fitting.require_fit(experiment.read("design=d frames=9 K23@2/telemetry X01@5/telemetry"), THERMOSTAT)
    with pytest.raises(LineWrong, match="C06 cannot be run there; thermostat has none for it"):
        fitting.require_fit(experiment.read("design=d frames=9 C06@2/telemetry"), THERMOSTAT)
    with pytest.raises(LineWrong, match="K23 cannot be run there; it can on telemetry"):
        fitting.require_fit(experiment.read("design=d frames=9 K23@2/heater"), THERMOSTAT)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("S01@3", 'S01@3: S01 takes a script and nothing else; write S01@3(script="crash")'),
        ("S01@3(script=crash,count=1)", "S01 takes a script and nothing else"),
        ("S01@3(script=1)", "S01 takes a script and nothing else"),
        ("S01@3(script=sing)", "S01@3: 'sing' is no step"),
        ("'S01@3(script=\"send activity 00\")'", "'activity' is not a port; write one in full, of world.cgm"),
    ],
)
def test_a_script_fits_if_it_can_be_read_and_its_ports_are_there(words: str, says: str) -> None:
    fitting.require_fit(
        experiment.read("design=d frames=9 'S01@3(script=\"send transfer.activity 00\")'"), PUMP
    )
    with pytest.raises(LineWrong, match=re.escape(says)):
        fitting.require_fit(experiment.read(f"design=d frames=9 {words}"), PUMP)
