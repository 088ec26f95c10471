"""A batch is judged as its messages would be one by one, and stands or falls as one."""

from __future__ import annotations

from typing import Annotated

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from ipc_schemas import codec, links, wire
from monitor import judge
from sandbox import walls

PARTITION, PORT, OTHER, NARROW, TIGHT, WIDE = 3, 5, 6, 7, 8, 9
MESSAGES_MAX = 64
ALL = tuple(sorted(walls.ALL))


class Beat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at: Annotated[int, msgspec.Meta(ge=0, le=1000)]


def a_judge(without: frozenset[str] = frozenset()) -> judge.Judge:
    ports = tuple(
        links.PortContract(number, owner, "Beat", bytes_max, messages_max, 0)
        for number, owner, bytes_max, messages_max in (
            (PORT, PARTITION, 7, MESSAGES_MAX),
            (OTHER, PARTITION + 1, 7, MESSAGES_MAX),
            (NARROW, PARTITION, 7, wire.SINGLES_MAX),
            (TIGHT, PARTITION, 5, MESSAGES_MAX),
            (WIDE, PARTITION, wire.BATCH_BYTES_MAX + 9, 1),
        )
    )
    names = tuple(name for name in ALL if name not in without)
    contract = links.GateContract(PARTITION, 0, names, "schemas", ports, (), b"", 10, 40_000)
    made = judge.Judge(contract, {"Beat": Beat})
    made.open_window(1)
    return made


def message(port: int, payload: bytes, sequence: int = 0) -> bytes:
    return wire.pack(wire.Header(PARTITION, port, 0, 1, sequence), payload)


def beats(count: int) -> list[bytes]:
    return [codec.encode(Beat(n)) for n in range(count)]


PAYLOADS = st.one_of(
    st.integers(-5, 1_005).map(lambda n: codec.encode({"at": n})),
    st.sampled_from([b"", b"\x80", b"\x81\xa2at\xcc\x05", b"\x82\xa2at\x05\xa2at\x06", b"\xc1", b"\x05"]),
    st.binary(max_size=12),
)


@given(st.lists(PAYLOADS, min_size=2, max_size=MESSAGES_MAX + 6))
def test_a_batch_is_admitted_exactly_when_each_of_its_messages_would_be(payloads: list[bytes]) -> None:
    single, batched = a_judge(), a_judge()
    verdicts = [single.judge(message(PORT, payload, n)) for n, payload in enumerate(payloads)]
    verdict = batched.judge(message(PORT | wire.BATCH, codec.join_batch(payloads)))
    if all(isinstance(v, judge.Admitted) for v in verdicts):
        assert verdict == judge.Run(PORT, payloads)
    else:
        # Bytes that are no message may, joined, still be an array of messages; then just those are passed on.
        admitted = verdict.payloads if isinstance(verdict, judge.Run) else []
        for payload in admitted:
            assert isinstance(a_judge().judge(message(PORT, payload)), judge.Admitted)
        assert len(admitted) <= MESSAGES_MAX
        assert b"".join(admitted) in (b"", b"".join(payloads))


@pytest.mark.parametrize("without", ["canonical", "range", "schema", "size"])
def test_a_batch_of_sound_messages_passes_whatever_wall_is_off(without: str) -> None:
    verdict = a_judge(frozenset((without,))).judge(message(PORT | wire.BATCH, codec.join_batch(beats(40))))
    assert verdict == judge.Run(PORT, beats(40))


def test_one_message_too_many_in_a_batch_is_one_too_many_in_the_frame() -> None:
    mind = a_judge()
    for n, payload in enumerate(beats(MESSAGES_MAX - 2)):
        assert isinstance(mind.judge(message(PORT, payload, n)), judge.Admitted)
    verdict = mind.judge(message(PORT | wire.BATCH, codec.join_batch(beats(3)), MESSAGES_MAX - 2))
    assert isinstance(verdict, judge.Refused)
    assert verdict.event == judge.RATE_EXCEEDED


