"""Windows on each clock: offsets shrink with it, budgets do not, and what no longer fits is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.design import Design, Window, WorldSide
from monitor.schedule import GATE_GRACE_S, Clock, ClockRefused, frame_length_s, parse_clock, plan


def design(*windows: tuple[str, int, int], frame_ms: int = 1_000) -> Design:
    """A design of which only the windows matter."""
    world = WorldSide("w.py:W", Path(), 1)
    return Design("d", Path(), frame_ms, "s.py", world, (), (), (), tuple(Window(*w) for w in windows), "")


@pytest.mark.parametrize(
    ("text", "factor"), [("virtual", 0), ("real", 1), ("1x", 1), ("60x", 60), ("9999999x", 9_999_999)]
)
def test_a_clock_is_read(text: str, factor: int) -> None:
    assert parse_clock(text) == Clock(factor)
    assert parse_clock(text).is_virtual == (factor == 0)


@pytest.mark.parametrize(
    "text", ["", "0x", "60", "60X", "x", "-1x", "1.5x", "60x ", "60x\n", "10000000x", "٣x", "Real"]
)
def test_another_clock_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ClockRefused, match="use virtual, real, or a factor such as 60x"):
        parse_clock(text)


def test_windows_open_in_the_order_of_their_offsets() -> None:
    slots = plan(design(("b", 600, 100), ("a", 0, 200)), Clock(1))
    assert [(s.partition, s.offset_s, s.budget_s) for s in slots] == [("a", 0.0, 0.2), ("b", 0.6, 0.1)]


def test_on_the_virtual_clock_all_open_at_once_whatever_their_budgets() -> None:
    assert {s.offset_s for s in plan(design(("a", 900, 900), ("b", 0, 5)), Clock(0))} == {0.0}
    assert frame_length_s(design(("a", 0, 1)), Clock(0)) == 0.0


def test_the_refusal_names_the_fastest_clock_that_fits() -> None:
    device = design(("a", 0, 20), ("b", 5_000, 50), frame_ms=10_500)
    with pytest.raises(
        ClockRefused, match=r"clock 11x: .* the window of b needs 1005 ms of it, 500 .*; use at most 10x"
    ):
        plan(device, Clock(11))
    assert plan(device, Clock(10))


def test_on_a_fast_clock_a_gate_that_hangs_does_not_make_the_next_frame_late() -> None:
    device = design(("a", 0, 200), frame_ms=6_999)
    with pytest.raises(ClockRefused, match="use at most 9x"):
        plan(device, Clock(10))
    assert plan(device, Clock(9))


def test_a_frame_too_short_for_any_fast_clock_runs_on_the_real_one() -> None:
    device = design(("a", 0, 8), ("b", 8, 8), frame_ms=20)
    with pytest.raises(ClockRefused, match=r"; use real\Z"):
        plan(device, Clock(2))
    assert plan(device, Clock(1))


windows = st.lists(st.tuples(st.integers(0, 59_999), st.integers(1, 400)), min_size=1, max_size=6)


@given(windows, st.integers(2, 500))
def test_a_plan_fits_its_frame_or_is_refused_with_a_clock_that_does(
    rows: list[tuple[int, int]], factor: int
) -> None:
    device = design(*((f"p{n}", *row) for n, row in enumerate(rows)), frame_ms=60_000)
    try:
        slots = plan(device, Clock(factor))
    except ClockRefused as refused:
        fitting = str(refused).rpartition(" ")[2]
        if fitting == "real":
            return
        factor = int(fitting.removesuffix("x"))
        slots = plan(device, Clock(factor))
    ends_s = [slot.offset_s + slot.budget_s + GATE_GRACE_S for slot in slots]
    assert max(ends_s) <= frame_length_s(device, Clock(factor)) + 1e-9  # sums of floats round
    assert [slot.offset_s for slot in slots] == sorted(slot.offset_s for slot in slots)
