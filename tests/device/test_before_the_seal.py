"""Nothing of a partition author's runs before the seal, and a process that is not sealed is not believed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc_schemas import codec, links
from sandbox import inventory
from sandbox.launcher import Nascent
from world.factory import packing


@pytest.mark.parametrize(
    "name", ["partitions/sdk/runner.py", "ipc_schemas/codec.py", "monitor.py", "design_schemas.py"]
)
def test_an_image_may_not_bear_the_names_of_our_modules(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("print('mine')\n")
    with pytest.raises(packing.ImageError, match="bears the name of a module of Bulkhead's"):
        packing.partition_files(tmp_path, {})


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    code = """import os, sys, time
if os.fork() == 0:
    time.sleep(60)
sys.stdout.write("up\\n")
sys.stdout.flush()
os.wait()
"""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_child_hidden_before_the_seal_is_a_hole(child: subprocess.Popen[bytes]) -> None:
    expected = inventory.Expected(frozenset(), os.geteuid(), False, False, 32, ())
    found = inventory.differences(child.pid, expected)
    assert any("processes of its own" in line for line in found), found


@pytest.fixture
def pair() -> Iterator[tuple[Nascent, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield Nascent("rogue", ours), theirs


def test_a_birth_without_a_descriptor_is_a_failed_launch(pair: tuple[Nascent, socket.socket]) -> None:
    nascent, rogue = pair
    rogue.send(codec.encode(links.Born(1)))
    nascent.pump()
    assert "born twice, or without a descriptor" in nascent.failure


def test_a_birth_with_another_descriptor_than_its_pidfd_is_a_failed_launch(
    pair: tuple[Nascent, socket.socket],
) -> None:
    nascent, rogue = pair
    with open(os.devnull) as null:
        socket.send_fds(rogue, [codec.encode(links.Born(os.getpid()))], [null.fileno()])
    nascent.pump()
    assert "descriptors that nobody asked for" in nascent.failure
    assert nascent.pidfd == -1


def test_a_second_birth_is_a_failed_launch(pair: tuple[Nascent, socket.socket]) -> None:
    nascent, rogue = pair
    handle = os.pidfd_open(os.getpid())
    try:
        for _ in range(2):
            socket.send_fds(rogue, [codec.encode(links.Born(os.getpid()))], [handle])
        nascent.pump()
    finally:
        os.close(handle)
    assert nascent.failure
    os.close(nascent.pidfd)


@pytest.mark.parametrize("junk", [b"\xff\xff", b"\x00", b"\x93", b"x" * 4096])
def test_an_unreadable_sign_of_life_is_a_failed_launch(
    pair: tuple[Nascent, socket.socket], junk: bytes
) -> None:
    nascent, rogue = pair
    rogue.send(junk)
    nascent.pump()
    assert "unreadable" in nascent.failure
