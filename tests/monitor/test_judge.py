"""The judge: each rule's reason, each wall's own class, and whatever is sent in whatever order."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipc_schemas import codec, links, wire
from monitor import judge
from monitor.design import Event
from monitor.judge import Admitted, Closed, Judge, Recheck, Refused
from sandbox.walls import ALL

Meta = msgspec.Meta


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    n: Annotated[int, Meta(ge=0, le=100)]


OWN, OTHERS, LARGE = 3, 5, 7
TYPES: dict[str, type[msgspec.Struct]] = {"Value": Value}
GOOD = codec.encode(Value(7))
MESSAGES_MAX, REJECTIONS_MAX = 3, 2


def contract(walls: frozenset[str] = ALL, fatal: tuple[str, ...] = ()) -> links.GateContract:
    """Partition 1 owns ports 3 (8 bytes) and 7 (32 bytes); port 5 is partition 2's."""
    return links.GateContract(
        partition=1,
        epoch=4,
        walls=tuple(sorted(walls)),
        schemas="",
        ports=(
            links.PortContract(OWN, 1, "Value", 8, MESSAGES_MAX, REJECTIONS_MAX),
            links.PortContract(OTHERS, 2, "Value", 8, 9, 9),
            links.PortContract(LARGE, 1, "Value", 32, 1, 0),
        ),
        fatal=fatal,
        hello=b"",
        budget_ms=10,
        endpoint_bytes_max=48,
    )


def judge_without(*walls: str) -> Judge:
    """A judge in frame 9 with these walls off."""
    mind = Judge(contract(ALL - set(walls)), TYPES)
    mind.open_window(9)
    return mind


def message(payload: bytes = GOOD, **claims: int) -> bytes:
    """A message as it should be, but for ``claims``."""
    head = {"source": 1, "port": OWN, "epoch": 4, "frame": 9, "sequence": 0} | claims
    return wire.pack(wire.Header(**head), payload)


CLOSE = b""

#: wall -> a message that only this wall stops, the event and the reason.
OFFENCES: dict[str, tuple[bytes, str, str]] = {
    "size": (message(codec.encode({"n": 7}) + bytes(6)), "bad_message", "size"),
    "stamp": (message(source=2), "spoofed_sender", "stamp"),
    "route": (message(port=OTHERS), "bad_message", "route"),
    "sequence": (message(sequence=5), "bad_sequence", "sequence"),
    "schema": (message(codec.encode({"m": 7})), "bad_message", "schema"),
    "range": (message(codec.encode({"n": 101})), "bad_message", "range"),
    "canonical": (message(b"\x81\xa1n\xcc\x07"), "bad_message", "canonical"),
}


@pytest.mark.parametrize(("wall", "offence"), OFFENCES.items(), ids=list(OFFENCES))
def test_each_offence_gets_its_own_event_and_reason(wall: str, offence: tuple[bytes, str, str]) -> None:
    verdict = judge_without().judge(offence[0])
    assert isinstance(verdict, Refused)
    assert (verdict.event, verdict.reason) == offence[1:]
    assert wall in ALL


@pytest.mark.parametrize("off", sorted(set(OFFENCES) - {"size"}))
@pytest.mark.parametrize("wall", sorted(set(OFFENCES) - {"size"}))
def test_a_wall_that_is_off_lets_exactly_its_own_class_through(off: str, wall: str) -> None:
    verdict = judge_without(off).judge(OFFENCES[wall][0])
    # A reader that checks no schema sees neither ranges nor (as it re-encodes) canonical form.
    falls = {"schema": {"schema", "range", "canonical"}}.get(off, {off})
    assert isinstance(verdict, Admitted) == (wall in falls), verdict


def test_without_size_a_long_message_is_judged_by_what_it_holds() -> None:
    long = message(codec.encode({"n": 7}) + bytes(60))
    assert judge_without().judge(long).reason == "size"  # type: ignore[union-attr]
    assert judge_without("size").judge(long).reason == "schema"  # type: ignore[union-attr]


