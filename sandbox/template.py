"""The template process: has interpreter and libraries loaded, holds no secret, forks confined processes.

Started by the monitor, out of the monitor's own image. Requests come over the socket ``FD``, each a
``LaunchOrder`` and four descriptors. Each launch forks twice. The first child leaves the namespaces and is
gone when the second, the first process of the new ones, goes on: the kernel then hands the second to the
monitor (a child subreaper), which can watch, kill and reap it, and whose death kills it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

from ipc_schemas import codec, links
from sandbox import cgroups, linux, namespaces, stub

_ORDERS: codec.Codec[links.LaunchOrder] = codec.Codec(links.LaunchOrder)
_DESCRIPTORS = 4
#: How long what outlives its monitor stays when the ``lifeline`` wall is off.
LEFT_S_MAX = 60.0


@dataclass(slots=True)
class _Pending:
    """A launch whose first child still lives. ``sync`` is our end of the socket to the two children.

    ``untied`` holds a pidfd of the second once the first has handed it over, which it does without a lifeline.
    """

    order: links.LaunchOrder
    descriptors: list[int]
    first: int
    first_pidfd: int
    sync: socket.socket
    untied: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Let go of everything, here or in a forked child."""
        self.sync.close()
        for descriptor in (*self.descriptors, self.first_pidfd, *self.untied):
            os.close(descriptor)


class Template:
    """Serves orders side by side: joining a control group makes the kernel wait, and others need not."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pending: list[_Pending] = []

    def serve(self) -> None:
        """Until the monitor closes the socket."""
        while True:
            poll = select.poll()
            poll.register(self._control, select.POLLIN)
            for each in self._pending:
                poll.register(each.sync, select.POLLIN)
                poll.register(each.first_pidfd, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll()}
            for each in tuple(self._pending):
                # In this order: a child that is gone has said before what it had to say.
                if each.first_pidfd in ready:
                    self._finish(each)
                elif each.sync.fileno() in ready:
                    self._hear(each)
            if self._control.fileno() in ready and not self._take():
                return

    def _take(self) -> bool:
        """Take one order and fork its first child. Returns whether there are more to come."""
        try:
            request, descriptors, _, _ = socket.recv_fds(self._control, 1 << 16, _DESCRIPTORS)
        except ConnectionResetError:  # the monitor went before it had read that we are ready
            return False
        if not request:
            return False
        order = _ORDERS.decode(request)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        first = os.fork()
        if first == 0:
            # Another launch's life socket must not stay open in here: its end tells the monitor of a death.
            for other in self._pending:
                other.close()
            ours.close()
            _first_child(order, descriptors, theirs)
        theirs.close()
        ours.setblocking(False)
        self._pending.append(_Pending(order, descriptors, first, os.pidfd_open(first), ours))
        return True

    def _hear(self, each: _Pending) -> None:
        """What the first child says: that it has left its namespaces, or whom a watchman is to see to."""
        try:
            word, descriptors, _, _ = socket.recv_fds(each.sync, 1, 1)
        except (
            BlockingIOError,
            ConnectionResetError,
        ):  # killed with our answer unread: its pidfd will say so
            return
        each.untied += descriptors
        if word == b"u":
            self._map(each)

    def _map(self, each: _Pending) -> None:
        """Map the first child's ids, which has to be done from outside."""
        try:
            if "userns" in each.order.walls:
                namespaces.write_id_map(each.first, each.order.outer_uid)
            each.sync.send(b"m")
        except OSError as error:
            why = f"{each.order.name}: the id map could not be written: {error.strerror}"
            _tell(each.descriptors[0], links.Failed(why))
            each.sync.shutdown(socket.SHUT_RDWR)

    def _finish(self, each: _Pending) -> None:
        """The first child is gone: the second now belongs to the monitor, and may go on."""
        os.waitpid(each.first, 0)
        self._hear(each)
        for pidfd in each.untied:
            _watch(pidfd)
        with suppress(OSError):  # there is no second child
            each.sync.send(b"a")
        each.close()
        self._pending.remove(each)


def _watch(process: int) -> None:
    """Fork a watchman: whatever a process does to itself, it ends ``LEFT_S_MAX`` after the monitor has.

    ``process`` is its pidfd.
    """
    monitor = os.pidfd_open(os.getppid())
    if os.fork() != 0:
        os.close(monitor)
        return
    try:
        linux.set_name("bh-watchman")
        linux.close_descriptors_except((0, 1, 2, process, monitor))
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(monitor, select.POLLIN)
        if process not in {descriptor for descriptor, _ in poll.poll()}:
            poll.unregister(monitor)
            if not poll.poll(LEFT_S_MAX * 1_000):
                signal.pidfd_send_signal(process, signal.SIGKILL)
    finally:
        os._exit(0)


def main(descriptor: int) -> None:
    """Serve launch orders on this socket until the monitor closes it or dies."""
    linux.die_with_parent()
    linux.set_name("bh-template")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    warm_up()
    _serve(control)


def warm_up() -> None:
    """Load what every confined process needs, once, before the first fork."""
    stub.warm_up()
    gc.collect()
    gc.freeze()
    gc.enable()  # an image starts without


def become(control: socket.socket) -> NoReturn:
    """Be the template in a process just forked from one that is warm, has one thread and holds no secret."""
    linux.die_with_parent()
    linux.set_name("bh-template")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
    linux.close_descriptors_except((0, 1, 2, control.fileno()))
    try:
        _serve(control)
    finally:
        os._exit(0)


def _serve(control: socket.socket) -> None:
    with suppress(OSError):  # a monitor that is gone already shows in the first order that does not come
        control.send(b"ready")
    Template(control).serve()


def _first_child(order: links.LaunchOrder, descriptors: list[int], sync: socket.socket) -> None:
    """Join the control groups, leave the namespaces, fork the real process, report it, and exit."""
    walls = frozenset(order.walls)
    life = descriptors[0]
    try:
        cgroups.join(order.cgroups)
        flags = namespaces.clone_flags(walls)
        if flags:
            linux.unshare(flags)
        sync.send(b"u")
        if sync.recv(1) != b"m":
            os._exit(1)
        child = os.fork()
        if child == 0:
            stub.run(order, descriptors, sync)
            os._exit(0)
        pidfd = os.pidfd_open(child)
        if "lifeline" not in walls:
            socket.send_fds(sync, [b"w"], [pidfd])
        _announce(life, child, pidfd)
    except OSError as error:
        _tell(life, links.Failed(f"{order.name}: {error}"))
        os._exit(1)
    os._exit(0)


def _announce(life: int, child: int, pidfd: int) -> None:
    """Hand the child's pidfd to the monitor; if it does not want it any more, there shall be no child."""
    with socket.socket(fileno=os.dup(life)) as channel:
        try:
            socket.send_fds(channel, [codec.encode(links.Born(child))], [pidfd])
        except BrokenPipeError:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _tell(life: int, sign: links.LifeSign) -> None:
    """Say it to the monitor, unless it has given up this launch and closed its end."""
    with socket.socket(fileno=os.dup(life)) as channel, suppress(BrokenPipeError):
        channel.send(codec.encode(sign))


if __name__ == "__main__":
    main(int(sys.argv[1]))
