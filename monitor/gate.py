"""A gate: the disposable, confined process that ends one partition's ZeroMQ connection and judges its bytes.

libzmq can be crashed or inflated below any schema (docs/adr/0002), so the process that owns verdicts never reads
what a partition sends; this one does, and may die of it. It holds one PAIR socket towards its partition and one
socketpair towards the monitor. For each window it passes the inputs on, judges what comes back until the partition
closes the window, the budget is over or a fatal event occurs, and reports what it admitted, re-encoded.
"""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import zmq

from ipc_schemas import codec, links, wire
from monitor import judge

_DETAILS_MAX = 64
#: A window is reported in pieces of about this size, so that with one more batch and the exhibits a piece still fits.
_PIECE_BYTES = links.REPORT_BYTES_MAX // 2 - links.EXHIBIT_BYTES_PER_WINDOW_MAX
_ORDER_BYTES_MAX = links.PIECE_BYTES_MAX + 64
#: How old the time-out of a receive may become while messages come in: setting it for each would cost as much as
#: judging one, and libzmq counts whole milliseconds.
_TIMEOUT_AGE_S = 0.001


def main(cell: Any) -> None:
    """Serve one life of one partition. ``cell`` is the sandbox's ``Cell``."""
    contract = codec.Codec(links.GateContract).decode_loosely(cell.payload.config)
    schemas = importlib.import_module(contract.schemas)
    types = {port.message: getattr(schemas, port.message) for port in contract.ports}
    link = socket.socket(fileno=cell.link_fd)
    channel = _await_peer(cell, contract)
    cell.seal()
    gate = Gate(contract, judge.Judge(contract, types), channel, link)
    if contract.partition != wire.WORLD:
        gate.await_ready()
    gate.serve()


def _await_peer(cell: Any, contract: links.GateContract) -> zmq.Socket[bytes]:
    """Bind, let exactly one peer connect, greet it, and take the socket's name away so that nobody can follow."""
    options = {"sndtimeo": 5_000, "rcvhwm": 1_024, "sndhwm": 16}
    if "size" in contract.walls:
        options["maxmsgsize"] = contract.endpoint_bytes_max
    channel: zmq.Socket[bytes] = cell.pair(**options)
    channel.bind(cell.endpoint)
    cell.tell("bound")
    channel.send(contract.hello)
    if "peer" in contract.walls:
        os.unlink(cell.socket_path)  # not unbind: libzmq would drop the peer with the listener
    return channel


class _Row:
    """Messages refused alike: the first one's detail, how many, and those that are kept."""

    __slots__ = ("count", "detail", "exhibits")

    def __init__(self, detail: str) -> None:
        self.detail = detail
        self.count = 0
        self.exhibits: list[links.Exhibit] = []


