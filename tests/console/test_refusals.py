"""What is asked for wrongly is refused in one sentence on standard error, with status 2."""

from __future__ import annotations

import json
import resource
import signal
from pathlib import Path

import pytest

from console import failures
from console.app import main

FINE = ["--days", "0.1"]


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The sentence. Signal handlers that ``main`` installs are put back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        status = main(arguments)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    captured = capfd.readouterr()
    assert status == 2
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("run_device: ")
    assert "Traceback" not in captured.err + captured.out
    assert "a defect in Bulkhead" not in lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch"], "No such command"),
        (["--nosuch"], "--nosuch"),
        (["--seed", "x"], "--seed"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "4", "run"], "after the verb"),
        (["--days", "nan"], "--days"),
        (["--days", "0.1"], "08:00"),
        (["--design", "nowhere"], "nowhere"),
        (["--design", "examples/thermostat"], "transfer"),
        (["--design", "tests/designs_bad/labels-stay-cleared"], "labels-stay-cleared"),
        (["run", "--days", "0"], "--days"),
        (["run", "--days", "1e9"], "--days"),
        (["run", "--without", "moat"], "no wall is called 'moat'"),
        (["run", "--attack", "K99"], "K99"),
        (["run", "--attack", "B01"], "not built"),
        (["run", "--attack", "K01@25:00"], "25:00"),
        (["run", "--attack", "K01", *FINE], "ends before"),
        (["run", "--attack", "K01@00:30", "--design", "examples/thermostat"], "transfer"),
        (["run", "--patient", "77", *FINE], "choose 0 to 9"),
        (["run", "--json", "nowhere/x.json"], "nowhere/x.json"),
        (["run", "--json", "docs"], "folder"),
        (["run", "--keep", "pyproject.toml/x"], "--keep"),
        (["attack", "K01", "K99"], "K99"),
        (["journal", "verify", "nowhere.bhj"], "nowhere.bhj"),
        (["journal", "verify", "docs"], "docs"),
        (["journal", "verify", "x.bhj", "--expect", "68d40621a9c3ca9"], "16 to 64 hexadecimal digits"),
        (["journal", "verify", "x.bhj", "--expect", "not-hexadecimal-at-all"], "16 to 64 hexadecimal digits"),
        (["journal", "show", "pyproject.toml"], "not a journal"),
    ],
)
def test_a_wrong_demand_is_refused_in_one_sentence(
    arguments: list[str], words: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    assert words in refused(arguments, capfd)


@pytest.mark.walls
@pytest.mark.parametrize(("clock", "words"), [("600x", "at most 199x"), ("fast", "use virtual")])
def test_a_clock_that_does_not_fit_is_refused(
    clock: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(["run", "--clock", clock, *FINE], capfd)


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
