"""The player: takes the place of a partition and sends what a journal says it sent, in the same frames, and no more.

Its image holds ``recording.msgpack``: a list of (frame, port name, encoded messages).
"""

from __future__ import annotations

from pathlib import Path

from ipc_schemas import codec
from partitions.sdk import Partition, Setup, Window


class Player(Partition):
    """Plays a recording through the ports that it was recorded at."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._parts: dict[int, list[tuple[str, list[bytes]]]] = {}
        for frame, port, payloads in codec.decode_any(
            (Path(__file__).parent / "recording.msgpack").read_bytes()
        ):
            self._parts.setdefault(frame, []).append((port, payloads))

    def window(self, window: Window) -> None:
        """Send this frame's messages."""
        for port, payloads in self._parts.pop(window.frame, ()):
            for payload in payloads:
                window.send_encoded(port, payload)
