"""The template process: has the interpreter and libraries loaded, holds no secret, and forks confined
processes.

Run as ``python -m sandbox.template FD`` by the monitor. One request at a time comes over the socket ``FD``: a
``LaunchOrder`` and four descriptors. Each launch forks twice. The first child leaves the namespaces and is
gone when the second, the first process of the new ones, goes on: the kernel then hands the second to the
monitor (a child subreaper), which can watch, kill and reap it, and whose death kills it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys

from ipc_schemas import codec, links
from sandbox import cgroups, linux, namespaces, stub

_ORDERS: codec.Codec[links.LaunchOrder] = codec.Codec(links.LaunchOrder)
_DESCRIPTORS = 4


def main() -> None:
    """Serve launch orders until the monitor closes the socket or dies."""
    linux.die_with_parent()
    linux.set_name("bh-template")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    stub.warm_up()
    gc.collect()
    gc.freeze()
    try:
        control.send(b"ready")
    except BrokenPipeError:
        return  # the monitor was stopped before it could switch anything on
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1 << 16, _DESCRIPTORS)
        if not request:
            return
        try:
            _launch(_ORDERS.decode(request), descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _launch(order: links.LaunchOrder, descriptors: list[int]) -> None:
    """Fork the pair, map the ids between them, and wait until the first child is gone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first = os.fork()
    if first == 0:
        ours.close()
        _first_child(order, descriptors, theirs)
    theirs.close()
    try:
        if ours.recv(1) == b"u" and "userns" in order.walls:
            namespaces.write_id_map(first, order.outer_uid)
        ours.send(b"m")
    except OSError as error:
        ours.close()  # so that the first child gives up
        os.waitpid(first, 0)
        _tell(
            descriptors[0], links.Failed(f"{order.name}: the id map could not be written: {error.strerror}")
        )
        return
    os.waitpid(first, 0)
    with ours, contextlib.suppress(OSError):  # the process was killed meanwhile, or never came to be
        ours.send(b"a")


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
        _announce(life, child)
    except OSError as error:
        _tell(life, links.Failed(f"{order.name}: {error}"))
        os._exit(1)
    os._exit(0)


def _announce(life: int, child: int) -> None:
    """Hand the child's pidfd to the monitor; if it does not want it any more, there shall be no child."""
    pidfd = os.pidfd_open(child)
    with socket.socket(fileno=os.dup(life)) as channel:
        try:
            socket.send_fds(channel, [codec.encode(links.Born(child))], [pidfd])
        except BrokenPipeError:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _tell(life: int, sign: links.LifeSign) -> None:
    with socket.socket(fileno=os.dup(life)) as channel, contextlib.suppress(BrokenPipeError):
        channel.send(codec.encode(sign))


if __name__ == "__main__":
    main()
