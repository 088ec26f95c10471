"""What is said of who stopped an attack: observed, reported and merely possible are never mixed up."""

from __future__ import annotations

from pathlib import Path

from evidence.stopping import Observed, Stopping, stopping, undelivered
from faults.attack import Injection
from faults.experiment import Run
from ipc_schemas import links
from monitor import journal
from monitor.loader import load_design
from sandbox import walls
from world.bench import Plan, Record

PLAN = Plan(Path("designs/insulin_pump"), 2)
DESIGN = load_design(PLAN.design, walls.ALL)
HEADER = journal.Header(1, "d", "0" * 64, 2, (), {}, ())


def a_run(frame: journal.Frame, *notes: links.Note, standing: frozenset[str] = walls.ALL) -> Run:
    """A run of one frame, with the monitor's note of which walls stood."""
    told = links.Note(0, "walls", "", "", {"standing": sorted(standing), "off": [], "unavailable": []})
    record = Record(PLAN, Path(), None, [told, *notes], 2)
    return Run(DESIGN, record, journal.Reading((HEADER, frame), "00", 0))


def said(attack_id: str, text: str) -> links.Note:
    return links.Note(1, "log", "transfer", f"ATTACK {attack_id} end frame=1 {text}", {})


def ruled(event: str, *refusals: journal.Refusal) -> journal.Frame:
    rulings = (journal.Ruling("transfer", event, "restart", "because"),) if event else ()
    return journal.Frame(1, (), refusals, rulings, ())


def test_a_wall_that_was_seen_to_act_and_stands_against_the_attack_stopped_it() -> None:
    found = stopping(a_run(ruled("forbidden_syscall")), Injection(1, "K09"))
    assert found.text == "stopped by seccomp"
    assert found.observed == (Observed("forbidden_syscall"),)


def test_the_kernels_no_is_the_attackers_word_and_names_what_stands_against_it() -> None:
    run = a_run(ruled(""), said("K23", '{"tcp": "[Errno 1] Operation not permitted"}'))
    found = stopping(run, Injection(1, "K23"))
    assert found.walls == ()
    assert found.text == (
        "kernel, as the attacker reports: operation not permitted; stand against it: netns, seccomp"
    )
    assert "stopped by" not in found.text


def test_a_wall_that_did_not_stand_is_not_named() -> None:
    run = a_run(ruled(""), said("K16", "[Errno 1] Operation not permitted"), standing=walls.ALL - {"pidscg"})
    assert stopping(run, Injection(1, "K16")).candidates == ("seccomp",)


def test_an_oversized_message_was_not_stopped_by_the_window_that_ran_out() -> None:
    """The size wall ends the connection below the gate's eyes: all that is seen is that the window ends."""
    found = stopping(a_run(ruled("window_overrun")), Injection(1, "C01"))
    assert found.walls == ("window",)
    assert found.text == "seen to act: window; stand against it: size, schema (not seen to act)"


def test_a_refusal_is_observed_with_its_reason() -> None:
    refusal = journal.Refusal("transfer", 3, "bad_message", "range", "too much", 3)
    found = stopping(a_run(ruled("bad_message", refusal)), Injection(1, "C08"))
    assert found.observed == (Observed("bad_message", "range"), Observed("bad_message"))
    assert found.text == "stopped by range"


def test_what_went_nowhere_without_walls_is_told_beside_what_got_through() -> None:
    number = DESIGN.port("world.pump_command").number
    refusal = journal.Refusal(
        "transfer", 0, "bad_message", "route", f"port {number} is no output port of this partition", 2
    )
    assert undelivered(a_run(ruled("bad_message", refusal)), Injection(1, "C18")) == (
        "2 messages could not be delivered, wall or no wall "
        "(the first: world.pump_command is an input, on which nobody sends)"
    )
    assert undelivered(a_run(ruled("")), Injection(1, "C18")) == ""


def test_where_nobody_acted_and_nobody_spoke_nothing_is_claimed() -> None:
    assert stopping(a_run(ruled("")), Injection(1, "F02")).text == (
        "nobody was seen to act; stands against it: window"
    )
    assert Stopping().text == "nobody was seen to act"
