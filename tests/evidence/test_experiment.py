"""An experiment is one line of text and back, and comes to the same end each time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import experiment
from evidence.experiment import Experiment, LineWrong, References
from evidence.outcome import Outcome
from faults import attack_files
from faults.attack import Injection
from sandbox import walls
from world.nursery import Nursery

PUMP = Path(__file__).resolve().parent.parent.parent / "designs" / "insulin_pump"
_VALUES = st.one_of(
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=12),
)
_INJECTIONS = st.builds(
    Injection,
    st.integers(1, 287),
    st.sampled_from(sorted(attack_files.built())),
    st.dictionaries(st.from_regex(r"\A[a-z_]{1,8}\Z"), _VALUES, max_size=3),
    partition=st.sampled_from(["transfer", "therapy"]),
)


@given(
    st.lists(_INJECTIONS, max_size=4),
    st.integers(1, 9_999),
    st.integers(0, 99),
    st.one_of(st.just(walls.ALL), st.frozensets(st.sampled_from(sorted(walls.ALL)), max_size=4)),
)
def test_a_line_reads_back_as_the_same_experiment(
    injections: list[Injection], frames: int, seed: int, without: frozenset[str]
) -> None:
    restored = frozenset(f"transfer.{wall}" for wall in sorted(without)[:2])
    one = Experiment(
        Path("designs/insulin pump"), tuple(injections), frames, seed, 3, without, "60x", restored
    )
    assert "\n" not in one.line
    assert experiment.read(one.line) == one


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("design=d frames=x", "frames=x"),
        ("frames=3", "design= is missing"),
        ("design=d frames=3 K1@x", "'K1@x'"),
        ("design=d frames=3 without=moat", "'moat'"),
        ("design=d frames=3 K01@3(setting)", "name=value"),
        ("design='d", "No closing quotation"),
    ],
)
def test_a_line_that_is_no_experiment_is_refused_with_the_word_that_is_wrong(line: str, says: str) -> None:
    with pytest.raises(LineWrong, match=says.replace("(", r"\(")):
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
