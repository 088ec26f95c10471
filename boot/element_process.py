"""The secure element as a process: its rules and cells behind one end of a socket. Its start is its power-on.

It ends when the other end is closed: that is the power going. Nothing else resets it, so that what a boot has closed
stays closed until the power supply, which is whoever starts this process, begins another.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable

from boot import cells, process
from boot.chip import Chip
from boot.refusal import Refused
from ipc_schemas import codec, element

_NAME = "bh-element"
_NONCE_BYTES = 32


def make_blank(folder: str | os.PathLike[str]) -> None:
    """Make a new element in ``folder``, which is made if it is not there. Raises ``Refused`` if one is, or was."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    disk = cells.Disk(folder)
    try:
        cells.make_blank(disk)
    finally:
        disk.close()


def main(fd: int, folder: str, without: frozenset[str] = frozenset()) -> None:
    """Be the element in ``folder`` for whoever holds the other end of the SEQPACKET socket ``fd``.

    ``without`` are walls that an experiment leaves out.

    An element whose cells are not whole lives, and answers every request with the reason.
    """
    process.close_memory(_NAME)  # the device secret will be in it
    with socket.socket(fileno=fd) as link:
        try:
            chip = Chip(cells.Cells(cells.Disk(folder)), os.urandom(_NONCE_BYTES), without)
        except Refused as refusal:
            _serve(link, _always(refusal))
        except OSError as error:
            _serve(link, _always(_broken(error)))
        else:
            _serve(link, chip.answer, then=chip.prepare)


def _always(refusal: Refused) -> Callable[[bytes], bytes]:
    answer = codec.encode(element.Denied(refusal.sentence, refusal.remedy))
    return lambda _: answer


def _broken(error: OSError) -> Refused:
    sentence = f"the secure element's cells cannot be read or written ({error.strerror})"
    return Refused(
        "element", sentence, "the device stays in its safe state: see to the disk, and start again"
    )


def _serve(
    link: socket.socket, answer: Callable[[bytes], bytes], then: Callable[[], None] = lambda: None
) -> None:
    """One answer to each request, until the other end is closed or a change has failed half-way.

    ``then`` is done after each answer: ROM reads the facts, and has other things to do for a while.
    """
    with contextlib.suppress(ConnectionError):
        while True:
            request = link.recv(element.MESSAGE_BYTES_MAX + 1)
            if not request and _is_closed(link):
                return
            try:
                link.send(answer(request))
                then()
            except ConnectionError:
                return
            except OSError as error:  # what lies on the disk is unknown now: only a new start may read it
                link.send(_always(_broken(error))(request))
                return


def _is_closed(link: socket.socket) -> bool:
    """Whether nothing came because nobody is there; an empty message looks the same to ``recv``."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))
