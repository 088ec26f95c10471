"""What our figures stand beside: a proxy without checks, a child without walls, an import without a device.

Each peer runs in processes of its own: ``python -m benchmarks.peers ROLE ...`` is one of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zmq

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 60.0
IMPORTS = "import zmq, msgspec"


class PeerFailed(Exception):
    """A peer could not be measured; the sentence says why."""


# --- C zmq.proxy ---


def proxied_per_s(message_bytes: int, count: int) -> float:
    """Messages of ``message_bytes`` per second from one process through ``zmq.proxy`` to another."""
    with tempfile.TemporaryDirectory(prefix="bh-peer-", dir="/tmp") as folder:
        proxy = _start("proxy", folder)
        sender = _start("sender", folder, str(message_bytes), str(count))
        receiver = _start("receiver", folder, str(count))
        try:
            said, _ = receiver.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"zmq.proxy did not pass {count} messages within {TIMEOUT_S:.0f} s") from None
        finally:
            for process in (proxy, sender, receiver):
                process.kill()
                process.communicate()
    return float(said)


def _start(role: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.peers", role, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _proxy(folder: str) -> None:
    context = zmq.Context()
    front, back = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    front.bind(f"ipc://{folder}/front")
    back.bind(f"ipc://{folder}/back")
    zmq.proxy(front, back)


def _sender(folder: str, message_bytes: str, count: str) -> None:
    channel = zmq.Context().socket(zmq.PAIR)
    channel.connect(f"ipc://{folder}/front")
    message, send = bytes(int(message_bytes)), channel.send
    for _ in range(int(count)):
        send(message)
    signal.pause()  # until killed: closing would have to wait for the last message


def _receiver(folder: str, count: str) -> None:
    """Times all but the first tenth, in which connections are still being made."""
    channel = zmq.Context().socket(zmq.PAIR)
    channel.connect(f"ipc://{folder}/back")
    receive, skipped = channel.recv, int(count) // 10
    for _ in range(skipped):
        receive()
    started_s = time.perf_counter()
    for _ in range(int(count) - skipped):
        receive()
    sys.stdout.write(str((int(count) - skipped) / (time.perf_counter() - started_s)))


# --- plain SIGKILL + wait ---


def plain_kills_ms(count: int) -> list[float]:
    """How long SIGKILL and wait take for each of ``count`` unconfined children with the same libraries."""
    process = _start("killer", str(count))
    try:
        said, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"{count} plain children were not killed within {TIMEOUT_S:.0f} s") from None
    finally:
        process.kill()
        process.communicate()
    return [float(line) for line in said.split()]


def _killer(count: str) -> None:
    for _ in range(int(count)):
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            channel = zmq.Context(io_threads=1).socket(zmq.PAIR)
            os.write(writable, b"r")
            signal.pause()
            channel.close()
            os._exit(0)
        os.read(readable, 1)
        started_s = time.perf_counter()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        sys.stdout.write(f"{(time.perf_counter() - started_s) * 1000}\n")
        os.close(readable)
        os.close(writable)


# --- one import ---


def import_ms() -> float:
    """One ``python -c "import zmq, msgspec"``, from start to end."""
    started_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return (time.perf_counter() - started_s) * 1000


_ROLES: dict[str, Callable[..., None]] = {
    "proxy": _proxy,
    "sender": _sender,
    "receiver": _receiver,
    "killer": _killer,
}

if __name__ == "__main__":
    _ROLES[sys.argv[1]](*sys.argv[2:])
