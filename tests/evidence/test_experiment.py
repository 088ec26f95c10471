"""An experiment is one line of text and back, and comes to the same end each time."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import experiment
from evidence.experiment import Experiment, LineWrong, References
from evidence.outcome import Outcome
from faults import attack_files
from faults.attack import Attack, Injection, Value
from sandbox import walls
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
    one = Experiment(Path(design), tuple(injections), frames, seed, 3, without, clock)
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


def test_an_experiment_without_an_injection_has_not_held() -> None:
    """Nothing was tried, so nothing was stopped."""
    with Nursery() as nursery:
        idle = experiment.perform(Experiment(PUMP, (), 2), References(nursery))
    assert (idle.outcome, idle.reasons) == (Outcome.NOT_ACTIVATED, ("the experiment has no injection",))
