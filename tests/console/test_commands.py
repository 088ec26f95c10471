"""The command line as a process: exit status, what a pipe gets, and what is left when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.console import commands
from world import leftovers

SHORT = ("--days", "0.1")


@pytest.mark.walls
def test_a_run_ends_with_status_0_and_a_pipe_gets_no_colour(tmp_path: Path) -> None:
    done = commands.run("run", *SHORT, "--keep", str(tmp_path), environment={"TERM": "xterm-256color"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "DONE  29 frames" in done.stdout
    assert "DEGRADED" not in done.stdout
    assert (tmp_path / "run.bhj").exists()
    verified = commands.run("journal", "verify", str(tmp_path / "run.bhj"))
    assert verified.returncode == 0
    assert "complete: 29 frames" in verified.stdout


@pytest.mark.walls
def test_a_changed_journal_is_broken(tmp_path: Path) -> None:
    commands.run("run", *SHORT, "--keep", str(tmp_path), "--quiet")
    journal = tmp_path / "run.bhj"
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 1
    journal.write_bytes(bytes(content))
    done = commands.run("journal", "verify", str(journal))
    assert done.returncode == 1
    assert done.stdout.startswith("BROKEN")


@pytest.mark.walls
def test_a_journal_is_compared_with_the_chain_value_that_the_run_printed(tmp_path: Path) -> None:
    ran = commands.run("run", *SHORT, "--keep", str(tmp_path))
    chain = ran.stdout.split("journal: chain ")[1].split()[0]
    journal = str(tmp_path / "run.bhj")
    assert f"journal verify {journal} --expect {chain[:16]}" in " ".join(ran.stdout.split())
    for prefix in (chain, chain[:16].upper()):
        done = commands.run("journal", "verify", journal, "--expect", prefix)
        assert (done.returncode, "the one expected" in done.stdout) == (0, True)
    other = ("0" if chain[0] != "0" else "1") + chain[1:]
    done = commands.run("journal", "verify", journal, "--expect", other, "--quiet")
    assert done.returncode == 1
    assert done.stdout == f"NOT THE EXPECTED JOURNAL  its chain ends in {chain}, expected was {other}\n"
    bare = commands.run("journal", "verify", journal)
    assert (bare.returncode, "not anchored" in bare.stdout) == (0, True)


@pytest.mark.walls
def test_of_a_damaged_journal_is_shown_what_holds_and_then_where_it_breaks(tmp_path: Path) -> None:
    commands.run("run", *SHORT, "--keep", str(tmp_path), "--quiet")
    journal = tmp_path / "run.bhj"
    whole = commands.run("journal", "show", str(journal)).stdout.splitlines()
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 1
    journal.write_bytes(bytes(content))
    done = commands.run("journal", "show", str(journal), "--json", str(tmp_path / "out"))
    *shown, last = done.stdout.splitlines()
    assert done.returncode == 1
    assert last.startswith("BROKEN")
    assert "does not fit the chain" in last
    assert 0 < len(shown) < len(whole)
    assert shown == whole[: len(shown)]
    found = json.loads((tmp_path / "out").read_text())
    assert (found["problem"], len(found["entries"])) == (last, len(shown))


@pytest.mark.walls
def test_a_range_of_frames_that_holds_nothing_says_so(tmp_path: Path) -> None:
    commands.run("run", *SHORT, "--keep", str(tmp_path), "--quiet")
    done = commands.run("journal", "show", str(tmp_path / "run.bhj"), "--frames", "900-950")
    assert done.returncode == 0
    assert done.stdout == (
        "frames 900-950 hold nothing that these options ask for; the journal has frames 0 to 28\n"
    )


@pytest.mark.walls
def test_a_journal_without_its_end_is_no_whole_journal(tmp_path: Path) -> None:
    commands.run("run", *SHORT, "--keep", str(tmp_path), "--quiet")
    journal = tmp_path / "run.bhj"
    journal.write_bytes(journal.read_bytes()[:-200])
    done = commands.run("journal", "verify", str(journal))
    assert done.returncode == 1
    assert done.stdout.startswith("INCOMPLETE")


@pytest.mark.walls
def test_json_on_standard_output_is_all_there_is() -> None:
    done = commands.run("run", *SHORT, "--json", "-")
    assert json.loads(done.stdout)["run"]["frames_done"] == 29
    assert "DONE  29 frames" in done.stderr


@pytest.mark.walls
def test_quiet_is_one_line() -> None:
    done = commands.run("attack", "C06@00:30", *SHORT, "--quiet")
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("HELD  1 of 1 attacks held; therapy's output is the same in ")
    assert done.returncode == 0


@pytest.mark.walls
def test_a_run_with_walls_left_out_is_labelled_everywhere(tmp_path: Path) -> None:
    done = commands.run(
        "run", "--attack", "C05@00:30", "--without", "all", *SHORT, "--json", str(tmp_path / "a")
    )
    assert "DEGRADED: without every wall" in done.stdout
    assert json.loads((tmp_path / "a").read_text())["degraded"] == "DEGRADED: without every wall"
    seccomp = commands.run("run", "--without", "seccomp", *SHORT, "--quiet")
    assert "DEGRADED: without seccomp" in seccomp.stdout


@pytest.mark.walls
def test_a_design_that_is_no_pump_runs_too() -> None:
    done = commands.run("run", "--design", "examples/thermostat", "--days", "0.00001")
    assert (done.returncode, done.stderr) == (0, "")
    assert "glucose" not in done.stdout


@pytest.mark.walls
def test_a_run_whose_critical_partition_is_off_at_its_end_is_not_done(tmp_path: Path) -> None:
    design = commands.broken_incubator(tmp_path, "heater")
    done = commands.run("run", "--design", design, "--days", "0.00001")
    assert done.returncode == 1
    assert "NOT DONE  heater (class C) off since 00:00:00" in done.stdout
    warned, _, told = done.stdout.partition("== nobody attacks")
    assert "heater will not run: " in warned
    assert told.count("heater stays off from now on") == 1
    assert "killed and started afresh" not in told
    quiet = commands.run("run", "--design", design, "--days", "0.00001", "--quiet")
    assert quiet.stdout == "NOT DONE  heater (class C) off since 00:00:00\n"


@pytest.mark.walls
def test_a_partition_that_is_off_and_not_critical_is_named_and_the_run_is_done(tmp_path: Path) -> None:
    design = commands.broken_incubator(tmp_path, "telemetry")
    done = commands.run("run", "--design", design, "--days", "0.00001", "--quiet")
    assert done.returncode == 0
    assert done.stdout.startswith("DONE  43 frames in ")
    assert done.stdout.endswith("; telemetry (class A) off since 00:00:00\n")


@pytest.mark.parametrize(
    ("design", "status"), [("designs/insulin_pump", 0), ("tests/designs_bad/labels-stay-cleared", 1)]
)
def test_check_tells_by_its_status(design: str, status: int) -> None:
    done = commands.run("check", "--design", design)
    assert done.returncode == status
    assert ("FAIL" in done.stdout) == (status == 1)
    assert ("path: heart.report -> radio.report -> radio.upload -> world.upload" in done.stdout) == (
        status == 1
    )


def test_the_passport_calls_a_wall_left_out_off_and_the_device_degraded() -> None:
    done = commands.run("passport", "--without", "seccomp")
    assert done.returncode == 1
    row = next(line for line in done.stdout.splitlines() if line.startswith("seccomp"))
    assert row.split()[1] == "off"
    assert "DEGRADED: without" in done.stdout


@pytest.mark.walls
@pytest.mark.parametrize(
    ("number", "seconds", "arguments"),
    [
        (signal.SIGINT, 2.5, ("run", "--days", "20")),
        (signal.SIGTERM, 2.5, ("run", "--days", "20", "--clock", "199x")),
        (signal.SIGHUP, 3.0, ("run", "--days", "20", "--without", "all", "--attack", "K16@00:10")),
        (signal.SIGINT, 3.0, ("run", "--days", "20", "--without", "all", "--attack", "K25@00:10")),
    ],
)
def test_a_stop_leaves_nothing_running(
    number: signal.Signals, seconds: float, arguments: tuple[str, ...]
) -> None:
    process = commands.start(*arguments)
    _, err, left = commands.stop_after(process, seconds, number)
    assert process.returncode == 130
    assert err.strip() == "run_device: stopped as asked; all that the wall lifeline ties has ended"
    assert left == set()


@pytest.mark.walls
def test_what_a_killed_console_left_is_swept_by_the_next_run() -> None:
    process = commands.start("run", "--days", "20")
    until = time.monotonic() + 20
    while len(left := folders_of(process.pid)) < 2 and time.monotonic() < until:  # the device's and the run's
        time.sleep(0.02)
    seen = commands.descendants(process.pid)
    process.kill()
    process.communicate(timeout=30)
    assert [folder.exists() for folder in left] == [True, True]
    while any(commands.started(pid) == born for pid, born in seen) and time.monotonic() < until:
        time.sleep(0.02)
    assert commands.run("run", "--days", "0.01", "--quiet").returncode == 0
    assert [folder.exists() for folder in left] == [False, False]


def folders_of(pid: int) -> list[Path]:
    """The folders of runs that bear this process's mark."""
    marks = leftovers.base().glob(f"{leftovers.PREFIX}*/{leftovers.MARK}")
    return [mark.parent for mark in marks if f" {pid} " in mark.read_text()]


