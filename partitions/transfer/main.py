"""The transfer partition (class A, networked): it carries what therapy publishes out, and requests in.

It keeps a bounded spool in memory, uploads it in chunks, hands signed target requests to therapy unread, and
relays the wearable. Nothing here decides anything about treatment; all of it may be lost or hostile.
"""

from __future__ import annotations

from collections import deque

import msgspec

from ipc_schemas.insulin_pump import Upload
from partitions.sdk import Partition, Setup, Window

SPOOL_RECORDS_MAX = 2_016  # a week of statuses
CHUNK_BYTES_MAX = 4_096
CHUNKS_PER_FRAME_MAX = 4
UPLOAD_EVERY_FRAMES = 3
REQUESTS_PER_FRAME_MAX = 2
#: The frame of a MessagePack array of up to 65,535 items.
_ARRAY_HEAD_BYTES = 3


class Transfer(Partition):
    """``spool`` holds encoded records, oldest first; when it is full the oldest is dropped and counted."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.spool: deque[bytes] = deque()
        self.dropped_records = 0
        self._sequence = 0
        self._seen_min = {"status": -1, "settings": -1}
        self._requests: deque[msgspec.Struct] = deque(maxlen=2 * REQUESTS_PER_FRAME_MAX)

    def window(self, window: Window) -> None:
        """Collect, relay, and every third frame upload."""
        for port in ("status", "settings"):
            self._collect(window, port)
        self._requests.extend(window.received("outside_requests"))
        for _ in range(min(REQUESTS_PER_FRAME_MAX, len(self._requests))):
            window.send("target_request", self._requests.popleft())
        hint = window.latest("wearable")
        if hint is not None and hint.is_fresh:
            window.send("activity", hint.value)
        if window.frame % UPLOAD_EVERY_FRAMES == 0:
            self._upload(window)

    def _collect(self, window: Window, port: str) -> None:
        sample = window.latest(port)
        if sample is None or sample.value.at_min <= self._seen_min[port]:
            return
        self._seen_min[port] = sample.value.at_min
        if len(self.spool) >= SPOOL_RECORDS_MAX:
            self.spool.popleft()
            self.dropped_records += 1
        self.spool.append(msgspec.msgpack.encode((port, sample.value)))

    def _upload(self, window: Window) -> None:
        for _ in range(CHUNKS_PER_FRAME_MAX):
            chunk = self._chunk()
            if not chunk:
                return
            window.send("upload", Upload(sequence=self._sequence, chunk=chunk))
            self._sequence = (self._sequence + 1) & 0xFFFF_FFFF

    def _chunk(self) -> bytes:
        """A MessagePack array of the oldest records that fit; empty when the spool is."""
        records: list[msgspec.Raw] = []
        room = CHUNK_BYTES_MAX - _ARRAY_HEAD_BYTES
        while self.spool and len(self.spool[0]) <= room:
            record = self.spool.popleft()
            room -= len(record)
            records.append(msgspec.Raw(record))
        return msgspec.msgpack.encode(records) if records else b""
