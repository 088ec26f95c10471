"""The plugin as a design's author uses it: fixtures, assertions that can fail, a partition that does anything."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evidence import command, experiment, fitting
from evidence.experiment import Experiment, LineWrong
from evidence.outcome import Outcome
from evidence.testing.harness import Harness, Result, UsageWrong, Warm
from evidence.testing.machine import CompromisedPartition
from faults import catalogue
from faults.attack import Injection
from faults.attacks import s01_script
from faults.attacks.s01_script import ScriptWrong, Step
from ipc_schemas import codec

_ROOT = Path(__file__).resolve().parent.parent.parent
THERMOSTAT, PUMP = _ROOT / "examples" / "thermostat", _ROOT / "designs" / "insulin_pump"
FRAME = 6
_FAILING = """
import pytest
def test_it_is_held_without_walls(bulkhead):
    bulkhead.inject("X01", frame=6, celsius=50, without="all").assert_held()
@pytest.mark.bulkhead_attacks
def test_each_attack_has_a_target(bulkhead, attack_id):
    assert attack_id in bulkhead.attacks
"""
_WHICH = "def test_which(bulkhead):\n    assert bulkhead.loaded.name == 'thermostat'\n"


@pytest.fixture(scope="module")
def device() -> Iterator[Harness]:
    with Warm() as warm:
        yield Harness(warm, THERMOSTAT)


@pytest.fixture(scope="module")
def held(device: Harness) -> Result:
    return device.inject("X01", FRAME, celsius=45)


@pytest.fixture(scope="module")
def breached(device: Harness) -> Result:
    return device.inject("X01", FRAME, celsius=45, without=("schema", "range", "canonical", "recheck"))


def run_pytest(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "evidence.testing.plugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=_ROOT, capture_output=True, text=True, check=False
    )


def line_in(text: str) -> str:
    """The experiment's line in the message of a failed assertion."""
    (told,) = set(re.findall(r"bulkhead\.replay\((.*)\)\.assert_\w+\(", text))
    return str(ast.literal_eval(told))


def fails(result: Result, assertion: str, *arguments: str) -> str:
    """The message with which an assertion fails. As a test it has the line, and the very assertion that failed."""
    with pytest.raises(AssertionError) as failed:
        getattr(result, assertion)(*arguments)
    call = f"{assertion}({', '.join(map(repr, arguments))})"
    assert str(failed.value).endswith(f"  as a test: bulkhead.replay({result.line!r}).{call}")
    return str(failed.value)


# --- as pytest runs it ---


