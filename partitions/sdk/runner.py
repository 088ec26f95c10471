"""Runs a partition's code: connects the channel, seals the cell, then calls the code once per window."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import zmq

from ipc_schemas import codec, wire
from ipc_schemas.window import Ports, Setup, Window

_HELLO_TIMEOUT_MS = 5_000
#: What fits one batch, the head of its array left out.
_PILE_BYTES_MAX = wire.BATCH_BYTES_MAX - 5


class Link:
    """The partition's end of its channel."""

    def __init__(self, socket: zmq.Socket[bytes], hello: wire.Hello) -> None:
        self.socket = socket
        self.partition = hello.partition
        self.epoch = hello.epoch
        self.frame = 0
        self.sequence = 0
        self._sent: dict[int, int] = {}
        self._pile: list[bytes] = []
        self._pile_port = 0
        self._pile_bytes = 0

    def receive(self) -> bytes:
        """Block until the gate opens a window."""
        return self.socket.recv()

    def emit(self, port: int, payload: bytes) -> None:
        """Send one message on a port: at once, or in a batch when many have gone before it in this window."""
        sent = self._sent[port] = self._sent.get(port, 0) + 1
        if sent <= wire.SINGLES_MAX:
            self._send(port, payload)
            return
        if port != self._pile_port or self._pile_bytes + len(payload) > _PILE_BYTES_MAX:
            self._send_pile()
            self._pile_port = port
        self._pile.append(payload)
        self._pile_bytes += len(payload)

    def _send_pile(self) -> None:
        pile = self._pile
        if len(pile) == 1:
            self._send(self._pile_port, pile[0])
        elif pile:
            self._send(self._pile_port | wire.BATCH, codec.join_batch(pile))
        self._pile, self._pile_bytes = [], 0

    def _send(self, port: int, payload: bytes) -> None:
        head = wire.HEADER.pack(self.partition, port, self.epoch, self.frame, self.sequence)
        self.sequence += 1
        self.socket.send(head + payload)

    def close_window(self) -> None:
        """Tell the gate that this window's work is done."""
        self._send_pile()
        self._sent.clear()
        self._send(wire.PORT_CLOSE, b"")


def main(cell: Any) -> None:
    """Live one life. ``cell`` is the sandbox's ``Cell``. Exceptions of partition code end the process."""
    socket: zmq.Socket[bytes] = cell.pair(rcvtimeo=_HELLO_TIMEOUT_MS, sndhwm=0, rcvhwm=16)
    cell.await_gate()
    socket.connect(cell.endpoint)
    hello = codec.Codec(wire.Hello).decode(socket.recv())
    socket.rcvtimeo = -1
    cell.seal()
    schemas_name, recheck, config = codec.decode_any(cell.payload.config)
    ports = Ports(hello, importlib.import_module(schemas_name), recheck=recheck)
    module_name, _, class_name = cell.payload.entry.partition(":")
    program = getattr(importlib.import_module(module_name), class_name)
    code = program(Setup(cell.name, config, hello.frame_ms))
    link = Link(socket, hello)
    link.close_window()  # ready: nothing before the first window counts against its budget
    opens = codec.Codec(wire.WindowOpen)
    while True:
        opened = opens.decode_loosely(link.receive())
        link.frame = opened.frame
        code.window(Window(ports, opened, link.emit))
        sys.stderr.flush()
        link.close_window()