def test_a_message_longer_than_any_port_allows_is_refused_before_its_header_is_read() -> None:
    longest = wire.HEADER_BYTES + 32
    whole = message(bytes(32), source=2)
    assert len(whole) == longest
    assert judge_without().judge(whole).reason == "stamp"  # type: ignore[union-attr]
    verdict = judge_without().judge(whole + b"x")
    assert verdict == Refused(0, "bad_message", "size", f"{longest + 1} bytes, at most {longest}")


@pytest.mark.parametrize("length", range(wire.HEADER_BYTES))
def test_less_than_a_header_is_refused(length: int) -> None:
    verdict = judge_without().judge(bytes(length))
    assert verdict == Refused(0, "bad_message", "schema", f"{length} bytes are no header")


def test_only_without_canonical_do_the_senders_own_bytes_go_on() -> None:
    wide, again = message(b"\x81\xa1n\xcc\x07"), message(b"\x81\xa1n\xcc\x07", sequence=1)
    assert judge_without("canonical").judge(wide) == Admitted(OWN, b"\x81\xa1n\xcc\x07")
    assert judge_without("schema").judge(wide) == Admitted(OWN, GOOD)
    mind = judge_without("schema", "canonical")
    assert mind.judge(wide) == Admitted(OWN, b"\x81\xa1n\xcc\x07")
    assert mind.judge(again[:-1]).reason == "schema"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("claims", "reason"), [({"epoch": 3}, "epoch"), ({"frame": 8}, "frame"), ({"sequence": 1}, "sequence")]
)
def test_what_is_out_of_line_is_named(claims: dict[str, int], reason: str) -> None:
    verdict = judge_without().judge(message(GOOD, **claims))
    assert isinstance(verdict, Refused)
    assert (verdict.event, verdict.reason) == ("bad_sequence", reason)


def test_a_replay_is_refused_and_does_not_move_the_sequence() -> None:
    mind = judge_without()
    assert mind.judge(message()) == Admitted(OWN, GOOD)
    assert isinstance(mind.judge(message()), Refused)
    assert mind.judge(message(sequence=1)) == Admitted(OWN, GOOD)


def test_rate_counts_per_port_and_frame_and_counts_the_refused_too() -> None:
    mind = judge_without()
    bad = codec.encode({"n": 101})
    verdicts = [mind.judge(message(bad if n == 1 else GOOD, sequence=n)) for n in range(MESSAGES_MAX + 1)]
    assert [type(v).__name__ for v in verdicts] == ["Admitted", "Refused", "Admitted", "Refused"]
    assert verdicts[-1].event == "rate_exceeded"  # type: ignore[union-attr]
    assert mind.judge(message(port=LARGE, sequence=4)) == Admitted(LARGE, GOOD)
    mind.open_window(10)
    assert isinstance(mind.judge(message(frame=10, sequence=5)), Admitted)


def test_a_close_with_a_payload_is_no_close() -> None:
    mind = judge_without()
    assert mind.judge(message(CLOSE, port=wire.PORT_CLOSE)) == Closed()
    verdict = mind.judge(message(b"x", port=wire.PORT_CLOSE, sequence=1))
    assert isinstance(verdict, Refused)
    assert verdict.reason == "route"


def test_rejections_have_a_budget_per_port_and_one_for_strays() -> None:
    mind = judge_without()
    on_port, stray = Refused(OWN, "bad_message", "range", ""), Refused(0, "bad_message", "route", "")
    assert [mind.exceeds_rejections(on_port) for _ in range(REJECTIONS_MAX + 1)] == [False, False, True]
    assert [mind.exceeds_rejections(stray) for _ in range(REJECTIONS_MAX + 1)] == [False, False, True]
    assert mind.exceeds_rejections(Refused(LARGE, "bad_message", "range", ""))
    assert not mind.exceeds_rejections(Refused(0, "", "late", ""))
    mind.open_window(10)
    assert not mind.exceeds_rejections(on_port)
    assert not mind.exceeds_rejections(stray)
    assert not any(judge_without("rate").exceeds_rejections(on_port) for _ in range(50))


