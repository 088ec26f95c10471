"""The power supply: switches a secure element on, and a device through its chain of trust; starts it again on a reset.

It is hardware. The element is a process that lives as long as its socket; ROM is a process that becomes the bootloader
and then the monitor, in the same place.
"""

from __future__ import annotations

import os
import site
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boot import image
from ipc_schemas import codec, interpreter
from ipc_schemas.release import Handover
from sandbox import walls

_ROOT = Path(__file__).resolve().parent.parent
_ELEMENT = (
    "import sys; from boot.element_process import main; "
    "main(int(sys.argv[1]), sys.argv[2], frozenset(sys.argv[3:]))"
)
_GONE_S_MAX = 5.0


@contextmanager
def element(folder: Path, without: frozenset[str] = frozenset()) -> Iterator[socket.socket]:
    """An element's end of its socket. At the end of the block its power goes.

    ``without`` are walls that an experiment leaves out.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-s",
                    "-c",
                    _ELEMENT,
                    str(theirs.fileno()),
                    str(folder),
                    *sorted(without & walls.TRUST_WALL_NAMES),
                ],
                pass_fds=(theirs.fileno(),),
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield ours
        finally:
            ours.close()
            try:
                process.wait(_GONE_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of what a device is talked to on; each holds a frame's worth of notes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    return ours, theirs


def packages_folder() -> str:
    """Where this interpreter's packages are installed."""
    return next(path for path in site.getsitepackages() if os.path.isdir(f"{path}/msgspec"))


def switch_on(
    rom: Path,
    flash: Path,
    link: socket.socket,
    control: socket.socket,
    command: str,
    without: frozenset[str] = frozenset(),
    permission: bytes = b"",
) -> subprocess.Popen[bytes]:
    """ROM, started. It has the element on ``link`` and talks on ``control``; both ends stay the caller's to close.

    ``permission`` is what lies at the service connector.
    """
    handover = Handover(
        str(flash),
        packages_folder(),
        link.fileno(),
        control.fileno(),
        command,
        permission,
        tuple(sorted(without)),
    )
    paper = image.sealed(codec.encode(handover))
    needed = ",".join([str(control.fileno()), *({"platform"} & without)])
    try:
        return subprocess.Popen(
            [
                sys.executable,
                *interpreter.FLAGS,
                str(rom),
                handover.packages,
                needed,
                str(paper.descriptor),
                command,
            ],
            pass_fds=(link.fileno(), control.fileno(), paper.descriptor),
            cwd="/",
            env=interpreter.ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        paper.close()
