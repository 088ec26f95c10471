"""The measured log: what was measured stays told, in its order, or the line that breaks it is named."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boot import measured
from boot.refusal import Refused
from ipc_schemas import codec
from ipc_schemas.release import Measurement
from tests.support.attested import digest, log_of, published

RELEASE = published()
LOG = log_of(RELEASE, RELEASE.digests)
LINES = LOG.lines
PLACES = st.integers(0, len(LINES) - 1)


def test_a_log_that_was_handed_on_is_the_log_that_was_written() -> None:
    assert measured.replay(LINES) == LOG
    assert measured.replay(LINES).digest == LINES[-1].chain


def test_each_chain_value_is_the_digest_of_the_one_before_and_the_line_without_its_own() -> None:
    chain = measured.START
    for line in LINES:
        bare = msgspec.structs.replace(line, chain=bytes(32))
        chain = hashlib.sha256(chain + codec.encode(bare)).digest()
        assert line.chain == chain


def test_an_empty_log_has_the_start_value() -> None:
    assert measured.Log().digest == measured.START == measured.replay([]).digest


@given(PLACES, PLACES)
def test_two_lines_that_changed_places_are_named(one: int, other: int) -> None:
    lines = list(LINES)
    lines[one], lines[other] = lines[other], lines[one]
    if one == other:
        measured.replay(lines)
        return
    with pytest.raises(measured.LineRefused) as refused:
        measured.replay(lines)
    assert refused.value.index == min(one, other)
    assert refused.value.line == lines[min(one, other)]
    assert lines[min(one, other)].name in refused.value.sentence


@given(st.integers(0, len(LINES) - 2))
def test_behind_a_line_that_was_dropped_the_next_one_is_named(place: int) -> None:
    with pytest.raises(measured.LineRefused) as refused:
        measured.replay([*LINES[:place], *LINES[place + 1 :]])
    assert refused.value.index == place


CHANGES: list[dict[str, Any]] = [
    {"stage": "monitor"},
    {"kind": "platform"},
    {"name": "another"},
    {"version": "9.9.9"},
    {"digest": digest("another")},
    {"signer": "someone"},
    {"chain": digest("another")},
]


@pytest.mark.parametrize("change", CHANGES, ids=[next(iter(change)) for change in CHANGES])
@given(place=st.integers(0, 1))
def test_no_field_of_a_line_changes_unnoticed(change: dict[str, Any], place: int) -> None:
    lines = list(LINES)
    lines[place] = msgspec.structs.replace(lines[place], **change)
    with pytest.raises(measured.LineRefused) as refused:
        measured.replay(lines)
    assert refused.value.index == place


def test_a_stage_that_has_handed_on_measures_no_more() -> None:
    with pytest.raises(Refused, match="rom had already handed on to monitor"):
        LOG.appended("rom", "image", "late", "1", digest("late"), "maker")


def test_a_log_whose_chain_holds_but_whose_stages_go_back_is_refused() -> None:
    """As a lying stage would write it: with every chain value computed anew."""
    lines: list[Measurement] = []
    for line in (LINES[-1], LINES[0]):
        before = lines[-1].chain if lines else measured.START
        bare = msgspec.structs.replace(line, chain=bytes(32))
        chain = hashlib.sha256(before + codec.encode(bare)).digest()
        lines.append(msgspec.structs.replace(line, chain=chain))
    with pytest.raises(measured.LineRefused, match="rom had already handed on"):
        measured.replay(lines)


def test_a_stage_that_does_not_measure_writes_no_line() -> None:
    with pytest.raises(Refused, match="transfer is no stage"):
        measured.Log().appended("transfer", "image", "x", "1", digest("x"), "maker")


@pytest.mark.parametrize(("name", "value"), [("", digest("x")), ("x" * 121, digest("x")), ("x", b"short")])
def test_a_line_out_of_bounds_is_refused_when_it_is_written(name: str, value: bytes) -> None:
    with pytest.raises(Refused, match="makes no line of the measured log"):
        measured.Log().appended("rom", "image", name, "1", value, "maker")


def test_a_log_is_bounded() -> None:
    log = measured.Log()
    for number in range(measured.LINES_MAX):
        log = log.appended("rom", "image", f"i{number}", "1", digest("x"), "maker")
    measured.replay(log.lines)
    with pytest.raises(Refused, match="full"):
        log.appended("rom", "image", "one_more", "1", digest("x"), "maker")
    with pytest.raises(measured.LineRefused, match="at most"):
        measured.replay([*log.lines, log.lines[-1]])


def test_a_register_holds_what_one_stage_measured_and_nothing_else() -> None:
    before = measured.registers(LINES)
    assert set(before) == set(measured.STAGES)
    changed = log_of(RELEASE, {**RELEASE.digests, "therapy": digest("another")})
    after = measured.registers(changed.lines)
    assert [stage for stage in measured.STAGES if before[stage] != after[stage]] == ["monitor"]


def test_the_platform_is_part_of_a_layer_whatever_the_order_in_which_it_was_measured() -> None:
    image, parts = digest("monitor"), [("python", digest("p")), ("msgspec", digest("m"))]
    whole = measured.layer_measurement(image, parts)
    assert whole == measured.layer_measurement(image, reversed(parts))
    assert whole != measured.layer_measurement(image, [("python", digest("q")), parts[1]])
    assert measured.layer_measurement(image, ()) == image
