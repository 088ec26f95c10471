"""What is asked for wrongly is refused in one sentence on standard error, with status 2."""

from __future__ import annotations

import errno
import json
import re
import resource
from pathlib import Path

import pytest

from console import failures
from console.options import DEFAULT_DESIGN, schedule_of
from monitor.loader import load_design
from sandbox import walls
from tests.console.in_process import refused, status_of

FINE = ["--days", "0.1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch"], "No such command"),
        (["--nosuch"], "--nosuch"),
        (["--seed", "x"], "--seed"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "4", "run"], "after the verb"),
        (["--json", "nowhere/x.json", "run"], "run --json VALUE"),
        (["ablate", "C06", "--resume", "README.md"], "holds no row of this verb"),
        (["ablate", "C06", "--resume", "designs/insulin_pump/x.jsonl"], "in the design's own folder"),
        (["ablate", "C06", "--html", "/proc/x.html"], "--html /proc/x.html"),
        (
            ["campaign", "C06", "--trials", "3", "--keep", "designs/insulin_pump/x"],
            "in the design's own folder",
        ),
        (["campaign", "B01", "--trials", "11"], "B01 strikes the flash of a device that is off"),
        (["--days", "nan"], "--days"),
        (["--days", "0.1"], "08:00"),
        (["--design", "nowhere"], "nowhere"),
        (["--design", "examples/thermostat"], "transfer"),
        (["--design", "tests/designs_bad/labels-stay-cleared"], "labels-stay-cleared"),
        (["run", "--days", "0"], "--days"),
        (["run", "--days", "1e9"], "--days"),
        (["run", "--without", "moat"], "no wall is called 'moat'"),
        (["run", "--attack", "K99"], "K99"),
        (["run", "--attack", "B02"], "not built"),
        (["run", "--attack", "K01@25:00"], "25:00"),
        (["run", "--attack", "K01", *FINE], "ends before"),
        (["run", "--attack", "K01@00:30", "--design", "examples/thermostat"], "transfer"),
        (["run", "--patient", "77", *FINE], "choose 0 to 9"),
        (["run", "--json", "nowhere/x.json"], "nowhere/x.json"),
        (["run", "--json", "docs"], "folder"),
        (["run", "--keep", "pyproject.toml/x"], "--keep"),
        (["attack", "K01", "K99"], "K99"),
        (
            ["journal", "verify", "nowhere.bhj"],
            "nowhere.bhj: No such file or directory; name a journal that a run left with --keep FOLDER",
        ),
        (["journal", "verify", "docs"], "docs: this is a folder, not a journal; it holds no *.bhj; name a"),
        (["journal", "verify", "README.md"], "README.md: this is not a journal"),
        (["journal", "verify", "x.bhj", "--expect", "68d40621a9c3ca9"], "16 to 64 hexadecimal digits"),
        (["journal", "verify", "x.bhj", "--expect", "not-hexadecimal-at-all"], "16 to 64 hexadecimal digits"),
        (["journal", "show", "pyproject.toml"], "not a journal"),
        (["journal", "show", "x.bhj", "--port", ""], "'--port': it is empty"),
        (["journal", "show", "x.bhj", "--partition", ""], "'--partition': it is empty"),
        (["journal", "verify", ""], "'FILE': it is empty"),
        (["run", "--without", ""], "'--without': '' names no wall"),
        (["run", "--without", " ,"], "'--without': ' ,' names no wall"),
        (["run", "--design", ""], "'--design': it is empty"),
        (["run", "--keep", ""], "'--keep': it is empty"),
        (["run", "--json", ""], "'--json': it is empty"),
        (["run", "--clock", "0x"], "use virtual, real, or a factor"),
        (["run", "--clock", "nanx"], "use virtual, real, or a factor"),
        (
            ["run", "--twin", "--design", "examples/thermostat"],
            "tells no true glucose, so harm cannot be graded; le",
        ),
        (
            ["run", "--attack", "K01", "--attack", "k01"],
            "K01 is named 2 times: give each its time, as K01@08:00",
        ),
        (["attack", "K01", "C05", "K01@09:30"], "K01 is named 2 times"),
    ],
)
def test_a_wrong_demand_is_refused_in_one_sentence(
    arguments: list[str], words: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    assert words in refused(arguments, capfd)


@pytest.mark.parametrize("clock", ["600x", "fast", "0x"])
def test_a_clock_that_does_not_fit_is_refused_before_anything_is_printed(
    clock: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["run", "--clock", clock, *FINE]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert ("x" if clock == "600x" else "use virtual, real, or a factor such as 60x") in told.err


def test_a_clock_too_fast_for_the_design_is_told_with_the_fastest_that_fits(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert re.search(r"clock 600x: .* use at most \d+x", refused(["run", "--clock", "600x", *FINE], capfd))


def test_the_same_attack_twice_is_two_trials_when_each_has_its_time() -> None:
    design = load_design(DEFAULT_DESIGN, walls.ALL)
    found = schedule_of(("K01@08:00", "k01@09:30"), design, 288)
    assert [(one.attack_id, one.frame) for one in found] == [("K01", 96), ("K01", 114)]


def test_a_json_file_in_a_folder_that_may_not_be_entered_is_told_with_its_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def forbidden(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", forbidden)  # root may enter every folder
    out = tmp_path / "x.json"
    assert f"--json {out}: cannot be written: Permission denied" in refused(
        ["attack", "--json", str(out)], capfd
    )


def test_journal_without_a_verb_shows_its_help_with_status_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert status_of(["journal"]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith("Usage: run_device.py journal [OPTIONS] COMMAND [ARGS]...\n")
    assert "Check the hash chain" in told.err


def test_the_help_says_how_long_a_run_is_and_how_long_it_may_be(capfd: pytest.CaptureFixture[str]) -> None:
    assert status_of(["run", "--help"]) == 0
    words = " ".join(capfd.readouterr().out.split())
    assert "at most 40. [default: 1, but no more than 3,000 frames]" in words


def test_a_journal_kept_before_is_not_overwritten(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.bhj").write_bytes(b"evidence")
    assert "run.bhj is there already" in refused(["run", "--keep", str(tmp_path), *FINE], capfd)
    assert (tmp_path / "run.bhj").read_bytes() == b"evidence"


@pytest.mark.parametrize(
    ("arguments", "verb"),
    [
        (["run", "--attack", "K99"], "run"),
        (["run", "--days", "nan"], "run"),
        (["journal", "verify", "nowhere.bhj"], "journal verify"),
        (["--design", "nowhere"], "story"),
    ],
)
def test_a_refused_command_says_so_in_json_and_leaves_nothing_else(
    arguments: list[str], verb: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    for option in (["--json", str(out)], [f"--json={out}"]):
        sentence = refused([*arguments, *option], capfd)
        found = json.loads(out.read_text())
        assert (found["exit_status"], found["verb"]) == (2, verb)
        assert f"run_device: {found['error']}" == sentence
        assert list(tmp_path.iterdir()) == [out]
        out.unlink()


def test_a_full_disk_is_told_with_the_name_of_the_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert "--json /dev/full: cannot be written: No space left on device" in refused(
        ["check", "--quiet", "--json", "/dev/full"], capfd
    )


def test_a_disk_that_fills_while_writing_is_told_with_the_name_of_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        sentence = refused(["attack", "--quiet", "--json", str(out)], capfd)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"--json {out}: cannot be written: File too large" in sentence
    assert list(tmp_path.iterdir()) == [out]  # a refusal is short enough to be told there, whole
    assert "File too large" in json.loads(out.read_text())["error"]


def test_a_defect_of_ours_is_one_sentence_too(capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> int:
        return int(None)  # type: ignore[call-overload,no-any-return]

    assert failures.guarded(broken) == 2
    err = capfd.readouterr().err
    assert err.startswith("run_device: a defect in Bulkhead: TypeError")
    assert "test_refusals.py:" in err
    assert err.count("\n") == 1
