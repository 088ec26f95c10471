"""The transfer partition: bounded spool, bounded chunks, requests and hints carried unread."""

from __future__ import annotations

from typing import Any

import msgspec

from ipc_schemas.insulin_pump import TherapyStatus, Upload
from ipc_schemas.window import Setup
from tests.therapy.coupling import FRAME_MS, Coupled, load_image

transfer = load_image("transfer")


def test_every_status_of_a_day_is_uploaded_once_and_in_order() -> None:
    device = Coupled(7)
    uploads: list[tuple[int, Upload]] = []
    sent: list[TherapyStatus] = []

    def spy(frame: int, port: str, message: Any) -> None:
        if port == "transfer.upload":
            uploads.append((frame, message))
        elif port == "therapy.status":
            sent.append(message)

    device.spy = spy
    device.run(289)
    assert [upload.sequence for _, upload in uploads] == list(range(len(uploads)))
    assert {frame % 3 for frame, _ in uploads} == {0}
    records = [record for _, upload in uploads for record in msgspec.msgpack.decode(upload.chunk)]
    times = [value["at_min"] for port, value in records if port == "status"]
    assert times == [status.at_min for status in sent[: len(times)]]
    assert len(times) >= 286


def test_a_full_spool_drops_the_oldest_and_counts_them() -> None:
    device = Coupled(7)
    device.transfer._upload = lambda _window: None
    device.transfer.spool.extend([b"\x90"] * transfer.SPOOL_RECORDS_MAX)
    device.run(10)
    assert len(device.transfer.spool) == transfer.SPOOL_RECORDS_MAX
    assert device.transfer.dropped_records >= 9


def test_a_long_spool_goes_out_in_bounded_chunks() -> None:
    partition = transfer.Transfer(Setup("transfer", b"", FRAME_MS))
    partition.spool.extend(msgspec.msgpack.encode(("status", bytes(100))) for _ in range(500))
    chunk = partition._chunk()
    assert 3_900 < len(chunk) <= transfer.CHUNK_BYTES_MAX
    assert len(msgspec.msgpack.decode(chunk)) + len(partition.spool) == 500
