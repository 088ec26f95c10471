"""What got through is made small by asking; what cannot be told, or differs, is never taken for a yes."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evidence import experiment, fitting, shrinking
from evidence.experiment import Experiment
from evidence.shrinking import NoTest, NothingToShrink, Shrunk, Symptom
from evidence.workers import Summary, Told, Worker
from faults.attack import Injection
from monitor.loader import load_design
from sandbox import walls

PUMP = Path(__file__).resolve().parent.parent.parent / "designs" / "insulin_pump"
LARGE = Experiment(
    PUMP,
    (
        Injection(20, "C05", {"count": 18_000}),
        Injection(60, "F05", {"where": "sender", "bit": 30, "flips": 4}),
        Injection(110, "K19", {"count": 1_024, "bytes": 8_000_000}),
        Injection(150, "C06", {"shape": "all"}),
    ),
    frames=280,
    seed=77,
    patient=12,
    without=walls.ALL - {"budget"},
)
Tell = Callable[[Experiment], bool]


def _summary(one: Experiment, through: bool, outcome: str = "") -> Summary:
    effects = tuple(Told(each.attack_id, through and each.attack_id == "K19", "x") for each in one.schedule)
    return Summary(one.line, outcome or ("BREACH" if through else "HELD"), effects, ("because",))


def _count(one: Injection) -> int:
    return int(one.parameters.get("count", 1_024))


def _breaches(one: Experiment) -> bool:
    """K19 gets through from 700 descriptors on, without mntns and rlimits, from frame 9 on, and shows in its frame."""
    return {"mntns", "rlimits"} <= one.without and any(
        each.attack_id == "K19" and each.frame >= 9 and _count(each) >= 700 for each in one.injections
    )


def _asked(tell: Tell = _breaches) -> tuple[list[str], Callable[[str], Summary]]:
    lines: list[str] = []

    def ask(line: str) -> Summary:
        lines.append(line)
        one = experiment.read(line)
        return _summary(one, tell(one))

    return lines, ask


SMALLEST = Experiment(
    PUMP,
    (Injection(9, "K19", {"bytes": 2 << 20, "count": 700}),),
    12,
    without=frozenset({"mntns", "rlimits"}),
)


@pytest.mark.parametrize("at_once", [1, 3])
def test_what_breaches_is_reduced_to_one_injection_its_mildest_parameters_and_the_walls_that_matter(
    at_once: int,
) -> None:
    lines, ask = _asked()
    steps: list[shrinking.Step] = []
    found = shrinking.shrink(LARGE, ask, steps.append, at_once=at_once)
    assert found.smallest == SMALLEST
    assert (found.kept, found.lost, found.doubts) == ((Symptom("effect", "K19"),), (), ())
    assert (found.is_whole, found.is_sure, found.is_breach) == (True, True, True)
    assert len(lines) == found.questions <= shrinking.QUESTIONS_MAX
    assert steps[-1].smallest == SMALLEST
    assert shrinking.shrink(LARGE, _asked()[1], at_once=at_once) == found  # no chance in it
    again = shrinking.shrink(found.smallest, _asked()[1])
    assert again.smallest == again.original == SMALLEST


def test_each_experiment_that_is_asked_about_fits_the_design() -> None:
    lines, ask = _asked()
    shrinking.shrink(LARGE, ask)
    design = load_design(PUMP, walls.ALL)
    for line in lines:
        fitting.require_fit(experiment.read(line), design)


def test_two_injections_that_need_each_other_are_both_kept() -> None:
    def both(one: Experiment) -> bool:
        return _breaches(one) and any(each.attack_id == "C06" for each in one.injections)

    found = shrinking.shrink(LARGE, _asked(both)[1])
    assert [(each.attack_id, each.frame) for each in found.smallest.injections] == [("K19", 9), ("C06", 10)]
    assert found.smallest.injections[1].parameters == {"shape": "wrong type"}


def test_a_parameter_that_has_the_injectors_usual_value_is_not_named() -> None:
    one = Experiment(PUMP, (Injection(14, "C06", {"shape": "all"}),), 19)

    def all_shapes(one: Experiment) -> bool:
        return one.injections[0].parameters.get("shape", "all") == "all"

    def ask(line: str) -> Summary:
        read = experiment.read(line)
        return Summary(line, "BREACH" if all_shapes(read) else "HELD", (Told("C06", all_shapes(read), "x"),))

    assert shrinking.shrink(one, ask).smallest.injections[0].parameters == {}


def test_what_gets_through_in_another_way_does_not_count() -> None:
    """With the walls up therapy's output differs, too; but the effect is what got through in the original."""

    def ask(line: str) -> Summary:
        one = experiment.read(line)
        told = _summary(one, _breaches(one))
        return Summary(line, "BREACH", told.effects, difference="frame 15, therapy.status.mode: a against b")

    found = shrinking.shrink(LARGE, ask)
    assert found.smallest == SMALLEST
    assert found.kept == (Symptom("effect", "K19"), Symptom("divergence", "therapy.status"))