@pytest.mark.walls
def test_a_run_in_a_pipe_is_never_silent_for_long() -> None:
    done = commands.run("run", "--clock", "real", "--days", "0.00001", "--design", "examples/thermostat")
    assert done.returncode == 0
    slow = commands.start("run", "--clock", "60x", "--days", "0.02")
    assert slow.stdout is not None
    assert any("the device is up" in line for line in slow.stdout)
    time.sleep(5.5)
    slow.send_signal(signal.SIGINT)
    out, _ = slow.communicate(timeout=30)
    assert 1 <= out.count("still running: 00:0") <= 3


@pytest.mark.walls
def test_a_run_that_still_waits_is_not_done_to_100_percent_and_time_does_not_go_back() -> None:
    done = commands.run("run", "--clock", "60x", "--days", "0.004")
    waiting = [
        line
        for line in done.stdout.splitlines()
        if "still running" in line and "waiting for the device to switch on" not in line
    ]
    assert waiting
    for line in waiting:
        assert "still running: 00:00, frame 1 of 1, 0% of all; waiting for the 60x clock for " in line
    assert "00:00 * the run ends" in done.stdout
    assert "DONE  1 frame in" in done.stdout


@pytest.mark.walls
def test_attacks_that_do_not_fit_are_counted() -> None:
    process = commands.start("--days", "0.5")
    assert process.stdout is not None
    line = next(one for one in process.stdout if "left out" in one)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert line == "18 of the 23 attacks do not fit into this run and are left out\n"


