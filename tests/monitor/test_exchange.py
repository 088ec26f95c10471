"""Logical execution time: what is sent in a frame is seen from the next one, whoever publishes first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ipc_schemas import codec, wire
from monitor.design import Channel, Design, OnStale, Port, PortKind, Window, WorldSide
from monitor.exchange import Exchange, Overflow


def port(
    number: int, full_name: str, kind: PortKind, *, out: bool, depth: int = 1, freshness: int = 0
) -> Port:
    """A port of which only the place in the exchange matters."""
    partition, name = full_name.split(".")
    return Port(number, partition, name, out, "M", kind, 8, 9, depth=depth, freshness_frames=freshness)


SAMPLING, QUEUING = PortKind.SAMPLING, PortKind.QUEUING
PORTS = (
    port(1, "a.s", SAMPLING, out=True),
    port(2, "b.s", SAMPLING, out=False, freshness=2),
    port(3, "c.s", SAMPLING, out=False),
    port(4, "a.q", QUEUING, out=True),
    port(5, "b.q", QUEUING, out=False, depth=4),
    port(6, "c.q", QUEUING, out=False, depth=2),
    port(7, "c.r", QUEUING, out=True),
    port(8, "b.r", QUEUING, out=False, depth=3),
)
CHANNELS = (Channel("a.s", ("b.s", "c.s")), Channel("a.q", ("b.q", "c.q")), Channel("c.r", ("b.r",)))


def design(*ports: Port) -> Design:
    """Partitions a, b and c, joined by three channels."""
    return Design(
        "d",
        Path(),
        10,
        "s.py",
        WorldSide("w.py:W", Path(), 1),
        (),
        ports or PORTS,
        CHANNELS,
        (Window("a", 0, 1),),
        "",
    )


def batch(*values: int) -> bytes:
    """A canonical array."""
    return codec.join_batch([codec.encode(value) for value in values])


def seen(exchange: Exchange, partition: str, frame: int) -> dict[int, tuple[int, list[int]]]:
    """port number -> (age in frames, values) in one window."""
    return {d.port: (d.age_frames, codec.decode_any(d.batch)) for d in exchange.take(partition, frame)}


def test_a_sample_is_seen_by_each_reader_from_the_next_frame_and_stays() -> None:
    exchange = Exchange(design())
    assert seen(exchange, "b", 0) == {}
    exchange.publish(0, 1, 2, batch(10, 11))
    for frame in (1, 2, 7):
        assert seen(exchange, "b", frame)[2] == (frame, [11])
        assert seen(exchange, "c", frame)[3] == (frame, [11])
    exchange.publish(7, 1, 1, batch(12))
    assert seen(exchange, "b", 8)[2] == (1, [12])


def test_a_queue_keeps_its_newest_and_is_emptied_by_reading() -> None:
    exchange = Exchange(design())
    assert exchange.publish(0, 4, 3, batch(1, 2, 3)) == [Overflow("c.q", 1)]
    assert exchange.publish(1, 4, 2, batch(4, 5)) == [Overflow("b.q", 1), Overflow("c.q", 2)]
    assert seen(exchange, "b", 2) == {5: (1, [2, 3, 4, 5])}
    assert seen(exchange, "c", 2) == {6: (1, [4, 5])}
    assert seen(exchange, "b", 3) == {}


def test_a_port_without_readers_loses_nothing_but_its_messages() -> None:
    assert Exchange(design()).publish(0, 99, 1, batch(1)) == []


def test_a_sample_grows_stale_one_frame_after_its_limit() -> None:
    exchange = Exchange(design())
    assert [p.full_name for p in exchange.stale("b", 1)] == []
    assert [p.full_name for p in exchange.stale("b", 2)] == ["b.s"]
    exchange.publish(5, 1, 1, batch(1))
    assert [exchange.stale("b", frame) != () for frame in (6, 7, 8)] == [False, False, True]
    assert exchange.stale("c", 99) == ()
    assert not exchange.holds("b", 99)


def test_only_a_stale_input_that_says_hold_keeps_a_window_shut() -> None:
    ports = tuple(replace(p, on_stale=OnStale.HOLD) if p.number == 2 else p for p in PORTS)
    exchange = Exchange(design(*ports))
    exchange.publish(0, 1, 1, batch(1))
    assert [exchange.holds("b", frame) for frame in (1, 2, 3)] == [False, False, True]


sends = st.lists(
    st.tuples(
        st.integers(0, 5), st.sampled_from([1, 4, 7]), st.lists(st.integers(0, 200), min_size=1, max_size=6)
    ),
    max_size=20,
)


@given(sends)
def test_it_behaves_like_a_list_that_is_cut(sent: list[tuple[int, int, list[int]]]) -> None:
    exchange = Exchange(design())
    for frame, number, values in sorted(sent, key=lambda row: row[0]):
        exchange.publish(frame, number, len(values), batch(*values))
    in_order = sorted(sent, key=lambda row: row[0])
    everything = {
        number: [v for _, n, values in in_order if n == number for v in values] for number in (1, 4, 7)
    }
    last = {number: max((f for f, n, _ in in_order if n == number), default=0) for number in (1, 4, 7)}
    expected = {
        sink: (6 - last[source], everything[source][-depth:])
        for source, sink, depth in ((1, 2, 1), (4, 5, 4), (7, 8, 3))
        if everything[source]
    }
    assert seen(exchange, "b", 6) == expected


@given(sends, st.randoms())
def test_the_order_of_ports_within_a_frame_does_not_matter(
    sent: list[tuple[int, int, list[int]]], chance: object
) -> None:
    once, twice = Exchange(design()), Exchange(design())
    unique = {(frame, number): values for frame, number, values in sent}
    rows = [(frame, number, values) for (frame, number), values in sorted(unique.items())]
    shuffled = list(rows)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    shuffled.sort(key=lambda row: row[0])
    for exchange, order in ((once, rows), (twice, shuffled)):
        for frame, number, values in order:
            exchange.publish(frame, number, len(values), batch(*values))
    for partition in "bc":
        assert once.take(partition, 6) == twice.take(partition, 6)


@given(sends)
def test_what_is_delivered_fits_the_window_that_carries_it(sent: list[tuple[int, int, list[int]]]) -> None:
    exchange = Exchange(design())
    for frame, number, values in sorted(sent, key=lambda row: row[0]):
        exchange.publish(frame, number, len(values), batch(*values))
    opened = wire.WindowOpen(6, exchange.take("b", 6))
    assert codec.Codec(wire.WindowOpen).decode(codec.encode(opened)) == opened