def test_messages_of_lost_windows_are_dropped_without_blame_until_one_closes_in_time() -> None:
    mind = judge_without()
    mind.open_window(10, was_lost=True)
    mind.open_window(11, was_lost=True)
    for sequence, frame in enumerate((9, 9, 10)):
        verdict = mind.judge(message(frame=frame, sequence=sequence))
        assert isinstance(verdict, Refused)
        assert (verdict.event, verdict.reason) == ("", "late")
    assert mind.judge(message(frame=11, sequence=3)) == Admitted(OWN, GOOD)
    mind.open_window(12)
    assert mind.judge(message(frame=10, sequence=4)).event == "bad_sequence"  # type: ignore[union-attr]


def test_messages_from_before_a_lost_window_or_of_another_life_are_blamed() -> None:
    mind = judge_without()
    mind.open_window(10, was_lost=True)
    assert mind.judge(message(frame=8)).event == "bad_sequence"  # type: ignore[union-attr]
    assert mind.judge(message(frame=9, epoch=3)).event == "bad_sequence"  # type: ignore[union-attr]
    assert mind.judge(message(frame=9, source=2)).event == "spoofed_sender"  # type: ignore[union-attr]


def test_the_judges_words_are_the_designs_events() -> None:
    assert {*judge.EVENTS, judge.GATE_LIED} <= {event.value for event in Event}


walls = st.sets(st.sampled_from(sorted(ALL))).map(frozenset)


@given(st.binary(max_size=80), walls)
def test_no_bytes_make_it_raise(content: bytes, standing: frozenset[str]) -> None:
    mind = Judge(contract(standing), TYPES)
    mind.open_window(0)
    verdict = mind.judge(content)
    assert isinstance(verdict, Admitted | Refused | Closed)


@given(
    st.binary(max_size=40)
    | st.builds(codec.encode, st.dictionaries(st.text(max_size=2), st.integers(-9, 200))),
    walls,
    st.sampled_from([OWN, OTHERS, LARGE, 0, 9, wire.PORT_CLOSE]),
)
def test_behind_all_walls_nothing_but_a_canonical_value_of_an_own_port_is_admitted(
    payload: bytes, standing: frozenset[str], port: int
) -> None:
    verdict = Judge(contract(standing), TYPES)
    verdict.open_window(0)
    loose = verdict.judge(message(payload, port=port, frame=0))
    strict = Judge(contract(), TYPES)
    strict.open_window(0)
    found = strict.judge(message(payload, port=port, frame=0))
    if isinstance(found, Admitted):
        assert found.payload == payload == codec.encode(codec.Codec(Value).decode(payload))
        assert port in (OWN, LARGE)
        assert loose == found  # a wall less never refuses more


