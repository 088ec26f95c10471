"""The page of lateness, made of samples that nobody measured: what its pictures show, and what it says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evidence import hastened, lateness_html
from evidence.lateness import Pair, Sample
from evidence.lateness_runs import Measured
from faults.window_times import WindowTimes
from monitor.design import Design
from monitor.loader import load_design
from sandbox import walls

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Design:
    pump = load_design(ROOT / "designs/insulin_pump", walls.ALL)
    return load_design(hastened.write(pump, tmp_path_factory.mktemp("late") / "design"), walls.ALL)


def sample(scale: float, windows: int, missed: int = 0) -> Sample:
    late = tuple(scale * (1.0 + number / windows) for number in range(windows))
    return Sample((WindowTimes(windows, late, frozenset(), frozenset(range(missed)), frozenset()),))


def page_of(design: Design, *pairs: Pair) -> str:
    frames = pairs[0].of_frames
    return lateness_html.page(Measured(design, "therapy", "transfer", frames, 1, {"none": list(pairs)}))


def test_each_curve_is_drawn_inside_its_picture_and_marked_at_each_percentile(quick: Design) -> None:
    page = page_of(quick, Pair("cpu", sample(0.002, 2_000), sample(30.0, 2_000), 2_000, 2_000))
    width, height = map(int, re.findall(r'viewBox="0 0 (\d+) (\d+)" role', page)[0])
    paths = re.findall(r'<path d="([^"]+)"', page)
    assert len(paths) == 2
    for path in paths:
        assert all(0 <= float(x) <= width for x in re.findall(r"[MH]([\d.]+)", path))
        assert all(0 <= float(y) <= height for y in re.findall(r"V([\d.]+)", path))
    marks = re.findall(r"<title>(\w+), (p[\d.]+): [\d.]+ ms</title>", page)
    assert marks == [(who, at) for who in ("unattacked", "attacked") for at in ("p50", "p99", "p99.9")]


def test_axes_have_units_and_the_budget_is_in_the_picture(quick: Design) -> None:
    page = page_of(quick, Pair("cpu", sample(0.3, 2_000), sample(0.2, 2_000), 2_000, 2_000))
    assert ">lateness, ms</text>" in page
    assert ">windows at least so late</text>" in page
    ((x, text),) = re.findall(r'<text x="([\d.]+)" y="\d+" [^>]+>(budget [^<]+)', page)
    assert text == f"budget {hastened.CRITICAL_BUDGET_MS} ms"
    assert float(x) < float(re.findall(r'viewBox="0 0 (\d+) \d+" role', page)[0])


def test_a_caption_tells_percentiles_ratio_and_missed_deadlines(quick: Design) -> None:
    page = page_of(quick, Pair("fork", sample(0.6, 2_000, missed=1), sample(0.2, 2_000), 2_000, 2_000))
    assert "p99.9 1.2 ms, unattacked 0.4 ms: 3.00 times; 1 deadline missed under attack" in page


def test_where_too_few_windows_were_measured_the_caption_says_so_and_nothing_is_made_up(
    quick: Design,
) -> None:
    page = page_of(quick, Pair("disk", sample(0.6, 40), Sample(()), 40, 40, ("one run told nothing",)))
    assert "too few windows for a p99.9; no deadlines missed under attack" in page
    assert "one run told nothing" in page
    assert "1 pair of runs of 40 frames" in page
    assert not re.search(r"nan|inf\b|None|<script|href=|src=", page)
