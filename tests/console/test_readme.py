"""The commands that the README and the help texts show exist, with the options they show."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from console.app import cli
from console.shrink_page import one_word
from evidence import experiment
from evidence.campaign import statistics, tally
from monitor.loader import load_design
from sandbox import walls
from tests.console import commands


def shown() -> list[str]:
    """Every command line in the README's blocks and in the epilogs of the verbs."""
    readme = (commands.ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^python run_device\.py(.*)$", readme, re.MULTILINE)
    groups = [command for command in cli.commands.values() if isinstance(command, click.Group)]
    below = [command for group in groups for command in group.commands.values()]
    for command in (cli, *cli.commands.values(), *below):
        lines += re.findall(r"^ +run_device\.py(.*)$", command.epilog or "", re.MULTILINE)
    return [re.split(r"\s{2,}|&&", line)[0] for line in lines]


@pytest.mark.parametrize("line", shown())
def test_a_command_that_is_shown_can_be_given(line: str) -> None:
    arguments = shlex.split(line)
    assert cli.main([*arguments, "--help"], prog_name="run_device.py", standalone_mode=False) == 0


def test_the_readme_shows_every_verb() -> None:
    words = {word for line in shown() for word in line.split()}
    assert set(cli.commands) <= words


def test_nothing_that_is_shown_can_go_stale_with_a_journals_chain() -> None:
    """A chain value differs from version to version, for one seed as well: what a run printed is named, not copied."""
    readme = (commands.ROOT / "README.md").read_text(encoding="utf-8")
    for text in (readme, *shown()):
        assert re.findall(r"\b[0-9a-f]{16,}\b", text) == []
    assert any("--expect CHAIN" in line for line in shown())


def test_what_the_readme_shows_of_campaigns_is_in_the_programs_words_and_numbers() -> None:
    readme = (commands.ROOT / "README.md").read_text(encoding="utf-8")
    shown_bounds = re.findall(r"^\w+: ((\d+) breach(?:es)? in (\d+): .+)$", readme, re.MULTILINE)
    assert len(shown_bounds) == 2
    for text, count, of in shown_bounds:
        assert text == tally.told(statistics.at_most(int(count), int(of)))
    for line in re.findall(r"^ +replay, or shrink, (.+)$", readme, re.MULTILINE):
        (told,) = shlex.split(line)
        assert one_word(experiment.read(told).line) == line
    (wall, partition) = re.findall(
        r"^flaw: (\w+) is not among the walls of (\w+): put up", readme, re.MULTILINE
    )[0]
    design = load_design(commands.ROOT / "examples/flawed/missing_wall", walls.ALL)
    assert {p.name: p.lacks for p in design.partitions}[partition] == {wall}


def test_an_option_that_does_not_exist_is_seen() -> None:
    with pytest.raises(Exception, match="--nosuch"):
        cli.main(["run", "--nosuch", "--help"], prog_name="run_device.py", standalone_mode=False)
