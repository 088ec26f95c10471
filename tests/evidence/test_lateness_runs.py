"""Lateness is measured on real devices: an attack, a critical partition that is stopped, an attack that never is."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from console import lateness_job
from evidence import hastened, lateness_html, lateness_runs
from evidence.lateness import Judgement
from evidence.lateness_runs import Measured, NobodyToAttack
from faults.attack import Injection
from faults.window_times import read_off
from ipc_schemas import links
from monitor import rules
from monitor.loader import load_design, load_schemas
from sandbox import walls
from tests.console.test_json import documented, keys_of
from world.bench import Bench, Plan, run_folder

ROOT = Path(__file__).resolve().parents[2]
THERMOSTAT = load_design(ROOT / "examples/thermostat", walls.ALL)
PUMP = load_design(ROOT / "designs/insulin_pump", walls.ALL)
FRAMES = 50


@pytest.fixture(scope="module")
def measured() -> Measured:
    heard: list[tuple[int, int, str]] = []
    found = lateness_runs.measure(
        THERMOSTAT, ("cpu",), ("none",), FRAMES, 1, lambda *told: heard.append(told)
    )
    assert [done for done, _, _ in heard] == [1, 2]
    return found


@pytest.mark.walls
def test_an_attack_and_its_twin_are_measured_window_by_window(measured: Measured) -> None:
    (pair,) = measured.pairs["none"]
    assert pair.struck > FRAMES // 2
    for sample in (pair.attacked, pair.alone):
        (one,) = sample.rounds
        assert len(one.lateness_ms) + len(one.unopened) == FRAMES
        assert len(set(one.lateness_ms)) > FRAMES // 4
        assert min(one.lateness_ms) >= 0.0
    assert pair.judgement is not Judgement.MET  # of fifty windows nothing is known about one in a thousand


@pytest.mark.walls
def test_the_page_has_both_curves_and_fetches_nothing(measured: Measured) -> None:
    page = lateness_html.page(measured)
    paths = re.findall(r'<path d="(M[^"]+)"', page)
    assert len(paths) == 2
    assert paths[0] != paths[1]
    assert not re.search(r"nan|<script|href=|src=", page, re.IGNORECASE)
    assert "unknown" in page


@pytest.mark.walls
def test_the_json_object_is_as_documented(measured: Measured) -> None:
    measured.granted = dict.fromkeys(
        ["cpus", "cpus_reason", "cpus_remedy", "rt", "rt_reason", "rt_remedy", "critical_cpus", "other_cpus"]
    )
    told = lateness_job.as_json(measured, 1) | {"started_at": "", "took_s": 0.0}
    assert set(keys_of(told)) == documented("Every object", "lateness")


def stopped_from(frame: int, folder: Path) -> Any:
    """A run in which the heater's process is stopped from this frame on."""
    design = hastened.write(THERMOSTAT, folder / "design")
    heater: list[int] = []

    def on_note(note: links.Note) -> None:
        if note.kind == "up" and note.partition == "heater":
            heater.append(int(str(note.facts["pid"])))

    def on_frame(done: int, _world: object) -> None:
        if done == frame:
            os.kill(heater[0], signal.SIGSTOP)

    with run_folder() as place, Bench() as bench:
        return bench.run(Plan(design, FRAMES, clock="real"), place, on_note, on_frame)


@pytest.mark.walls
def test_a_critical_partition_that_is_stopped_misses_its_deadlines(tmp_path: Path) -> None:
    found = read_off(stopped_from(19, tmp_path), "heater", 8.0)
    assert found.overran >= set(range(22, FRAMES))
    assert found.missed >= FRAMES - 22


@pytest.mark.walls
def test_an_attack_that_never_strikes_is_not_activated(monkeypatch: pytest.MonkeyPatch) -> None:
    late = [Injection(10_000, "K20", {"bytes": 0}, partition="telemetry")]
    monkeypatch.setattr(lateness_runs, "schedule", lambda *_: late)
    found = lateness_runs.measure(THERMOSTAT, ("cpu",), ("none",), 20, 1)
    (pair,) = found.judged
    assert (pair.struck, pair.problems) == (0, ())
    assert pair.judgement is Judgement.NOT_ACTIVATED


def test_the_hastened_pump_is_the_pump_with_other_times(tmp_path: Path) -> None:
    quick = load_design(hastened.write(PUMP, tmp_path / "pump"), walls.ALL)
    assert rules.check(quick, load_schemas(quick)) == ()
    assert quick.frame_ms == hastened.FRAME_MS
    assert [p.image for p in quick.partitions] == [p.image for p in PUMP.partitions]
    assert [(p.full_name, p.message, p.bytes_max) for p in quick.ports] == [
        (p.full_name, p.message, p.bytes_max) for p in PUMP.ports
    ]
    assert quick.schemas == PUMP.schemas


def test_a_design_without_an_attacker_is_refused(tmp_path: Path) -> None:
    folder = hastened.write(THERMOSTAT, tmp_path / "alone")
    text = (folder / "device.toml").read_text().replace("networked = true", "networked = false")
    (folder / "device.toml").write_text(text)
    with pytest.raises(NobodyToAttack, match="no networked partition"):
        lateness_runs.measure(load_design(folder, walls.ALL), ("cpu",), ("none",), 20, 1)
