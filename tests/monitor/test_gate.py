"""A gate on a real channel, its partition and its monitor played by the test: what comes before the first window,
how long it waits, and what it makes of one that is late.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
import pytest
import zmq

from ipc_schemas import codec, links, wire
from monitor import gate, judge
from sandbox.walls import ALL

PARTITION, PORT, EPOCH = 1, 3, 4
MESSAGES_MAX, REJECTIONS_MAX = 2_000, 2
PATIENCE_S = 5.0


class Blob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    data: Annotated[bytes, msgspec.Meta(max_length=100)]


class Staged:
    """A gate whose partition and monitor are held here. Every wait has an end."""

    def __init__(self, fatal: tuple[str, ...] = (), budget_ms: int = 2_000) -> None:
        port = links.PortContract(PORT, PARTITION, "Blob", 108, MESSAGES_MAX, REJECTIONS_MAX)
        contract = links.GateContract(
            PARTITION, EPOCH, tuple(sorted(ALL)), "", (port,), fatal, b"", budget_ms, 1 << 20
        )
        self.context = zmq.Context()
        theirs, self.partition = self.context.socket(zmq.PAIR), self.context.socket(zmq.PAIR)
        theirs.bind("inproc://channel")
        self.partition.connect("inproc://channel")
        self.monitor, link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.monitor.settimeout(PATIENCE_S)
        self.ends = (theirs, self.partition)
        self.links = (self.monitor, link)
        self.gate = gate.Gate(contract, judge.Judge(contract, {"Blob": Blob}), theirs, link)
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.frame = self.sequence = 0

    def _live(self) -> None:
        self.gate.await_ready()
        self.gate.serve()

    def send(self, port: int = PORT, payload: bytes | None = None) -> None:
        """One message of the partition in its present frame."""
        payload = codec.encode(Blob(b"x")) if payload is None else payload
        head = wire.Header(PARTITION, port, EPOCH, self.frame, self.sequence)
        self.partition.send(wire.pack(head, payload))
        self.sequence += 1

    def close_window(self) -> None:
        self.send(wire.PORT_CLOSE, b"")

    def report(self) -> links.GateReport:
        """The next report. Raises ``TimeoutError``."""
        return codec.Codec(links.GateReport).decode(self.monitor.recv(1 << 20))

    def open(self, frame: int) -> None:
        self.monitor.send(codec.encode(links.Open(frame, b"opened", True)))

    def end(self) -> None:
        self.monitor.close()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the gate does not end with its link"
        for each in self.ends:
            each.close(0)
        self.context.term()
        self.links[1].close()


@pytest.fixture
def staged() -> Iterator[Callable[..., Staged]]:
    made: list[Staged] = []

    def make(fatal: tuple[str, ...] = (), budget_ms: int = 2_000) -> Staged:
        made.append(Staged(fatal, budget_ms))
        return made[-1]

    yield make
    for each in made:
        each.end()


def test_a_partition_that_only_says_that_it_is_ready_is_ready(staged: Callable[..., Staged]) -> None:
    play = staged()
    play.thread.start()
    play.close_window()
    assert play.report() == links.GateReport(links.READY_FRAME, (), (), True, "")


@pytest.mark.parametrize("count", [1, 1_000])
def test_what_is_sent_before_the_first_window_ends_its_sender_and_goes_nowhere(
    staged: Callable[..., Staged], count: int
) -> None:
    play = staged(fatal=("bad_sequence",))
    for _ in range(count):
        play.send(payload=codec.encode(Blob(bytes(100))))
    play.close_window()
    play.thread.start()
    report = play.report()
    assert (report.frame, report.batches, report.is_last) == (links.READY_FRAME, (), True)
    assert report.ended_by == "bad_sequence"
    assert [(r.event, r.reason, r.count) for r in report.refusals] == [("bad_sequence", "early", 1)]


def test_what_is_sent_early_by_one_whom_the_table_spares_is_refused_and_delivered_never(
    staged: Callable[..., Staged],
) -> None:
    play = staged()
    play.send()
    play.send(payload=b"zz")
    play.close_window()
    play.thread.start()
    ready = play.report()
    assert (ready.batches, ready.ended_by) == ((), "")
    assert {(r.event, r.reason) for r in ready.refusals} == {
        ("bad_sequence", "early"),
        ("bad_message", "schema"),
    }
    play.open(0)
    play.send()
    play.close_window()
    first = play.report()
    assert [(b.port, b.count) for b in first.batches] == [(PORT, 1)]
    assert (first.refusals, first.ended_by) == ((), "")


def test_a_partition_may_take_no_longer_than_its_start_budget(
    staged: Callable[..., Staged], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert links.START_BUDGET_MS == 3_000
    monkeypatch.setattr(links, "START_BUDGET_MS", 50)
    play = staged()
    play.thread.start()
    report = play.report()
    assert (report.frame, report.is_last, report.ended_by) == (links.READY_FRAME, True, "window_overrun")


@pytest.mark.parametrize("frame", [0, 7])
def test_one_that_is_ready_too_late_and_spared_closes_no_window_with_it_and_is_not_blamed(
    staged: Callable[..., Staged], monkeypatch: pytest.MonkeyPatch, frame: int
) -> None:
    monkeypatch.setattr(links, "START_BUDGET_MS", 50)
    play = staged(fatal=("bad_sequence",))
    play.thread.start()
    assert play.report().ended_by == "window_overrun"
    play.open(frame)
    play.close_window()  # only now is it ready
    play.frame = frame
    play.send()
    play.close_window()
    report = play.report()
    assert (report.frame, report.ended_by) == (frame, "")
    assert [(b.port, b.count) for b in report.batches] == [(PORT, 1)]
    assert {r.event for r in report.refusals} <= {""}
    play.open(frame + 1)
    play.frame = frame + 1
    play.close_window()
    assert play.report().ended_by == ""


def test_a_window_ends_at_its_budget_and_what_comes_of_it_later_is_dropped_without_blame(
    staged: Callable[..., Staged],
) -> None:
    play = staged(budget_ms=50)
    play.thread.start()
    play.close_window()
    assert play.report().ended_by == ""
    play.open(1)
    assert play.report().ended_by == "window_overrun"
    play.frame = 1
    play.send()
    play.close_window()
    play.open(2)
    play.frame = 2
    play.close_window()
    report = play.report()
    assert (report.batches, report.ended_by) == ((), "")
    assert {(r.event, r.reason) for r in report.refusals} == {("", "late")}


def test_a_talker_who_never_closes_its_window_loses_it_at_its_budget(staged: Callable[..., Staged]) -> None:
    play = staged(budget_ms=100)
    play.thread.start()
    play.close_window()
    assert play.report().ended_by == ""
    play.open(0)
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.01):
            play.send()

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        assert play.report().ended_by == "window_overrun"
    finally:
        stop.set()
        talker.join()


def test_a_message_just_before_the_end_of_a_window_buys_no_second_budget(
    staged: Callable[..., Staged],
) -> None:
    play = staged(budget_ms=1_000)
    play.thread.start()
    play.close_window()
    assert play.report().ended_by == ""
    opened_s = time.monotonic()
    play.open(0)
    time.sleep(0.8)
    play.send()
    report = play.report()
    assert report.ended_by == "window_overrun"
    assert time.monotonic() - opened_s < 1.4


def test_a_large_window_is_reported_in_pieces_that_fit_the_link(staged: Callable[..., Staged]) -> None:
    play = staged()
    play.thread.start()
    play.close_window()
    play.report()
    play.open(0)
    for _ in range(MESSAGES_MAX):
        play.send(payload=codec.encode(Blob(bytes(100))))
    play.close_window()
    reports = [play.report()]
    while not reports[-1].is_last:
        reports.append(play.report())
    assert len(reports) > 1
    assert all(len(codec.encode(each)) <= links.REPORT_BYTES_MAX for each in reports)
    assert sum(batch.count for each in reports for batch in each.batches) == MESSAGES_MAX


def test_more_rejections_than_the_port_allows_end_a_window(staged: Callable[..., Staged]) -> None:
    for fatal, ended_by in ((("rejections_exceeded",), "rejections_exceeded"), ((), "")):
        play = staged(fatal)
        play.thread.start()
        play.close_window()
        play.report()
        play.open(0)
        for _ in range(REJECTIONS_MAX + 1):
            play.send(payload=b"zz")
        play.close_window()
        report = play.report()
        assert report.ended_by == ended_by
        assert [(r.port, r.reason, r.count) for r in report.refusals] == [
            (PORT, "schema", REJECTIONS_MAX + 1)
        ]


def test_a_gate_keeps_the_first_refused_messages_and_the_place_of_each(staged: Callable[..., Staged]) -> None:
    play = staged()
    play.thread.start()
    play.close_window()
    play.report()
    good = codec.encode(Blob(b"x"))
    for frame in (0, 1):
        play.frame = frame
        play.open(frame)
        for payload in (good, b"zz", good, good, *[b"yy"] * links.EXHIBITS_PER_ROW_MAX):
            play.send(payload=payload)
        play.close_window()
        (row,) = play.report().refusals
        assert (row.reason, row.count) == ("schema", 1 + links.EXHIBITS_PER_ROW_MAX)
        assert [(e.place, wire.unpack(e.message)[1]) for e in row.exhibits] == [
            (1, b"zz"),
            *[(3, b"yy")] * (links.EXHIBITS_PER_ROW_MAX - 1),
        ]
        assert {wire.unpack(e.message)[0].frame for e in row.exhibits} == {frame}


def test_what_a_gate_keeps_of_a_window_is_bounded_in_bytes_and_the_rest_is_counted(
    staged: Callable[..., Staged],
) -> None:
    play = staged()
    size = links.EXHIBIT_BYTES_PER_WINDOW_MAX // 2
    for number in range(5):  # two fit, but for what keeping them counts for beside
        play.gate._refuse(judge.Refused(number, "bad_message", "schema", "d"), bytes(size))
    play.gate._refuse(judge.Refused(9, "bad_message", "schema", "d"), b"small")
    play.gate._refuse(judge.Refused(9, "", "late", "d"), b"nobody's")
    play.gate._report(0, is_last=False, ended_by="")
    first = play.report()
    assert [(row.count, [len(e.message) for e in row.exhibits]) for row in first.refusals] == [
        (1, [size]),
        *[(1, [])] * 4,
        (1, [5]),
        (1, []),
    ]
    play.gate._refuse(judge.Refused(0, "bad_message", "schema", "d"), bytes(size))
    play.gate._report(0, is_last=True, ended_by="")
    assert play.report().refusals[0].exhibits == (), "a window has one bound, however many pieces it comes in"
    play.gate._refuse(judge.Refused(0, "bad_message", "schema", "d"), bytes(size))
    play.gate._report(1, is_last=True, ended_by="")
    assert len(play.report().refusals[0].exhibits) == 1
    play.thread.start()
    play.close_window()
    play.report()


def test_a_place_counts_what_went_in_earlier_pieces(staged: Callable[..., Staged]) -> None:
    play = staged()
    play.thread.start()
    play.close_window()
    play.report()
    play.open(0)
    for _ in range(MESSAGES_MAX - 1):
        play.send(payload=codec.encode(Blob(bytes(100))))
    play.send(payload=b"zz")
    play.close_window()
    reports = [play.report()]
    while not reports[-1].is_last:
        reports.append(play.report())
    assert len(reports) > 1
    (row,) = [row for each in reports for row in each.refusals]
    assert [each.place for each in row.exhibits] == [MESSAGES_MAX - 1]


def test_the_kinds_of_refusals_that_a_report_tells_apart_are_bounded(staged: Callable[..., Staged]) -> None:
    play = staged()
    for number in range(200):
        play.gate._refuse(judge.Refused(number, "bad_message", "schema", "d"), b"")
    play.gate._refuse(judge.Refused(0, "bad_message", "schema", "d"), b"")
    play.gate._report(0, is_last=True, ended_by="")
    counts = [r.count for r in play.report().refusals]
    assert (len(counts), counts[0], sum(counts)) == (64, 2, 65)
    play.thread.start()
    play.close_window()
    play.report()
