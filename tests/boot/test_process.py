"""Every stage's process is closed before it reads its handover, and takes no handover that others could change."""

from __future__ import annotations

import functools
import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boot import element_process, image
from ipc_schemas import codec, interpreter, links
from ipc_schemas.release import Handover
from sandbox import linux
from world import devices, leftovers, power
from world.factory import platforms

CAP_SYS_PTRACE = 19
PATIENCE_S = 30.0
#: Each stage's image, as what each is told to be, and whether it has a secret to keep.
STAGES: dict[str, tuple[Callable[[], bytes], str, bool]] = {
    "rom": (platforms.rom, links.MONITOR, True),
    "bootloader": (lambda: devices.stage_images()["bootloader"].content, links.MONITOR, True),
    "monitor": (lambda: devices.stage_images()["monitor"].content, links.MONITOR, True),
    "nursery": (lambda: devices.stage_images()["monitor"].content, links.NURSERY, False),
}


def _without_ptrace() -> None:
    """Root may look into everything; without this right it may look into what an ordinary user's own may be.

    And whoever starts a stage may allow core files.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    if os.geteuid() == 0:
        linux.prctl(linux.PR_CAPBSET_DROP, CAP_SYS_PTRACE)


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started may not look into closed processes, so that others may look into it as far as it is open."""
    started = functools.partial(subprocess.Popen, preexec_fn=_without_ptrace)
    monkeypatch.setattr(subprocess, "Popen", started)


def _handover(folder: Path, element: socket.socket, control: socket.socket, command: str) -> bytes:
    return codec.encode(
        Handover(str(folder), power.packages_folder(), element.fileno(), control.fileno(), command)
    )


def _arguments(name: str, program: Path, control: socket.socket, paper: int) -> list[str]:
    """How a stage is started by itself. ROM is told who switched it on, the others what was measured before."""
    told = str(control.fileno()) if name == "rom" else ",".join(platforms.parts().monitor)
    start = [sys.executable, *interpreter.FLAGS, str(program), power.packages_folder(), told]
    return [*start, str(paper), STAGES[name][1]]


@contextmanager
def waiting(name: str) -> Iterator[tuple[int, bytes]]:
    """The process id of a stage that has read its handover, and asks an element that does not answer; what it asked."""
    build, command, _ = STAGES[name]
    element, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control, theirs = power.control_pair()
    with leftovers.owned() as folder, element, control:
        (folder / "image").write_bytes(build())
        with its, theirs:
            paper = image.sealed(_handover(folder, its, theirs, command))
            process = subprocess.Popen(
                _arguments(name, folder / "image", theirs, paper.descriptor),
                pass_fds=(its.fileno(), theirs.fileno(), paper.descriptor),
                env=interpreter.ENVIRONMENT,
            )
            paper.close()
        try:
            assert select.select([element], [], [], PATIENCE_S)[0], "it has asked its element nothing"
            yield process.pid, element.recv(1 << 16)
        finally:
            element.close()
            process.kill()
            process.wait()


def _is_open(pid: int) -> bool:
    """Whether another process of the same user may read its memory (man 2 ptrace, access mode checks)."""
    look = f"open('/proc/{pid}/mem', 'rb').close()"
    done = subprocess.run([sys.executable, "-S", "-c", look], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


def _core_bytes_max(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4]


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_holds_a_secret_is_closed_and_leaves_no_core(name: str) -> None:
    _, _, keeps_secret = STAGES[name]
    with waiting(name) as (pid, asked):
        assert asked
        assert Path(f"/proc/{pid}/comm").read_text().strip() == f"bh-{name}"[:15]
        # A nursery's monitors are forked from it, and what they fork has to be able to map its ids.
        assert _is_open(pid) is not keeps_secret
        assert (_core_bytes_max(pid) == "0") is (
            keeps_secret or resource.getrlimit(resource.RLIMIT_CORE)[1] == 0
        )


@pytest.mark.usefixtures("unprivileged")
def test_the_secure_element_is_closed_too(tmp_path: Path) -> None:
    element_process.make_blank(tmp_path / "element")
    with power.element(tmp_path / "element") as link:
        link.send(codec.encode({"command": "readfacts"}))
        assert link.recv(1 << 16)
        (pid,) = [one for one in _children() if Path(f"/proc/{one}/comm").read_text() == "bh-element\n"]
        assert not _is_open(pid)
        assert _core_bytes_max(pid) == "0"


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.mark.parametrize("name", ["rom", "bootloader", "monitor", "nursery"])
@pytest.mark.parametrize("fault", ["not sealed", "not whole"])
def test_a_handover_that_is_not_sealed_or_not_whole_is_refused_in_a_sentence(
    name: str, fault: str, tmp_path: Path
) -> None:
    """Seen: a traceback."""
    build, command, _ = STAGES[name]
    program = tmp_path / "image"
    program.write_bytes(build())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        content = _handover(tmp_path, theirs, theirs, command)
        if fault == "not sealed":
            paper = os.memfd_create("handover")
            os.write(paper, content)
        else:
            paper = image.sealed(content[:-1]).descriptor
        done = subprocess.run(
            _arguments(name, program, theirs, paper),
            pass_fds=(paper, theirs.fileno()),
            env=interpreter.ENVIRONMENT,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        os.close(paper)
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{name} takes no such handover: ")
    assert ("it is not sealed" in line) == (fault == "not sealed")