def test_a_divergence_is_shrunk_as_itself_and_not_to_one_on_another_port() -> None:
    def ask(line: str) -> Summary:
        one = experiment.read(line)
        port = "status" if _breaches(one) else "alarm"
        told = _summary(one, False)
        return Summary(
            line,
            "HELD",
            told.effects,
            difference=f"frame 15, therapy.{port}: only the first run sent a message",
        )

    found = shrinking.shrink(LARGE, ask)
    assert (found.smallest, found.is_breach) == (SMALLEST, False)
    with pytest.raises(NoTest, match="no breach"):
        shrinking.as_test(found)


@pytest.mark.parametrize("through_every", [2, 3, 5])
def test_a_flaky_symptom_is_called_flaky_with_its_count(through_every: int) -> None:
    turns = itertools.count()

    def ask(line: str) -> Summary:
        one = experiment.read(line)
        return _summary(one, _breaches(one) and next(turns) % through_every == 0)

    found = shrinking.shrink(LARGE, ask)
    assert not found.is_sure
    assert found.confirmed < found.repeats == 3
    assert any("flaky" in doubt for doubt in found.doubts)
    assert found.questions <= shrinking.QUESTIONS_MAX


def test_where_the_smallest_is_flaky_a_larger_one_that_is_sure_goes_before_it() -> None:
    """Below 900 descriptors it gets through the first time it is asked, and never again."""
    seen: set[str] = set()

    def ask(line: str) -> Summary:
        one = experiment.read(line)
        is_sure = all(_count(each) >= 900 for each in one.injections if each.attack_id == "K19")
        told = _summary(one, _breaches(one) and (is_sure or line not in seen))
        seen.add(line)
        return told

    found = shrinking.shrink(LARGE, ask)
    assert found.is_sure
    assert _count(found.smallest.injections[0]) >= 900
    assert len(found.smallest.injections) == 1
    assert any("flaky" in doubt for doubt in found.doubts)


def _never_told(line: str) -> Summary:
    return Summary(line, "NO-REPLY", (), ("the worker died over it",))


def test_when_nothing_can_be_told_nothing_is_shrunk() -> None:
    with pytest.raises(NothingToShrink, match="cannot be told: NO-REPLY: the worker died"):
        shrinking.shrink(LARGE, _never_told)


@pytest.mark.parametrize("outcome", ["NO-REPLY", "UNKNOWN", "lost window"])
def test_what_cannot_be_told_of_a_smaller_one_is_asked_again_and_is_no_yes(outcome: str) -> None:
    held = Experiment(
        PUMP, (Injection(14, "C06", {"shape": "all"}),), 19, without=frozenset({"schema", "recheck"})
    )
    lines: list[str] = []

    def ask(line: str) -> Summary:
        lines.append(line)
        if line == held.line:
            return Summary(line, "BREACH", (Told("C06", True, "x"),))
        if outcome == "lost window":
            return Summary(line, "HELD", (Told("C06", False, "x"),), lost_a_window=True)
        return Summary(line, outcome, (Told("C06", None, "x"),) if outcome == "UNKNOWN" else ())

    found = shrinking.shrink(held, ask)
    assert found.smallest == held
    assert found.is_sure
    assert all(lines.count(line) == shrinking.ASKED_MAX for line in set(lines) - {held.line})
    assert len(found.doubts) == len(set(lines)) - 1