@pytest.mark.parametrize(
    ("port", "payload", "event"),
    [
        (NARROW, codec.join_batch(beats(2)), judge.RATE_EXCEEDED),
        (OTHER, codec.join_batch(beats(2)), judge.BAD_MESSAGE),
        (wire.PORT_CLOSE & ~wire.BATCH, codec.join_batch(beats(2)), judge.BAD_MESSAGE),
        (PORT, bytes(wire.BATCH_BYTES_MAX + 1), judge.BAD_MESSAGE),
        (PORT, b"\xdd\xff\xff\xff\xff", judge.BAD_MESSAGE),
        (PORT, b"\x91" * 20_000, judge.BAD_MESSAGE),
    ],
)
def test_a_batch_that_may_not_be_is_refused(port: int, payload: bytes, event: str) -> None:
    verdict = a_judge().judge(message(port | wire.BATCH, payload))
    assert isinstance(verdict, judge.Refused)
    assert verdict.event == event


def test_a_replayed_batch_is_out_of_sequence() -> None:
    mind, batch = a_judge(), message(PORT | wire.BATCH, codec.join_batch(beats(3)))
    assert isinstance(mind.judge(batch), judge.Run)
    replayed = mind.judge(batch)
    assert isinstance(replayed, judge.Refused)
    assert replayed.event == judge.BAD_SEQUENCE


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_joined_batches_hold_the_messages_of_all_in_order(counts: list[int]) -> None:
    parts = [beats(count) for count in counts]
    joined = codec.join_batches([(len(part), codec.join_batch(part)) for part in parts])
    assert codec.Codec(Beat).split_batch(joined) == [payload for part in parts for payload in part]


def test_one_message_in_a_batch_that_is_larger_than_its_port_allows_refuses_the_batch() -> None:
    fits, larger = codec.encode(Beat(127)), codec.encode(Beat(128))
    assert (len(fits), len(larger)) == (5, 6)
    whole = message(TIGHT | wire.BATCH, codec.join_batch([fits, fits]))
    assert a_judge().judge(whole) == judge.Run(TIGHT, [fits, fits])
    spoilt = message(TIGHT | wire.BATCH, codec.join_batch([fits, larger, fits]))
    assert a_judge().judge(spoilt) == judge.Refused(TIGHT, judge.BAD_MESSAGE, "size", "6 bytes, at most 5")
    assert a_judge(frozenset(("size",))).judge(spoilt) == judge.Run(TIGHT, [fits, larger, fits])


def test_a_batch_larger_than_batches_may_be_is_refused_for_its_size() -> None:
    # Another port may carry larger single messages, so the bound on the whole message does not stand in for it.
    verdict = a_judge().judge(message(PORT | wire.BATCH, bytes(wire.BATCH_BYTES_MAX + 1)))
    assert verdict == judge.Refused(PORT, judge.BAD_MESSAGE, "size", "32769 bytes in a batch, at most 32768")


def test_a_refused_batch_counts_as_a_message_of_its_frame() -> None:
    mind, spoilt = a_judge(), codec.join_batch([b"\x80", b"\x80"])
    for n in range(MESSAGES_MAX):
        verdict = mind.judge(message(PORT | wire.BATCH, spoilt, n))
        assert isinstance(verdict, judge.Refused)
        assert verdict.reason == "schema"
    verdict = mind.judge(message(PORT, beats(1)[0], MESSAGES_MAX))
    assert isinstance(verdict, judge.Refused)
    assert verdict.event == judge.RATE_EXCEEDED


#: wall -> a message that only this wall stops, in a batch as alone.
OFFENCES = {"canonical": b"\x81\xa2at\xcc\x05", "range": codec.encode({"at": 1_001}), "schema": b"\x80"}


@pytest.mark.parametrize("off", [*OFFENCES, "size"])
@pytest.mark.parametrize("wall", OFFENCES)
def test_in_a_batch_a_wall_that_is_off_lets_exactly_its_own_class_through(off: str, wall: str) -> None:
    verdict = a_judge(frozenset((off,))).judge(
        message(PORT | wire.BATCH, codec.join_batch([beats(1)[0], OFFENCES[wall]]))
    )
    # A reader that checks no schema sees neither ranges nor (as it re-encodes) canonical form.
    falls = {"schema": {"schema", "range", "canonical"}}.get(off, {off})
    assert isinstance(verdict, judge.Run) == (wall in falls), verdict
