"""The search for cut sets finds all of them, asks little, and owns up to answers that it cannot trust."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence import ablation
from evidence.ablation import Row
from evidence.outcome import Outcome
from evidence.workers import Summary, Told
from sandbox import walls

#: Walls that need no other to stand, so that leaving one out leaves out one.
FREE = tuple(name for name, wall in walls.WALLS.items() if not wall.needs and name != "mntns")
_SETS = st.lists(st.frozensets(st.sampled_from(FREE), min_size=1, max_size=4), min_size=1, max_size=4)


def minimal(sets: Iterable[frozenset[str]]) -> set[frozenset[str]]:
    """Those that contain no other."""
    every = set(sets)
    return {one for one in every if not any(other < one for other in every)}


def told(succeeded: bool | None, outcome: Outcome = Outcome.HELD, line: str = "") -> Summary:
    return Summary(line, outcome.value, (Told("X01", succeeded, "."),), ("because",))


class Device:
    """Lets the attack through when one of the given sets is left out. Counts questions."""

    def __init__(self, sets: Iterable[frozenset[str]]) -> None:
        self.sets = minimal(sets)
        self.asked: list[frozenset[str]] = []

    def __call__(self, without: frozenset[str]) -> Summary:
        self.asked.append(without)
        is_through = any(one <= without for one in self.sets)
        line = ",".join(sorted(without))
        return told(is_through, Outcome.BREACH if is_through else Outcome.HELD, line)


def search(device: Device, hint: tuple[str, ...] = ()) -> Row:
    return ablation.search("X01", device, walls.ALL, hint, is_root=True)


@given(_SETS, st.lists(st.sampled_from(FREE), max_size=4))
@settings(max_examples=150)
def test_all_minimal_cut_sets_are_found_whatever_the_file_hints_at(
    sets: list[frozenset[str]], hint: list[str]
) -> None:
    device = Device(sets)
    row = search(device, tuple(hint))
    assert {cut.walls for cut in row.cuts} == device.sets
    assert row.is_complete
    assert row.questions == len(device.asked) <= ablation.QUESTIONS_MAX
    for cut in row.cuts:
        assert walls.standing(cut.walls, is_root=True) == walls.standing(
            frozenset(cut.line.split(",")), is_root=True
        )


def test_a_hint_that_is_right_saves_questions() -> None:
    sets = [frozenset({"uid", "landlock", "seccomp"})]
    plain, helped = Device(sets), Device(sets)
    search(plain)
    search(helped, ("seccomp", "uid", "landlock"))
    assert len(helped.asked) < len(plain.asked)


def test_an_attack_that_gets_through_all_walls_has_no_cut_set_to_look_for() -> None:
    device = Device([frozenset()])
    row = search(device)
    assert (row.outcome, row.cuts, row.questions) == (Outcome.BREACH, (), 1)


def test_an_attack_that_never_works_is_vacuous() -> None:
    row = ablation.search("X01", lambda _: told(False), walls.ALL, is_root=True)
    assert (row.outcome, row.cuts, row.is_complete) == (Outcome.VACUOUS, (), False)


def test_an_answer_that_cannot_be_told_is_asked_again_and_then_doubted() -> None:
    device = Device([frozenset({"uid"})])

    def blind(without: frozenset[str]) -> Summary:
        answer = device(without)
        return told(None, Outcome.UNKNOWN) if without not in (frozenset(), walls.ALL) else answer

    row = ablation.search("X01", blind, walls.ALL, is_root=True)
    assert not row.is_complete
    assert row.doubts
    assert len(device.asked) == row.questions


def test_answers_that_contradict_each_other_are_named() -> None:
    def fickle(without: frozenset[str]) -> Summary:
        """Through without ``uid`` alone, but not when others are missing as well."""
        is_through = without in (walls.ALL, {"uid"})
        return told(is_through, Outcome.BREACH if is_through else Outcome.HELD)

    row = ablation.search("X01", fickle, walls.ALL, ("uid",), is_root=True)
    assert not row.is_complete
    assert any("was stopped with less" in doubt for doubt in row.doubts)


@given(st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_printed_cut_set_is_minimal_even_among_answers_by_chance(seed: int) -> None:
    def by_chance(without: frozenset[str]) -> Summary:
        """Through without more than ten walls, and without fewer in half of the cases."""
        names = ",".join(sorted(walls.standing(without, is_root=True)))
        is_even = crc32(f"{seed} {names}".encode()) % 2 == 0
        is_through = without == walls.ALL or (len(without) > 0 and (len(without) > 10 or is_even))
        return told(is_through, Outcome.BREACH if is_through else Outcome.HELD)

    row = ablation.search("X01", by_chance, walls.ALL, is_root=True)
    for cut in row.cuts:
        assert by_chance(cut.walls).got_through
        for wall in cut.walls:
            assert not by_chance(cut.walls - {wall}).got_through


def test_a_search_that_has_asked_all_that_it_may_says_that_there_may_be_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ablation, "QUESTIONS_MAX", 12)
    row = search(Device([frozenset({"uid", "caps"}), frozenset({"nnp", "fds"})]))
    assert not row.is_complete
    assert row.questions <= 12


def test_outputs_that_differ_once_behind_all_walls_are_asked_about_again_and_stay_a_doubt() -> None:
    device = Device([frozenset({"uid"})])
    asked: list[frozenset[str]] = []

    def busy(times: int) -> ablation.Ask:
        def ask(without: frozenset[str]) -> Summary:
            asked.append(without)
            is_first = not without and asked.count(without) <= times
            return told(False, Outcome.BREACH) if is_first else device(without)

        asked.clear()
        return ask

    row = ablation.search("X01", busy(1), walls.ALL, is_root=True)
    assert (row.outcome, [cut.walls for cut in row.cuts]) == (Outcome.HELD, [frozenset({"uid"})])
    assert not row.is_complete
    assert row.doubts[0].startswith("behind all walls, once: because")
    assert row.questions == len(asked)
    row = ablation.search("X01", busy(9), walls.ALL, is_root=True)
    assert (row.outcome, len(asked)) == (Outcome.BREACH, 3)


def test_what_got_through_all_walls_is_not_asked_about_again() -> None:
    device = Device([frozenset()])
    row = search(device)
    assert (row.outcome, len(device.asked)) == (Outcome.BREACH, 1)


def test_a_window_lost_on_a_busy_host_is_not_taken_for_a_wall() -> None:
    device = Device([frozenset({"uid"})])
    busy = iter([True, False] * 50)

    def unlucky(without: frozenset[str]) -> Summary:
        """Every other run in which it would get through, it loses its window."""
        answer = device(without)
        if answer.got_through and next(busy):
            return msgspec.structs.replace(told(False), lost_a_window=True)
        return answer

    row = ablation.search("X01", unlucky, walls.ALL, is_root=True)
    assert [cut.walls for cut in row.cuts] == [{"uid"}]
    assert row.is_complete


def test_windows_that_are_always_lost_are_a_doubt_and_no_proof_of_a_wall() -> None:
    def starved(without: frozenset[str]) -> Summary:
        return told(True, Outcome.BREACH) if without == walls.ALL else _lost()

    row = ablation.search("X01", starved, walls.ALL, is_root=True)
    assert not row.is_complete
    assert any("it lost its window each time" in doubt for doubt in row.doubts)
    by_nature = ablation.search("X01", starved, walls.ALL, is_root=True, loses_its_window=True)
    assert not by_nature.doubts


def _lost() -> Summary:
    return msgspec.structs.replace(told(False), lost_a_window=True)


def test_a_breach_without_the_attacks_own_effect_got_through_all_the_same() -> None:
    assert told(False, Outcome.BREACH).got_through is True
    leaky = ablation.search(
        "X01",
        lambda without: told(without == walls.ALL, Outcome.BREACH if "seccomp" in without else Outcome.HELD),
        walls.ALL,
        is_root=True,
    )
    assert [cut.walls for cut in leaky.cuts] == [{"seccomp"}]


YAMA = "kernel.yama.ptrace_scope is 1"


def test_an_attack_that_this_host_forbids_anyway_is_masked_and_the_setting_is_named() -> None:
    row = ablation.search("K01", lambda _: told(False), walls.ALL, is_root=False, masked_by=YAMA)
    assert (row.outcome, row.cuts, row.is_complete) == (Outcome.MASKED_BY_HOST, (), False)
    assert YAMA in row.reason


def test_a_setting_of_the_host_hides_neither_a_breach_nor_what_cannot_be_told() -> None:
    through = search_masked(lambda without: told(without == walls.ALL))
    assert through.outcome is Outcome.HELD
    blind = search_masked(
        lambda without: told(None if without else False, Outcome.UNKNOWN if without else Outcome.HELD)
    )
    assert blind.outcome is Outcome.UNKNOWN
    breached = search_masked(lambda _: told(True, Outcome.BREACH))
    assert breached.outcome is Outcome.BREACH


def test_an_attack_that_its_interlock_holds_back_on_this_host_is_masked() -> None:
    idle = search_masked(lambda _: told(False, Outcome.NOT_ACTIVATED))
    assert idle.outcome is Outcome.MASKED_BY_HOST
    with_walls_only = search_masked(
        lambda w: told(w == walls.ALL, Outcome.HELD if w else Outcome.NOT_ACTIVATED)
    )
    assert with_walls_only.outcome is Outcome.NOT_ACTIVATED


def search_masked(ask: ablation.Ask) -> Row:
    return ablation.search("K15", ask, walls.ALL, is_root=True, masked_by="kernel.core_pattern is '|x'")


def test_a_race_that_is_lost_once_is_run_again() -> None:
    device = Device([frozenset({"uid"})])
    lost = iter([True, True, False] * 50)

    def unlucky(without: frozenset[str]) -> Summary:
        """Of three runs in which it would get through, it is fast enough in one."""
        answer = device(without)
        return told(False) if answer.got_through and next(lost) else answer

    row = ablation.search("C16", unlucky, walls.ALL, is_root=True, is_a_race=True)
    assert [cut.walls for cut in row.cuts] == [{"uid"}]