@pytest.mark.walls
def test_a_stop_on_a_terminal_is_quick_and_leaves_the_screen_as_it_was() -> None:
    process, end = commands.start_on_terminal()
    shown = commands.read_terminal(end, 4.0)
    seen = commands.descendants(process.pid)
    assert seen
    asked_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    shown += commands.read_terminal(end, 20.0)
    assert process.wait(10) == 130
    # The monitor is waited for up to five seconds and then killed: it must have gone by itself.
    assert time.monotonic() - asked_s < 4.0
    os.close(end)
    assert [pid for pid, born in seen if commands.started(pid) == born] == []
    assert "paced for viewing" in shown
    assert "\x1b[?1049h" in shown
    assert shown.rindex("\x1b[?1049l") > shown.rindex("\x1b[?1049h")
    assert shown.rstrip().endswith("stopped as asked; all that the wall lifeline ties has ended")


@pytest.mark.slow
@pytest.mark.walls
def test_the_main_job_holds(tmp_path: Path) -> None:
    out = tmp_path / "story.json"
    done = commands.run("--json", str(out), "--keep", str(tmp_path / "journals"))
    assert done.stderr == ""
    story = json.loads(out.read_text())
    assert story["problems"] == []
    assert "Not in it: " in " ".join(done.stdout.split())
    assert done.returncode == story["exit_status"] == 0
    assert story["held"] is True
    assert len(story["trials"]) >= 12
    assert story["runs"]["open"]["harm"]["grade"] in ("S3", "S4")
    assert done.stdout.rstrip().splitlines()[-1].startswith("HELD")
    assert "\x1b" not in done.stdout
    assert sorted(p.stem for p in (tmp_path / "journals").iterdir()) == [
        "attacked",
        "calm",
        "open",
        "replayed",
    ]
    assert sum(story["outcomes"].values()) == story["outcomes"]["HELD"] == len(story["trials"])
    assert all(one["stopped_by"]["stand_against_it"] for one in story["trials"])
    chain = story["runs"]["attacked"]["journal"]["chain"]
    verified = commands.run("journal", "verify", str(tmp_path / "journals" / "attacked.bhj"))
    assert chain in verified.stdout
