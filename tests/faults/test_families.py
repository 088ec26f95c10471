"""Each attack is a family: what is drawn of it varies, reaches its injector, and can be made milder to an end."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults import attack_files, catalogue, image, usual
from faults.attack import Between, Injection, OneOf, Range, Value

#: The script of the pytest plugin names no partition, and is no attack of the catalogue.
ATTACKS = {name: one for name, one in attack_files.built().items() if one.partitions}
VARIED = {attack_id: attack for attack_id, attack in ATTACKS.items() if attack.parameters}
#: What the implant itself reads: in how many windows in a row an entry strikes.
_OF_THE_IMPLANT = {"for_frames"}
RANGES = [(attack_id, name) for attack_id, attack in VARIED.items() for name in attack.parameters]


def _range(attack_id: str, name: str) -> Range:
    return ATTACKS[attack_id].parameters[name]


def test_all_72_attacks_are_looked_at_and_most_have_parameters() -> None:
    assert len(ATTACKS) == sum(row.built for row in catalogue.rows().values()) == 72
    flash = {name for name, attack in ATTACKS.items() if attack.tamper is not None}
    assert set(ATTACKS) - set(VARIED) - flash == {
        "C18", "K02", "K08", "K09", "K10", "K24", "K25", "K26", "R07",
    }  # fmt: skip


@pytest.mark.parametrize("attack_id", sorted(ATTACKS))
def test_each_parameter_is_one_that_the_injector_reads(attack_id: str) -> None:
    attack = ATTACKS[attack_id]
    assert set(attack.parameters) - _OF_THE_IMPLANT <= usual.reads(attack)


def test_a_parameter_that_nobody_reads_would_be_seen() -> None:
    """The check sees what an injector reads, and not what only its detector does."""
    assert usual.reads(ATTACKS["C05"]) == {"count"}
    assert "sent" not in usual.reads(ATTACKS["C05"])
    assert "messages_per_frame_max" not in usual.reads(ATTACKS["C05"])


@pytest.mark.parametrize("attack_id", sorted(VARIED))
def test_the_usual_value_of_a_parameter_is_in_its_range(attack_id: str) -> None:
    known = usual.of(ATTACKS[attack_id])
    for name, each in VARIED[attack_id].parameters.items():
        if name in known:
            assert each.has(known[name]), (name, known[name])


def test_usual_values_are_read_as_the_files_write_them() -> None:
    assert usual.of(ATTACKS["C05"])["count"] == 200
    assert usual.of(ATTACKS["C06"])["shape"] == "all"
    assert usual.of(ATTACKS["K07"])["bytes"] == 1 << 16
    assert usual.of(ATTACKS["C03"])["bytes"] == _high("C03", "bytes")
    assert usual.of(ATTACKS["K12"])["way"] == _first("K12", "way")
    assert "value" not in usual.of(ATTACKS["C08"])


def _high(attack_id: str, name: str) -> int:
    each = _range(attack_id, name)
    assert isinstance(each, Between)
    return each.high


def _first(attack_id: str, name: str) -> Value:
    each = _range(attack_id, name)
    assert isinstance(each, OneOf)
    return each.values[0]


@pytest.mark.parametrize("attack_id", sorted(a for a, attack in ATTACKS.items() if attack.inject is not None))
def test_each_draw_and_frame_stands_in_the_plan_of_the_image(attack_id: str) -> None:
    chance = Random(3)
    drawn = [Injection(chance.randint(1, 280), attack_id, ATTACKS[attack_id].draw(chance)) for _ in range(20)]
    plan = json.loads(image.schedule_bytes(drawn, "main:Transfer"))["plan"]
    assert [(entry["frame"], entry["id"], entry["parameters"]) for entry in plan] == [
        (one.frame, attack_id, dict(one.parameters)) for one in drawn
    ]


@pytest.mark.parametrize(("attack_id", "name"), RANGES)
def test_what_is_drawn_varies_and_is_in_its_range(attack_id: str, name: str) -> None:
    chance, each = Random(1), _range(attack_id, name)
    drawn = [each.draw(chance) for _ in range(200)]
    assert all(each.has(value) for value in drawn)
    if isinstance(each, OneOf):
        assert set(drawn) == set(each.values)
    else:
        assert len(set(drawn)) >= min(each.high - each.low + 1, 20) * 0.75


@pytest.mark.parametrize(("attack_id", "name"), RANGES)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), choices=st.randoms(use_true_random=False))
def test_milder_values_are_of_the_range_and_end_at_the_mildest(
    attack_id: str, name: str, seed: int, choices: Random
) -> None:
    each = _range(attack_id, name)
    value = each.draw(Random(seed))
    mildest = each.low if isinstance(each, Between) else each.values[0]
    assert each.smaller(mildest) == []
    for _ in range(200):
        milder = each.smaller(value)
        if not milder:
            break
        assert milder[0] == mildest
        assert all(each.has(one) and _order(each, one) < _order(each, value) for one in milder)
        value = choices.choice(milder)  # whichever is taken, it gets milder, and there is an end to it
    else:
        assert _order(each, value) < _order(each, each.draw(Random(seed)))
        return
    assert value == mildest


def _order(each: Range, value: Value) -> int:
    if isinstance(each, Between):
        assert isinstance(value, int)
        return value
    return each.values.index(value)


def test_what_is_only_given_on_request_is_never_drawn_and_has_nothing_milder() -> None:
    each = _range("F04", "kind")
    assert isinstance(each, OneOf)
    assert each.on_request
    chance = Random(2)
    assert not set(each.on_request) & {each.draw(chance) for _ in range(300)}
    assert all(each.has(value) and each.smaller(value) == [] for value in each.on_request)


def test_an_attack_names_a_partition_of_the_reference_device_and_one_can_also_be_in_therapy() -> None:
    named = {attack_id: attack.partitions for attack_id, attack in ATTACKS.items()}
    assert {attack_id for attack_id, names in named.items() if "transfer" not in names} == set()
    assert {attack_id for attack_id, names in named.items() if "therapy" in names} == {"F01"}


def test_a_range_says_what_it_takes() -> None:
    assert str(Between(3, 9)) == "whole numbers from 3 to 9"
    assert str(OneOf(("a", True), on_request=(2,))) == 'one of "a", true, 2'
    assert not OneOf((False, True)).has(1)
    assert not Between(0, 1).has(True)
