"""An experiment is one line of text and back, and comes to the same end each time."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import experiment, noninterference, sightings
from evidence.experiment import Experiment, LineWrong, References
from evidence.outcome import Outcome
from faults import attack_files
from faults.attack import Attack, Injection, Value
from faults.experiment import Run
from ipc_schemas import codec
from monitor import journal
from monitor.loader import load_design
from sandbox import walls
from world.bench import Plan, Record
from world.nursery import Nursery

PUMP = Path(__file__).resolve().parent.parent.parent / "designs" / "insulin_pump"


def _drawn(attack: Attack) -> list[Value]:
    return list(attack.draw(Random(5)).values())


_VALUES = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=12),
    st.sampled_from(
        ["true", "null", "NaN", "Infinity", "1e5", "007", "a,b=c", ")", '"', "\\", " x ", "", "x(1)"]
    ),
    st.sampled_from([value for attack in attack_files.built().values() for value in _drawn(attack)]),
)
_INJECTIONS = st.builds(
    Injection,
    st.integers(1, 287),
    st.sampled_from(sorted(attack_files.built())),
    st.dictionaries(st.from_regex(r"\A[a-z_][a-z_0-9]{0,7}\Z"), _VALUES, max_size=3),
    partition=st.sampled_from(["transfer", "therapy", "a_2"]),
)


@given(
    st.lists(_INJECTIONS, max_size=4),
    st.integers(1, experiment.FRAMES_MAX),
    st.integers(0, experiment.SEED_MAX),
    st.sampled_from(["designs/insulin pump", "d", 'it\'s/my "device"', "../x=y", "ünsafe", "K01@3x"]),
    st.sampled_from(["virtual", "real", "60x"]),
    st.one_of(st.just(walls.ALL), st.frozensets(st.sampled_from(sorted(walls.ALL)), max_size=4)),
)
def test_a_line_reads_back_as_the_same_experiment(
    injections: list[Injection], frames: int, seed: int, design: str, clock: str, without: frozenset[str]
) -> None:
    restored = frozenset(f"transfer.{wall}" for wall in sorted(without)[:2])
    one = Experiment(Path(design), tuple(injections), frames, seed, 3, without, clock, restored)
    assert "\n" not in one.line
    assert experiment.read(one.line) == one


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("design=d frames=x", "frames=x"),
        ("frames=3", "design= is missing"),
        ("design=d frames=3 K1@x", "'K1@x'"),
        ("design=d frames=3 without=moat", "'moat'"),
        ("", "the line is empty"),
        ("  ", "the line is empty"),
        ("frames=3 K01@2", "design= is missing"),
        ("design= frames=3 K01@2", "design= is missing"),
        ("'design=a\nb' frames=3 K01@2", "not the name of a folder"),
        ("design=d frames=3 design=e K01@2", "design= stands there twice"),
        ("design=d K01@2", "from 1 to 105408"),
        ("design=d frames=0 K01@2", "frames=0"),
        ("design=d frames=-4 K01@2", "frames=-4"),
        ("design=d frames=1000000000000 K01@2", "frames=1000000000000"),
        ("design=d frames=" + "9" * 5_000 + " K01@2", "99..."),
        ("design=d frames=² K01@2", "frames=²"),
        ("design=d frames=3 seed=4294967296 K01@2", "seed=4294967296"),
        ("design=d frames=3 patient=1000001 K01@2", "patient=1000001"),
        ("design=d frames=3 clock=soon K01@2", "clock 'soon'"),
        ("design=d frames=3 without= K01@2", "names no wall"),
        ("design=d frames=3 K01@2()", "the brackets are empty"),
        ("design=d frames=3 K01@2(a=1,b)", "name=value"),
        ("design=d frames=3 K01@2(a=1,)", "name=value"),
        ("design=d frames=3 K01@2(a=1,a=2)", "a= stands there twice"),
        ("design=d frames=3 K01@2(a=[1])", "a=[1] is no value"),
        ("design=d frames=3 K01@2(a=null)", "a=null is no value"),
        ("design=d frames=3 K01@2(a=NaN)", "a=NaN is no value"),
        ("design=d frames=3 K01@2(a=1e999)", "a=1e999 is no value"),
        ("design=d frames=3 K01@2(a=9223372036854775808)", "is no value"),
        ("design=d frames=3 K01@2(a=-)", "neither a number nor a word"),
        ("design=d frames=3 K01@1234567890123", "neither an attack"),
        ("design=d frames=3 K01@-1", "neither an attack"),
        ("design=d frames=3 " + "K01@2 " * 300, "300 injections are more"),
        ("design=d frames=3 K01@3(setting)", "name=value"),
        ("design='d", "No closing quotation"),
    ],
)
def test_a_line_that_is_no_experiment_is_refused_with_the_word_that_is_wrong(line: str, says: str) -> None:
    with pytest.raises(LineWrong, match=re.escape(says)):
        experiment.read(line)


def test_an_experiment_holds_breaches_without_its_wall_and_is_the_same_again() -> None:
    """C07 on real processes: held, let through where nothing compares encodings, and one journal for one line."""
    injection = Injection(12, "C07", {"kind": "twice"})
    with Nursery() as nursery:
        references = References(nursery)
        held = experiment.perform(experiment.single(PUMP, injection), references)
        again = experiment.perform(experiment.read(held.experiment.line), references)
        open_ = experiment.perform(
            experiment.single(PUMP, injection, frozenset({"canonical", "recheck"})), references
        )
    assert (held.outcome, held.comparison and held.comparison.holds) == (Outcome.HELD, True)
    assert again.chain == held.chain != ""
    assert references.runs_done == 2  # the calm twin and the replay, once each
    assert (open_.outcome, open_.got_through) == (Outcome.BREACH, True)
    assert "two readings" in open_.reasons[0]


def test_a_fault_of_the_world_strikes_the_run_of_comparison_as_well() -> None:
    """F04 on real processes: therapy doses differently with a failed sensor, and in the same way in both runs."""
    failed = Injection(12, "F04", {"kind": "nan", "readings": 6})
    other = Injection(12, "F04", {"kind": "nan", "readings": 7})
    with Nursery() as nursery:
        references = References(nursery)
        held = experiment.perform(experiment.single(PUMP, failed), references)
        assert references.runs_done == 3  # calm; calm with the fault; the replay with the fault
        experiment.perform(experiment.single(PUMP, failed), references)
        assert references.runs_done == 3
        experiment.perform(experiment.single(PUMP, other), references)
        assert references.runs_done == 5  # another fault of the world is another world
        open_ = experiment.perform(experiment.single(PUMP, failed, walls.ALL), references)
    assert held.outcome is Outcome.HELD, held.reasons
    assert held.comparison is not None
    assert held.comparison.holds
    assert (open_.outcome, open_.got_through) == (Outcome.BREACH, True)
    without_fault = references.calm(held.experiment.plan)
    assert held.comparison.messages > 0
    critical = noninterference.compare(
        references.calm(held.experiment.plan, (failed,)).emissions, without_fault.emissions
    )
    assert (
        critical.difference is not None
    )  # the fault shows in what therapy does: the comparison was no empty one


def test_a_device_that_stops_in_order_over_a_fault_of_its_world_has_answered() -> None:
    """Without ``schema`` the gate lets the sensor's nonsense pass, and the monitor's recheck ends the run."""
    failed = Injection(12, "F04", {"kind": "nan"})
    with Nursery() as nursery:
        found = experiment.perform(
            experiment.single(PUMP, failed, frozenset({"schema"})), References(nursery)
        )
    assert found.outcome is not Outcome.NO_REPLY, found.reasons
    assert found.got_through is False


def test_a_monitor_that_is_killed_is_judged_by_what_outlives_it_and_by_its_whole_frames() -> None:
    with Nursery() as nursery:
        references = References(nursery)
        held = experiment.perform(experiment.single(PUMP, Injection(12, "F07", {"after_ms": 2})), references)
        open_ = experiment.perform(
            experiment.single(PUMP, Injection(12, "F07"), frozenset({"lifeline"})), references
        )
    assert held.outcome is Outcome.HELD, held.reasons
    assert held.comparison is not None
    assert held.comparison.messages > 20
    assert open_.outcome is Outcome.BREACH
    assert "lived on" in open_.reasons[0]


def test_emissions_of_a_run_that_was_cut_short_are_compared_up_to_its_last_whole_frame_only() -> None:
    """A difference before the end is still one, and a run that was not ended is compared to its end."""
    emissions = tuple(noninterference.Emission(frame, "therapy.alarm", bytes([frame])) for frame in range(6))
    ended, whole = (_ended_run(emissions[:4], by_strike=flag) for flag in (True, False))
    assert sightings.compared(ended, emissions).holds
    assert sightings.compared(whole, emissions).difference is not None
    changed = (*emissions[:2], emissions[2]._replace(payload=b"\x63"), *emissions[3:])
    assert sightings.compared(ended, changed).difference is not None


def _ended_run(emissions: tuple[noninterference.Emission, ...], *, by_strike: bool) -> Run:
    frames = tuple(
        journal.Frame(
            one.frame, (journal.Admitted("therapy", 1, 1, codec.join_batch([one.payload])),), (), (), ()
        )
        for one in emissions
    )
    header = journal.Header(1, "d", "0" * 64, 6, (), {}, ((1, "therapy.alarm"),))
    design = load_design(PUMP, walls.ALL)
    record = Record(Plan(PUMP, 6), Path(), None, [], 4, -9)
    struck = {("F07", 4): {"killed": 1}} if by_strike else {}
    reading = journal.Reading((header, *frames), "00", 0)
    return Run(design, record, reading, schedule=(Injection(4, "F07"),), struck=struck)


def test_a_killed_monitor_that_leaves_no_journal_that_holds_is_no_evidence() -> None:
    run = _ended_run((), by_strike=True)
    assert sightings.unfinished(run) == []
    run.reading, run.journal_problem = None, "record 3 does not fit the chain"
    assert sightings.unfinished(run) == ["left no journal that holds: record 3 does not fit the chain"]
    unstruck = _ended_run((), by_strike=False)
    assert len(sightings.unfinished(unstruck)) == 2


def test_an_experiment_without_an_injection_has_not_held() -> None:
    """Nothing was tried, so nothing was stopped."""
    with Nursery() as nursery:
        idle = experiment.perform(Experiment(PUMP, (), 2), References(nursery))
    assert (idle.outcome, idle.reasons) == (Outcome.NOT_ACTIVATED, ("the experiment has no injection",))
