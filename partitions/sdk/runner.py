"""Runs a partition's code: connects the channel, seals the cell, then calls the code once per window."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import zmq

from ipc_schemas import codec, wire
from ipc_schemas.window import Ports, Setup, Window

_HELLO_TIMEOUT_MS = 5_000


class Link:
    """The partition's end of its channel."""

    def __init__(self, socket: zmq.Socket[bytes], hello: wire.Hello) -> None:
        self.socket = socket
        self.partition = hello.partition
        self.epoch = hello.epoch
        self.frame = 0
        self.sequence = 0

    def receive(self) -> bytes:
        """Block until the gate opens a window."""
        return self.socket.recv()

    def emit(self, port: int, payload: bytes) -> None:
        """Send one message on a port."""
        head = wire.HEADER.pack(self.partition, port, self.epoch, self.frame, self.sequence)
        self.sequence += 1
        self.socket.send(head + payload)

    def close_window(self) -> None:
        """Tell the gate that this window's work is done."""
        self.emit(wire.PORT_CLOSE, b"")


def main(cell: Any) -> None:
    """Live one life. ``cell`` is the sandbox's ``Cell``. Exceptions of partition code end the process."""
    socket: zmq.Socket[bytes] = cell.pair(rcvtimeo=_HELLO_TIMEOUT_MS, sndhwm=0, rcvhwm=16)
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
    opens = codec.Codec(wire.WindowOpen)
    while True:
        opened = opens.decode_loosely(link.receive())
        link.frame = opened.frame
        code.window(Window(ports, opened, link.emit))
        sys.stderr.flush()
        link.close_window()
