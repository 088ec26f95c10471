"""``WALLS_MUST_HOLD=1`` makes a skip a failure, in a real pytest run with the project's own conftest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SKIPS = """
import pytest

def test_skips_itself():
    pytest.skip("wall pidns is unavailable: no user namespaces")

@pytest.mark.skip(reason="by mark")
def test_is_marked():
    pass

@pytest.mark.root
def test_for_root():
    pass

@pytest.mark.unprivileged
def test_for_anybody_else():
    pass
"""


def run(folder: Path, test: str, must_hold: str, *options: str) -> str:
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (folder / "test_it.py").write_text(test)
    marks = "[pytest]\nmarkers =\n    root\n    unprivileged\n"
    (folder / "pytest.ini").write_text(marks)
    environment = os.environ | {"WALLS_MUST_HOLD": must_hold}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return result.stdout + result.stderr


def counts(output: str) -> dict[str, int]:
    last = output.strip().splitlines()[-1]
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}


def test_a_skip_is_a_skip_when_walls_need_not_hold(tmp_path: Path) -> None:
    assert counts(run(tmp_path, SKIPS, "0")) == {"passed": 1, "skipped": 3}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_skip_is_a_failure_when_walls_must_hold(tmp_path: Path, workers: str) -> None:
    output = run(tmp_path, SKIPS, "1", "-n", workers)
    # The marked one never got past its set-up, which pytest counts as an error. One is for the other user.
    assert counts(output) == {"passed": 1, "failed": 1, "error": 1, "skipped": 1}
    assert "WALLS_MUST_HOLD=1, and this did not run: Skipped: wall pidns is unavailable" in output


def test_a_file_that_skips_itself_is_an_error_when_walls_must_hold(tmp_path: Path) -> None:
    whole_file = "import pytest\npytest.skip('wall seccomp is unavailable', allow_module_level=True)\n"
    assert counts(run(tmp_path, whole_file, "1")) == {"error": 1}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_failure_prints_the_seed_that_replays_it(tmp_path: Path, workers: str) -> None:
    draws = (
        "import hypothesis\nfrom hypothesis import strategies as st\n"
        "@hypothesis.given(st.integers())\n@hypothesis.settings(database=None)\n"
        "def test_draws(n):\n    print('DRAWN', n)\n    assert n < 1000\n"
    )
    first = run(tmp_path, draws, "0", "-n", workers)
    seed = re.findall(r"--hypothesis-seed=(\d+)", first)[-1]
    again = run(tmp_path, draws, "0", f"--hypothesis-seed={seed}")
    assert re.findall(r"DRAWN (-?\d+)", first) == re.findall(r"DRAWN (-?\d+)", again) != []