@pytest.mark.walls
def test_the_example_tests_a_copy_of_its_design_and_a_failure_can_be_replayed(
    tmp_path: Path, device: Harness
) -> None:
    copy = tmp_path / "my_device"
    shutil.copytree(THERMOSTAT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tests" / "test_failing.py").write_text(_FAILING)
    done = run_pytest(copy / "tests")
    attacks = device.design(copy).attacks
    assert "X01" in attacks
    assert f"1 failed, {7 + len(attacks)} passed" in done.stdout, done.stdout
    assert done.returncode == 1
    assert "BREACH, not HELD: " in done.stdout
    line = line_in(done.stdout)
    assert str(copy) in line
    assert "without=all" in line
    assert device.replay(line).assert_breach().line == line


@pytest.mark.parametrize("how", ["option", "setting"])
def test_a_design_can_be_named_for_tests_that_lie_elsewhere(tmp_path: Path, how: str) -> None:
    (tmp_path / "test_which.py").write_text(_WHICH)
    setting = f"bulkhead_design = {THERMOSTAT}" if how == "setting" else ""
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{setting}\n")
    options = ["--bulkhead-design", str(THERMOSTAT)] if how == "option" else []
    done = run_pytest(tmp_path, *options)
    assert "1 passed" in done.stdout, done.stdout


def test_without_a_design_a_test_is_told_how_to_name_one() -> None:
    with Warm() as warm, pytest.raises(UsageWrong, match=r"put the tests beside a device\.toml"):
        Harness(warm).run()


def test_the_verbs_need_neither_pytest_nor_hypothesis() -> None:
    program = (
        "import console.app, evidence.testing.harness, sys; print({'pytest', 'hypothesis'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("how", ["installed", "named, too"])
def test_the_plugin_is_registered_once_whether_it_is_installed_named_or_both(
    tmp_path: Path, how: str
) -> None:
    """Beside a left-over ``*.egg-info`` both are the case, and pytest refused what it took for two plugins."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    entries = "".join(
        f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in listed.items())
        for group, listed in project["entry-points"].items()
    )
    left_over = tmp_path / "path" / "bulkhead.egg-info"
    left_over.mkdir(parents=True)
    (left_over / "entry_points.txt").write_text(entries)
    (left_over / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: bulkhead\nVersion: 0.1.0\n")
    (tmp_path / "test_which.py").write_text(_WHICH)
    named = ["-p", "evidence.testing.plugin"] if how == "named, too" else []
    command = [sys.executable, "-m", "pytest", *named, "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(tmp_path), "--bulkhead-design", str(THERMOSTAT), "-c", "/dev/null"],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "path")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_what_runs_it_again_is_the_file_in_a_checkout_and_the_command_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_ROOT)
    assert command.command() == "python run_device.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "bin"))
    assert command.command() == f"{sys.executable} {_ROOT / 'run_device.py'}"
    script = tmp_path / "bin" / "bulkhead"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert command.command() == str(script)
    monkeypatch.setenv("PATH", str(script.parent))
    assert command.command() == "bulkhead"


def test_an_installation_has_the_command_that_is_printed() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"][command.INSTALLED].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


# --- what may be asserted ---


@pytest.mark.walls
def test_what_held_passes_every_assertion_but_those_it_gives_no_ground_for(held: Result) -> None:
    held.assert_held().assert_noninterference().assert_contained().assert_no_missed_deadline()
    assert "nothing got through, so this attack shows nothing" in fails(held, "assert_breach")
    assert "harm was not observed" in fails(held, "assert_harm_at_most", "S4")


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.HELD])
def test_no_other_outcome_passes_for_held(held: Result, outcome: Outcome) -> None:
    other = Result(replace(held.finding, outcome=outcome, reasons=("so it is said",)))
    assert fails(other, "assert_held").startswith(f"{outcome.value}, not HELD: so it is said")


@pytest.mark.walls
def test_what_got_through_fails_every_assertion_of_isolation(breached: Result) -> None:
    breached.assert_breach()
    assert "BREACH, not HELD" in fails(breached, "assert_held")
    assert "not contained: X01 in frame 6" in fails(breached, "assert_contained")
    # With walls left out there is no replay to compare with, so nothing is claimed.
    assert "noninterference was not observed" in fails(breached, "assert_noninterference")


@pytest.mark.walls
def test_what_never_ran_was_not_observed(device: Harness) -> None:
    late = Experiment(THERMOSTAT, (Injection(40, "X01", partition="telemetry"),), 8)
    result = device.perform(late)
    assert result.outcome is Outcome.NOT_ACTIVATED
    for assertion in ("assert_noninterference", "assert_contained", "assert_no_missed_deadline"):
        assert "the attack never ran" in fails(result, assertion)


@pytest.mark.walls
def test_a_heater_that_loses_its_window_each_time_is_found_out(device: Harness) -> None:
    """Taken over itself, it keeps its window: its deadline is missed, and its output is not that of the replay."""
    result = device.send("heater", ["silent"], FRAME)
    assert result.asked > 1  # a busy host might have done it
    assert "heater lost" in fails(result, "assert_no_missed_deadline")
    assert "heater lost its window" in fails(result, "assert_noninterference")


@pytest.mark.walls
def test_harm_is_asserted_of_a_patient_and_a_line_replays_to_the_very_same_journal(device: Harness) -> None:
    first = device.design(PUMP).inject("C06").assert_held().assert_harm_at_most("S0")
    with pytest.raises(UsageWrong, match="'S9' is no grade of harm; there are S0, S1, S2, S3, S4"):
        first.assert_harm_at_most("S9")
    again = device.replay(first.line).assert_held()
    assert again.finding.chain == first.finding.chain != ""


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda device: device.inject("C99"), "'C99' is not an attack; there are"),
        (lambda device: device.inject("C06"), "C06 finds no target in thermostat"),
        (lambda device: device.inject("X01", partition="lamp"), "'lamp' is not a partition; there are heater"),
        (lambda device: device.inject("X01", kelvin=300), "'kelvin' is not a parameter of X01; there are celsius"),
        (lambda device: device.inject("X01", without="moat"), "no wall is called 'moat'"),
        (lambda device: device.port("telemetry.status"), "'telemetry.status' is not an output port"),
        (lambda device: device.replay(f"design={THERMOSTAT} frames=9"), "names no attack"),
        (lambda device: device.send("lamp", ["crash"]), "'lamp' is not a partition"),
        (lambda device: device.send("telemetry", ["send telemetry.sepoint 00"]), "'telemetry.sepoint' is not a port"),
        (lambda device: device.send("telemetry", ["send setpoint 00"]),
            r"'setpoint' is not a port; write one in full, of .*telemetry\.setpoint"),
        (lambda device: device.inject("X01", celsius=61),
            r"X01@14\(celsius=61\): celsius takes whole numbers from 38 to 60"),
        (lambda device: device.replay(f"design={THERMOSTAT} frames=19 'X01@6/telemetry(celsius=61)'"),
            r"X01@6\(celsius=61\): celsius takes whole numbers from 38 to 60"),
        (lambda device: device.inject("K23", partition="heater"), "K23 cannot be run there; it can on telemetry"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused_in_a_sentence(device: Harness, ask: object, says: str) -> None:
    assert callable(ask)
    with pytest.raises(UsageWrong, match=says):
        ask(device)


def test_a_line_that_is_none_is_refused(device: Harness) -> None:
    with pytest.raises(LineWrong, match="design= is missing"):
        device.replay("frames=9 X01@6")


# --- scripts, and the machine that writes them ---


def test_a_script_reads_back_as_the_same_steps() -> None:
    steps = (
        Step("send", "telemetry.setpoint", b"\x81\x00"),
        Step("send", "heater.power", b""),
        Step("send", "telemetry.upload", b"\xc1", 200),
        Step("silent"),
        Step("crash"),
    )
    assert s01_script.parse(s01_script.told(steps)) == steps
    assert s01_script.parse("") == ()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sing", "'sing' is no step"),
        ("send telemetry.setpoint", "is no step"),
        ("send telemetry.setpoint 8", "'8' are no bytes in hex"),
        ("flood telemetry.setpoint 00 9999", "2 to 2000 messages"),
        ("; ".join(["crash"] * 65), "65 steps, at most 64"),
        (f"send telemetry.setpoint {'00' * 65_537}", "a message of 65537 bytes, at most 65536"),
    ],
)
def test_what_is_no_script_is_refused_with_the_step_that_is_wrong(script: str, says: str) -> None:
    with pytest.raises(ScriptWrong, match=says):
        s01_script.parse(script)


def test_a_script_is_no_row_of_the_catalogue_and_nothing_draws_it(device: Harness) -> None:
    assert "S01" not in catalogue.rows()
    assert "S01" not in device.attacks
    assert "S01" not in device.design(PUMP).attacks


_POWER = codec.encode({"power_percent": 100.0, "valid_for_frames": 50}).hex()
_SETPOINT = codec.encode({"setpoint_c": 36.0}).hex()


@pytest.mark.walls
@pytest.mark.parametrize(
    ("script", "without", "says"),
    [
        (f"send heater.power {_POWER}", ("route", "recheck"), "which is not its own"),
        (f"flood telemetry.setpoint {_SETPOINT} 9", ("rate", "recheck"), "9 messages went through"),
        ("send telemetry.setpoint c0", ("schema", "recheck"), r"does not carry \(schema\)"),
    ],
)
def test_each_step_is_held_and_gets_through_where_its_wall_is_left_out(
    device: Harness, script: str, without: tuple[str, ...], says: str
) -> None:
    device.send("telemetry", [script], FRAME).assert_held().assert_noninterference()
    opened = device.send("telemetry", [script], FRAME, without).assert_breach()
    assert re.search(says, opened.finding.reasons[0])


@pytest.mark.walls
def test_a_partition_that_crashes_and_one_that_falls_silent_take_nobody_along(device: Harness) -> None:
    result = device.send("telemetry", ["crash", "silent", f"send telemetry.setpoint {_SETPOINT}"], FRAME)
    result.assert_contained().assert_noninterference().assert_no_missed_deadline()
    ends = [life.what for entry in result.finding.run.reading.entries[1:-1] for life in entry.lives]  # type: ignore[union-attr]
    assert "up" in ends


@pytest.mark.walls
@pytest.mark.parametrize("attack_id", ["K02", "K07", "K09", "K11", "K18"])
def test_an_attack_that_costs_the_example_its_telemetry_for_good_is_judged_all_the_same(
    device: Harness, attack_id: str
) -> None:
    """It was quarantined before the watcher had looked once, and with no canary there was no secret to look for."""
    device.inject(attack_id).assert_held()


class WithoutReaders(CompromisedPartition):
    """Sends what no port carries, and does nothing else; where nobody reads what is sent, it must be found out."""

    without = ("schema", "range", "canonical", "recheck")
    shrinking_runs_max = 5
    send_valid = flood = crash = fall_silent = send_to_a_port_of_others = None  # type: ignore[assignment]


@pytest.mark.walls
def test_the_machine_finds_what_gets_through_without_readers_and_tells_it_short(device: Harness) -> None:
    with pytest.raises(AssertionError, match="not contained: S01 in frame") as found:
        WithoutReaders.search(device, scripts=12, steps=2)
    line = line_in(str(found.value))
    assert 1 <= line.count("send ") <= 2
    assert "not contained" in fails(device.replay(line), "assert_contained")
    (again,) = re.findall(r"again: +python run_device\.py replay (.*)", str(found.value))
    (word,) = shlex.split(again)  # the verb takes this line, script and all
    fitting.require_fit(experiment.read(word), device.loaded)
    assert any(re.match(r"frame \d+: send", note) for note in found.value.__notes__)
