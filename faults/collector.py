"""The attacker's server: TCP, UDP and an abstract Unix socket on this machine.

What arrives here has got out.
"""

from __future__ import annotations

import contextlib
import secrets
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from faults.seen import Received

BYTES_MAX = 1 << 20
CONNECTIONS_MAX = 64
_POLL_S = 0.05


class Collector:
    """A context manager with a thread of its own.

    Keeps ``BYTES_MAX`` bytes, counts the rest in ``dropped_bytes``.
    """

    def __init__(self) -> None:
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._abstract = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.abstract_name = f"bulkhead-collector-{secrets.token_hex(8)}"
        self._tcp.bind(("127.0.0.1", 0))
        self._udp.bind(("127.0.0.1", 0))
        self._abstract.bind("\0" + self.abstract_name)
        self.tcp_port: int = self._tcp.getsockname()[1]
        self.udp_port: int = self._udp.getsockname()[1]
        self.dropped_bytes = 0
        self._received: list[Received] = []
        self._kept_bytes = 0
        self._is_ending = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._serve, name="collector", daemon=True)

    def __enter__(self) -> Self:
        for listener, door in ((self._tcp, "tcp"), (self._abstract, "abstract")):
            listener.listen(16)
            self._selector.register(listener, selectors.EVENT_READ, ("accept", door))
        self._selector.register(self._udp, selectors.EVENT_READ, ("read", "udp"))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_ending.set()
        self._thread.join()

    def received(self) -> tuple[Received, ...]:
        """All that has arrived so far; after the ``with`` block also what was still on the way."""
        return tuple(self._received)

    def _serve(self) -> None:
        while not self._is_ending.is_set():
            self._turn(_POLL_S)
        while self._turn(0.0):  # what had arrived before the end still counts
            pass
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # only sockets are registered
        self._selector.close()

    def _turn(self, timeout_s: float) -> bool:
        events = self._selector.select(timeout_s)
        for key, _ in events:
            what, door = key.data
            link = key.fileobj
            assert isinstance(link, socket.socket)
            if what == "accept":
                self._accept(link, door)
            else:
                self._read(link, door)
        return bool(events)

    def _accept(self, listener: socket.socket, door: str) -> None:
        with contextlib.suppress(OSError):
            link, _ = listener.accept()
            if len(self._selector.get_map()) > CONNECTIONS_MAX:
                link.close()
                return
            self._selector.register(link, selectors.EVENT_READ, ("read", door))

    def _read(self, link: socket.socket, door: str) -> None:
        try:
            data = link.recv(65_536)
        except OSError:
            data = b""
        if data:
            room = BYTES_MAX - self._kept_bytes
            self.dropped_bytes += max(0, len(data) - room)
            if room > 0:
                self._received.append(Received(door, data[:room]))
                self._kept_bytes += len(data[:room])
        elif door != "udp":
            self._selector.unregister(link)
            link.close()