class AnySequence(RuleBasedStateMachine):
    """A model of one channel: honest and dishonest messages in any order, windows closed or lost."""

    def __init__(self) -> None:
        super().__init__()
        self.mind = Judge(contract(), TYPES)
        self.frame = 0
        self.next = 0
        self.sent = 0
        self.lost: list[int] = []
        self.is_open = True
        self.mind.open_window(0)

    def send(self, payload: bytes = GOOD, **claims: int) -> Any:
        return self.mind.judge(message(payload, **({"frame": self.frame, "sequence": self.next} | claims)))

    @rule()
    def honest(self) -> None:
        verdict = self.send()
        self.sent += 1
        self.next += 1
        if self.sent <= MESSAGES_MAX:
            assert verdict == Admitted(OWN, GOOD)
        else:
            assert verdict.event == "rate_exceeded"

    @rule(
        payload=st.binary(max_size=8).filter(lambda p: p not in {codec.encode(Value(n)) for n in range(101)})
    )
    def nonsense(self, payload: bytes) -> None:
        verdict = self.send(payload)
        self.next += 1
        self.sent += 1
        assert verdict.event == ("bad_message" if self.sent <= MESSAGES_MAX else "rate_exceeded")

    @rule(source=st.integers(0, 0xFFFF).filter(lambda n: n != 1))
    def spoof(self, source: int) -> None:
        assert self.send(source=source).event == "spoofed_sender"

    @rule(sequence=st.integers(0, 99))
    def out_of_line(self, sequence: int) -> None:
        if sequence != self.next:
            assert self.send(sequence=sequence).event == "bad_sequence"

    @rule(epoch=st.integers(0, 9).filter(lambda n: n != 4), frame=st.integers(0, 9))
    def other_life(self, epoch: int, frame: int) -> None:
        assert self.send(epoch=epoch, frame=frame).event == "bad_sequence"

    @rule(port=st.integers(0, 0xFFFE).filter(lambda n: n not in (OWN, LARGE)))
    def stray(self, port: int) -> None:
        verdict = self.send(port=port)
        self.next += 1
        assert (verdict.event, verdict.reason) == ("bad_message", "route")

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        frame = data.draw(st.sampled_from(self.lost))
        verdict = self.send(frame=frame)
        self.next += 1
        assert (verdict.event, verdict.reason) == ("", "late")

    @rule()
    def close(self) -> None:
        assert self.send(CLOSE, port=wire.PORT_CLOSE) == Closed()
        self.next += 1
        self.lost = []
        self._open(was_lost=False)

    @rule()
    def lose(self) -> None:
        self.lost.append(self.frame)
        self._open(was_lost=True)

    def _open(self, *, was_lost: bool) -> None:
        self.frame += 1
        self.sent = 0
        self.mind.open_window(self.frame, was_lost=was_lost)

    @invariant()
    def a_frame_to_come_is_never_admitted(self) -> None:
        verdict = self.send(frame=self.frame + 1)
        assert isinstance(verdict, Refused)
        assert verdict.reason == "frame"


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# --- the monitor's own check ---


def batch(count: int, values: list[bytes], port: int = OWN) -> links.Batch:
    """A batch as a gate hands it over."""
    return links.Batch(port, count, codec.join_batch(values))


LIES = [
    (batch(1, [GOOD], OTHERS), 0, "port 5 is no output port of this partition"),
    (batch(1, [GOOD], 99), 0, "port 99 is no output port"),
    (batch(4, [GOOD] * 4), 0, "4 messages on port 3, at most 3"),
    (batch(1, [GOOD]), 3, "4 messages on port 3, at most 3"),
    (batch(0, []), 0, "a batch of 0 messages"),
    (batch(1, [GOOD] * 2), 0, "2 messages on port 3, said to be 1"),
    (batch(2, [GOOD]), 0, "1 messages on port 3, said to be 2"),
    (links.Batch(OWN, 1, bytes(14)), 0, "14 bytes in 1 messages"),
    (batch(1, [codec.encode({"n": 101})]), 0, "range"),
    (batch(1, [codec.encode({"m": 1})]), 0, "schema"),
    (batch(1, [b"\x81\xa1n\xcc\x07"]), 0, "canonical"),
    (links.Batch(OWN, 1, b"\xdc\x00\x01" + GOOD), 0, "canonical"),
]


@pytest.mark.parametrize(("lie", "before", "says"), LIES, ids=[str(n) for n in range(len(LIES))])
def test_each_lie_of_a_gate_is_named(lie: links.Batch, before: int, says: str) -> None:
    assert says in Recheck(contract(), TYPES).problem(lie, before)


def test_the_truth_is_no_problem() -> None:
    check = Recheck(contract(), TYPES)
    assert check.problem(batch(3, [GOOD] * 3), 0) == ""
    assert check.problem(batch(1, [GOOD]), 2) == ""


def test_without_recheck_only_the_port_is_looked_at() -> None:
    check = Recheck(contract(ALL - {"recheck"}), TYPES)
    assert check.problem(links.Batch(OTHERS, 3, b"\xc1"), 99) == ""
    assert check.problem(links.Batch(99, 1, b"\xc1"), 0) == "port 99 does not exist"


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=60))
def test_no_batch_makes_the_recheck_raise(port: int, count: int, content: bytes) -> None:
    for held in (port, OWN):
        problem = Recheck(contract(), TYPES).problem(links.Batch(held, count, content), 0)
        assert problem or codec.Codec(Value).decode_batch(content)