class Gate:
    """The loop of a gate. Between windows it keeps what its judge keeps, whether the last window was lost, and
    whether the partition has said that it is ready."""

    def __init__(
        self, contract: links.GateContract, mind: judge.Judge, channel: zmq.Socket[bytes], link: socket.socket
    ) -> None:
        self._mind = mind
        self._channel = channel
        self._link = link
        self._fatal = frozenset(contract.fatal)
        self._budget_s = contract.budget_ms / 1000
        self._orders = codec.Codec(links.Open)
        self._was_lost = False
        self._is_late = False
        self._batches: dict[int, list[bytes]] = {}
        self._bytes = 0
        self._pieces: list[bytes] = []
        self._refusals: dict[tuple[int, str, str], _Row] = {}
        self._reported: dict[int, int] = {}  # messages of this window that went in an earlier piece, by port
        self._exhibit_bytes = 0

    def await_ready(self) -> None:
        """Let the partition's code begin: it may import and prepare, but send nothing before its first window."""
        ended_by = self._gather(links.READY_FRAME, links.START_BUDGET_MS / 1000, self._judge_early)
        self._is_late = self._was_lost = ended_by == judge.WINDOW_OVERRUN
        self._report(links.READY_FRAME, is_last=True, ended_by=ended_by)

    def _judge_early(self, message: bytes) -> judge.Verdict:
        """What the judge says, but that nothing is due yet: what it would admit is out of sequence."""
        verdict = self._mind.judge(message)
        if isinstance(verdict, judge.Admitted | judge.Run):
            return judge.Refused(verdict.port, judge.BAD_SEQUENCE, "early", "sent before the first window")
        return verdict

    def serve(self) -> None:
        """One window after another, until the monitor closes the link."""
        # One buffer for all orders: a fresh one of that size for each would be mapped and unmapped every time.
        buffer = memoryview(bytearray(_ORDER_BYTES_MAX))
        while True:
            length = self._link.recv_into(buffer)
            if not length:
                return
            order = self._orders.decode_loosely(buffer[:length])
            self._pieces.append(order.opened)
            if not order.is_last:
                continue
            self._mind.open_window(order.frame, was_lost=self._was_lost)
            ended_by = self._window(order)
            self._was_lost = ended_by == judge.WINDOW_OVERRUN
            self._report(order.frame, is_last=True, ended_by=ended_by)

    def _window(self, order: links.Open) -> str:
        """Pass the inputs on and judge the outputs. Returns the event that ended the window early, or nothing."""
        opened = order.opened if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        try:
            self._channel.send(opened, zmq.NOBLOCK)
        except zmq.Again:
            return judge.WINDOW_OVERRUN  # the partition does not read: it has lost this window
        return self._gather(order.frame, self._budget_s, self._mind.judge)

    def _gather(self, frame: int, budget_s: float, mind: Callable[[bytes], judge.Verdict]) -> str:
        """Judge what comes until the window is closed. Returns the event that ended it early, or nothing.

        It ends within two milliseconds of its budget, whenever the last message came.
        """
        receive = self._channel.recv
        now_s = time.monotonic()
        deadline_s = now_s + budget_s
        renew_s = now_s
        while True:
            if now_s >= renew_s:
                self._channel.rcvtimeo = int((deadline_s - now_s) * 1000) + 1
                renew_s = now_s + _TIMEOUT_AGE_S
            try:
                message = receive()
                verdict = mind(message)
            except zmq.Again:
                return judge.WINDOW_OVERRUN
            if type(verdict) is judge.Admitted:
                self._admit(frame, verdict)
            elif type(verdict) is judge.Run:
                self._admit_run(frame, verdict)
            elif type(verdict) is judge.Closed:
                if frame or not self._is_late:
                    return ""
                self._is_late = False  # of frame 0, too, but no window's end: only now is it ready
            elif type(verdict) is judge.Refused:
                fatal = self._refuse(verdict, message)
                if fatal:
                    return fatal
            now_s = time.monotonic()
            if now_s > deadline_s:
                return judge.WINDOW_OVERRUN

    def _admit(self, frame: int, admitted: judge.Admitted) -> None:
        if len(admitted.payload) > links.REPORT_BYTES_MAX:  # only while the size wall is off
            self._refuse(
                judge.Refused(
                    admitted.port, judge.BAD_MESSAGE, "link", "larger than the monitor's link takes"
                ),
                admitted.payload,
            )
            return
        self._batches.setdefault(admitted.port, []).append(admitted.payload)
        self._count_bytes(frame, len(admitted.payload) + 8)

    def _admit_run(self, frame: int, run: judge.Run) -> None:
        self._batches.setdefault(run.port, []).extend(run.payloads)
        self._count_bytes(frame, sum(map(len, run.payloads)) + 8)

    def _count_bytes(self, frame: int, size: int) -> None:
        """Report in between when the next report would become too large."""
        self._bytes += size
        if self._bytes > _PIECE_BYTES:
            self._report(frame, is_last=False, ended_by="")

    def _refuse(self, refusal: judge.Refused, message: bytes) -> str:
        key = (refusal.port, refusal.event, refusal.reason)
        row = self._refusals.get(key)
        if row is None and len(self._refusals) < _DETAILS_MAX:
            row = self._refusals[key] = _Row(refusal.detail)
        if row is not None:
            row.count += 1
            if refusal.event and len(row.exhibits) < links.EXHIBITS_PER_ROW_MAX:
                self._keep(row, refusal.port, message)
        if refusal.event in self._fatal:
            return refusal.event
        if self._mind.exceeds_rejections(refusal) and judge.REJECTIONS_EXCEEDED in self._fatal:
            return judge.REJECTIONS_EXCEEDED
        return ""

    def _keep(self, row: _Row, port: int, message: bytes) -> None:
        """Keep a refused message beside its row if it still fits; the row counts it in any case."""
        size = links.exhibit_bytes(message)
        if self._exhibit_bytes + size > links.EXHIBIT_BYTES_PER_WINDOW_MAX:
            return
        self._exhibit_bytes += size
        place = self._reported.get(port, 0) + len(self._batches.get(port, ()))
        row.exhibits.append(links.Exhibit(place, message))

    def _report(self, frame: int, *, is_last: bool, ended_by: str) -> None:
        batches = tuple(
            links.Batch(port, len(payloads), codec.join_batch(payloads))
            for port, payloads in self._batches.items()
        )
        refusals = tuple(
            links.Refusal(port, event, reason, row.detail, row.count, tuple(row.exhibits))
            for (port, event, reason), row in self._refusals.items()
        )
        report = links.GateReport(frame, batches, refusals, is_last, ended_by)
        self._link.send(codec.encode(report))
        for port, payloads in self._batches.items():
            self._reported[port] = self._reported.get(port, 0) + len(payloads)
        if is_last:
            self._reported.clear()
            self._exhibit_bytes = 0
        self._batches.clear()
        self._refusals.clear()
        self._bytes = 0
