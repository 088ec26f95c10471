"""What a process on its way says is not believed until it is sealed: each odd sign of life is a failure, and no
descriptor that came with it stays open.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ipc_schemas import codec, links
from sandbox import stub
from sandbox.launcher import Nascent


@pytest.fixture
def pair() -> Iterator[tuple[Nascent, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(5.0)
    nascent = Nascent("odd", ours)
    yield nascent, theirs
    ours.close()
    theirs.close()
    if nascent.pidfd >= 0:
        os.close(nascent.pidfd)


@pytest.fixture
def child() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def say(theirs: socket.socket, sign: links.LifeSign | bytes, *descriptors: int) -> None:
    message = sign if isinstance(sign, bytes) else codec.encode(sign)
    socket.send_fds(theirs, [message], list(descriptors))
    for descriptor in descriptors:
        os.close(descriptor)


def descriptors_held() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_a_birth_with_the_pidfd_of_the_born_is_believed(
    pair: tuple[Nascent, socket.socket], child: int
) -> None:
    nascent, theirs = pair
    say(theirs, links.Born(child), os.pidfd_open(child))
    say(theirs, links.Stage("sealed"))
    nascent.pump()
    assert (nascent.pid, nascent.stages, nascent.failure) == (child, ["born", "sealed"], "")


@pytest.mark.parametrize("kind", ["another's pidfd", "no pidfd", "with a stage", "born twice", "two"])
def test_a_descriptor_that_is_not_the_pidfd_of_the_born_is_closed_and_a_failure(
    kind: str, pair: tuple[Nascent, socket.socket], child: int
) -> None:
    nascent, theirs = pair
    if kind == "born twice":
        say(theirs, links.Born(child), os.pidfd_open(child))
        nascent.pump()
    before, pidfd = descriptors_held(), nascent.pidfd
    sign: links.LifeSign = links.Stage("bound") if kind == "with a stage" else links.Born(child)
    sent = [os.pidfd_open(os.getpid() if kind == "another's pidfd" else child)]
    if kind == "no pidfd":
        os.close(sent.pop())
        sent = [os.open("/dev/null", os.O_RDONLY)]
    if kind == "two":
        sent.append(os.pidfd_open(child))
    say(theirs, sign, *sent)
    nascent.pump()
    # Room is made for one descriptor; the kernel closes any other.
    assert (nascent.failure == "") == (kind == "two")
    if kind != "two":
        assert nascent.failure == "odd: descriptors that nobody asked for"
        assert nascent.pidfd == pidfd
        assert descriptors_held() == before


@pytest.mark.parametrize(
    ("sign", "failure"),
    [
        (links.Born(1), "odd: born twice, or without a descriptor"),
        (links.Failed("odd: it could not"), "odd: it could not"),
        (b"\xc1", "odd: an unreadable sign of life"),
        (b"", "odd: it died before it was ready"),
    ],
)
def test_an_odd_sign_of_life_is_a_failure(
    sign: links.LifeSign | bytes, failure: str, pair: tuple[Nascent, socket.socket]
) -> None:
    nascent, theirs = pair
    say(theirs, sign)
    nascent.pump()
    assert nascent.failure.startswith(failure)
    assert nascent.stages == []


def test_go_closes_the_way_back(pair: tuple[Nascent, socket.socket]) -> None:
    nascent, theirs = pair
    nascent.go()
    assert [theirs.recv(16), theirs.recv(16)] == [b"go", b""]


def test_a_launch_that_is_abandoned_is_killed(pair: tuple[Nascent, socket.socket], child: int) -> None:
    nascent, theirs = pair
    say(theirs, links.Born(child), os.pidfd_open(child))
    nascent.pump()
    nascent.abandon()
    assert select.select([nascent.pidfd], [], [], 5.0)[0]
    assert theirs.recv(1) == b""


def test_an_images_own_files_come_before_whatever_else_is_installed_beside_the_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where all of Bulkhead was installed, a partition without walls imported ``faults`` from there, not its own."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(sys, "path", ["/image/lib"])
    cell = stub.Cell.__new__(stub.Cell)
    cell.image_root, cell._walls, cell._life = "/image", frozenset(), theirs
    with ours:
        ours.send(b"go")
        cell.seal()
    assert sys.path == ["/image/lib", "/image/app"]  # packages are found by name: ipc_schemas.interpreter