def test_the_search_ends_at_its_bound_and_says_so() -> None:
    """A window that is lost each time makes three questions of one."""
    many = tuple(Injection(5 + 3 * at, "C06", {"shape": "all"}) for at in range(60))
    lines: list[str] = []

    def ask(line: str) -> Summary:
        lines.append(line)
        one = experiment.read(line)
        through = one.injections == many
        return Summary(
            line, "BREACH" if through else "HELD", (Told("C06", through, "x"),), lost_a_window=True
        )

    found = shrinking.shrink(Experiment(PUMP, many, 200), ask)
    assert len(lines) == found.questions <= shrinking.QUESTIONS_MAX
    assert not found.is_whole
    assert any("there may be a smaller one" in doubt for doubt in found.doubts)


def test_where_nothing_got_through_there_is_nothing_to_shrink() -> None:
    with pytest.raises(NothingToShrink, match=r"nothing got through \(HELD: because\)"):
        shrinking.shrink(LARGE, _asked(lambda _: False)[1])


# --- the printed test ---


def _shrunk(smallest: Experiment, sentence: str) -> Shrunk:
    told = Summary(smallest.line, "BREACH", (Told("K19", True, sentence),), (sentence,))
    kept = (Symptom("effect", "K19"),)
    return Shrunk(smallest, smallest, told, kept, (), 1, 3, 3, is_whole=True)


_ODD = (
    'It said """stop""" \\ and \'no\'; \x1b[2J and a great many words more, '
    + "so that no line could hold it, " * 8
)


@pytest.mark.parametrize("sentence", ["It put 8 MiB on the machine's shared disk.", _ODD, '"quoted"'])
@pytest.mark.parametrize(
    "smallest",
    [
        SMALLEST,
        Experiment(
            Path("my 'odd' \"design\"/ünsafe"), (Injection(3, "K01", {"setting": 'a"b\\'}, partition="x"),), 5
        ),
        Experiment(Path("d"), SMALLEST.injections * 5, 400, without=walls.ALL - {"budget"}),
    ],
)
def test_the_printed_test_is_sound_formatted_and_replays_the_very_line(
    smallest: Experiment, sentence: str
) -> None:
    text = shrinking.as_test(_shrunk(smallest, sentence))
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    assert [argument.arg for argument in function.args.args] == ["bulkhead"]
    assert function.name.startswith("test_")
    assert function.name.endswith("_is_held")
    _, statement = function.body
    assert ast.get_docstring(function)
    assert isinstance(statement, ast.Expr)
    asserted = statement.value
    assert isinstance(asserted, ast.Call)
    assert isinstance(asserted.func, ast.Attribute)
    assert (asserted.func.attr, asserted.args) == ("assert_held", [])
    replayed = asserted.func.value
    assert isinstance(replayed, ast.Call)
    assert ast.unparse(replayed.func) == "bulkhead.replay"
    (line,) = replayed.args
    assert ast.literal_eval(line) == smallest.line
    whole = shrinking.as_file(_shrunk(smallest, sentence))
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=110", "--check", "-"],
        input=whole.encode(),
        capture_output=True,
        check=False,
    )
    assert formatted.returncode == 0, (formatted.stderr, whole)
    assert max(map(len, whole.splitlines())) <= 110


def test_each_experiment_has_a_test_name_of_its_own() -> None:
    lines = [SMALLEST, LARGE, Experiment(PUMP, SMALLEST.injections, 11, without=SMALLEST.without)]
    names = [ast.parse(shrinking.as_test(_shrunk(one, "x"))).body[0].name for one in lines]  # type: ignore[attr-defined]
    assert len(set(names)) == 3
    assert names[0].startswith("test_k19_at_frame_9_")


# --- on real devices ---


def test_a_real_breach_is_shrunk_on_real_devices_and_its_line_breaches_again() -> None:
    large = Experiment(
        PUMP,
        (Injection(5, "C07", {"kind": "both"}), Injection(8, "C06", {"shape": "all"})),
        frames=16,
        seed=5,
        without=frozenset({"schema", "recheck", "escape"}),
    )
    with Worker() as worker:
        found = shrinking.shrink(large, worker.ask)
        told = worker.ask(found.smallest.line)
    assert [each.attack_id for each in found.smallest.injections] == ["C07"]
    assert found.smallest.injections[0].parameters == {"kind": "wide"}
    assert found.smallest.without == {"schema"}
    assert (found.smallest.seed, found.is_sure, found.is_whole) == (1, True, True)
    assert (told.outcome, told.chain) == ("BREACH", found.told.chain)
    assert found.smallest.frames < 16
