"""The verb shrink prints a line and a test, writes the test, and refuses what cannot be shrunk in one sentence."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from evidence import shrinking
from tests.console import commands
from tests.console.test_json import documented, keys_of, written

BREACH = "design=designs/insulin_pump frames=4 without=recheck,schema,escape 'C06@1(shape=wrong type)'"
SMALLEST = (
    "design=designs/insulin_pump seed=1 patient=0 frames=4 clock=virtual "
    "without=recheck,schema 'C06@1(shape=wrong type)'"
)


def test_shrink_prints_a_line_that_replays_and_writes_a_test_and_its_object(tmp_path: Path) -> None:
    test = tmp_path / "test_found.py"
    told = written(tmp_path, "shrink", "--workers", "2", "--test", str(test), BREACH)
    assert set(keys_of(told)) == documented("Every object", "shrink")
    assert (told["exit_status"], told["outcome"], told["confirmed"], told["is_sure"]) == (
        0,
        "BREACH",
        3,
        True,
    )
    assert told["line"] == SMALLEST
    whole = test.read_text()
    assert whole == f"{shrinking._FILE_DOCSTRING}\n\n{told['test']}"
    assert told["line"] in {
        node.value for node in ast.walk(ast.parse(whole)) if isinstance(node, ast.Constant)
    }
    page = commands.run("shrink", "--test", str(test), told["line"])  # its own file it may write again
    assert page.returncode == 0
    assert "it is as small as it gets" in page.stdout
    (printed,) = [line for line in page.stdout.splitlines() if line.startswith("python run_device.py replay")]
    assert shlex.split(printed) == ["python", "run_device.py", "replay", SMALLEST]


def test_what_does_not_get_through_is_refused_in_one_sentence_with_status_2() -> None:
    refused = commands.run("shrink", "design=designs/insulin_pump frames=7 C06@4")
    assert refused.returncode == 2
    (sentence,) = refused.stderr.splitlines()
    assert "nothing got through (HELD: " in sentence
    assert "there is nothing to shrink" in sentence


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("test_mine.py", "def test_mine(): ...\n", "was not written by this verb"),
        ("found.py", None, "pytest looks for files called test_"),
        ("none/test_found.py", None, "there is no folder"),
    ],
)
def test_a_file_that_is_not_its_own_is_not_written(
    tmp_path: Path, name: str, content: str | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    refused = commands.run("shrink", "--test", str(path), BREACH)
    assert refused.returncode == 2
    (sentence,) = refused.stderr.splitlines()
    assert says in sentence
    assert str(path) in sentence
    assert (path.read_text() if path.exists() else None) == content


@pytest.mark.parametrize("verb", ["replay", "shrink"])
def test_a_line_that_does_not_fit_its_design_is_refused_by_both_verbs(verb: str) -> None:
    refused = commands.run(verb, "design=designs/insulin_pump frames=9 C06@4(form=all)")
    assert refused.returncode == 2
    assert refused.stderr == "run_device: C06@4(form=all): C06 has no parameter 'form'; it has shape\n"


def test_replay_says_how_the_attacker_was_treated_and_what_the_catalogue_expects() -> None:
    held = commands.run("replay", "design=designs/insulin_pump frames=7 C07@4")
    assert held.returncode == 0
    assert "seen to be done about it: dropped; the catalogue expects DROP\n" in held.stdout
    listed = commands.run("attack")
    assert re.search(r"C07 .*\bDROP\b", listed.stdout)
