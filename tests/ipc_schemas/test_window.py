"""What partition code sees of a window: the newest sample and its age, all of a queue, and its own ports only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated, Any

import msgspec
import pytest

from ipc_schemas import codec, wire
from ipc_schemas.window import PortMisused, Ports, Sample, Window


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    n: Annotated[int, msgspec.Meta(ge=0, le=9)]


SAMPLED, QUEUED, OUT = 1, 2, 3
HELLO = wire.Hello(
    4,
    0,
    60_000,
    (
        wire.PortCard(SAMPLED, "sampled", False, True, 2, "Level"),
        wire.PortCard(QUEUED, "queued", False, False, 0, "Level"),
        wire.PortCard(OUT, "out", True, True, 0, "Level"),
    ),
)
SCHEMAS: Any = SimpleNamespace(Level=Level)


def window(
    *deliveries: wire.Delivery, recheck: bool = True, sent: list[tuple[int, bytes]] | None = None
) -> Window:
    """The window of frame 5."""
    kept: list[tuple[int, bytes]] = [] if sent is None else sent
    return Window(
        Ports(HELLO, SCHEMAS, recheck=recheck),
        wire.WindowOpen(5, deliveries),
        lambda port, payload: kept.append((port, payload)),
    )


def delivery(port: int, age_frames: int, *values: Any) -> wire.Delivery:
    return wire.Delivery(port, age_frames, codec.encode(list(values)))


@pytest.mark.parametrize(("age_frames", "is_fresh"), [(1, True), (2, True), (3, False)])
def test_the_newest_sample_is_seen_and_is_fresh_up_to_its_limit(age_frames: int, is_fresh: bool) -> None:
    seen = window(delivery(SAMPLED, age_frames, Level(1), Level(2))).latest("sampled")
    assert seen == Sample(Level(2), age_frames, is_fresh)


def test_a_queue_is_seen_whole_and_in_order() -> None:
    assert window(delivery(QUEUED, 1, Level(1), Level(2))).received("queued") == (Level(1), Level(2))


def test_where_nothing_has_arrived_there_is_nothing() -> None:
    assert window().latest("sampled") is None
    assert window(delivery(SAMPLED, 1)).latest("sampled") is None
    assert window().received("queued") == ()


def test_a_batch_with_one_bad_message_is_as_if_nothing_had_come(capsys: pytest.CaptureFixture[str]) -> None:
    spoilt = delivery(QUEUED, 1, Level(1), {"n": 10})
    assert window(spoilt).received("queued") == ()
    assert "port queued: what arrived is not what the port carries (range" in capsys.readouterr().err
    assert window(spoilt, recheck=False).received("queued") == (Level(1), Level(10))


def test_a_reader_that_checks_nothing_makes_do_with_what_it_gets() -> None:
    odd = delivery(QUEUED, 1, {"m": 1}, 7)
    assert window(odd, recheck=False).received("queued") == (Level(None), 7)  # type: ignore[arg-type]


def test_what_is_sent_goes_out_encoded_on_its_own_port() -> None:
    sent: list[tuple[int, bytes]] = []
    held = window(sent=sent)
    held.send("out", Level(3))
    held.send_encoded("out", b"raw")
    assert sent == [(OUT, codec.encode(Level(3))), (OUT, b"raw")]


def test_a_port_that_is_not_there_or_points_the_other_way_is_misused() -> None:
    held = window()
    for read in (held.latest, held.received):
        for name in ("out", "nowhere"):
            with pytest.raises(PortMisused, match=r"the inputs are \['queued', 'sampled'\]"):
                read(name)
    for name in ("sampled", "nowhere"):
        with pytest.raises(PortMisused, match=r"the outputs are \['out'\]"):
            held.send(name, Level(1))


def test_time_is_frames_and_nothing_else() -> None:
    held = window()
    assert (held.frame, held.time_ms, held.time_min) == (5, 300_000, 5.0)
