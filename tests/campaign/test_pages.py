"""A campaign's two pages, made of results that nobody ran: whole sentences, lines to copy, nothing told twice."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import pytest

from console import campaign_job, campaign_page
from console.output import Output
from evidence.campaign import html
from evidence.campaign.tally import TOLD_MAX, Tally, tally
from monitor.loader import load_design
from sandbox import walls
from tests.campaign.test_results import SOME, made
from tests.campaign.test_strata import ATTACKS

ROOT = Path(__file__).resolve().parents[2]
PUMP = load_design(ROOT / "designs/insulin_pump", walls.ALL)
#: Trials 0, 2, 4 ... are of C06, the others of K09.
MIXED = ["HELD", "BREACH"] * 15 + ["HELD", "UNKNOWN"] * 5


def counted(*outcomes: str) -> Tally:
    return tally(SOME, [made(number, outcome) for number, outcome in enumerate(outcomes)])


def shown(found: Tally, capsys: pytest.CaptureFixture[str], told: frozenset[int] = frozenset()) -> str:
    capsys.readouterr()
    Output(None, is_quiet=False).show(campaign_page.page(found, PUMP, (), told))
    return capsys.readouterr().out


def test_a_family_is_told_in_its_whole_sentence_with_a_bar_of_all_its_trials() -> None:
    page = html.page(counted(*MIXED), PUMP)
    for name in SOME.campaign.attacks:
        assert f"<b>{name}</b></td><td>{escape(ATTACKS[name].plain)}</td>" in page
    assert "…" not in page
    bars = re.findall(r'title="(C06|K09): (\d+) ([\w-]+)"', page)
    assert bars == [("C06", "20", "HELD"), ("K09", "15", "BREACH"), ("K09", "5", "UNKNOWN")]
    assert not re.search(r"<script|href=|src=", page)


def test_a_page_speaks_of_lines_above_only_where_there_are_some() -> None:
    assert "line above" not in html.page(counted(*["HELD"] * 40), PUMP)
    assert "line above" in html.page(counted(*MIXED), PUMP)


def test_the_line_of_an_experiment_is_neither_folded_nor_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    found = counted(*MIXED)
    lines = shown(found, capsys).splitlines()
    for one in (*found.breaches[:TOLD_MAX], *found.without_answer):
        assert any(line.endswith((f'"{one.line}"', f"'{one.line}'")) for line in lines), one


def test_a_breach_that_was_told_when_it_came_is_not_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    found = counted(*MIXED)
    told: set[int] = set()
    output = Output(None, is_quiet=False)
    with campaign_job._progress(output, 0, 40, told) as hear:
        for one in found.breaches[:3]:
            hear(one)
    meanwhile = capsys.readouterr().out
    assert told == {1, 3, 5}
    assert all(one.line in meanwhile for one in found.breaches[:3])
    afterwards = shown(found, capsys, frozenset(told))
    assert [one.number for one in found.breaches if one.line in afterwards] == [*range(7, 30, 2)]


def test_breaches_beyond_those_that_are_told_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert "and 5 more breaches" in shown(counted(*["BREACH"] * (TOLD_MAX + 5)), capsys)


def test_the_page_of_a_design_that_lacks_walls_says_so_and_ends_with_its_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flawed = load_design(ROOT / "examples/flawed/missing_wall", walls.ALL)
    capsys.readouterr()
    Output(None, is_quiet=False).show(campaign_page.page(counted(*["HELD"] * 40), flawed))
    lines = capsys.readouterr().out.splitlines()
    assert "but for what the design itself leaves out" in " ".join(lines)
    assert any(line.startswith("DEGRADED: without seccomp around transfer") for line in lines)
    assert lines[-1].startswith("HELD")
    assert lines[-1].endswith("DEGRADED: without seccomp around transfer")
    assert "DEGRADED" not in shown(counted(*["HELD"] * 40), capsys)
