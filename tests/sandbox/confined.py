"""Confined processes for tests: orders as the warden makes them, run through the real launcher.

The program inside is ``probe.py``, placed into the image; it attempts one forbidden thing and says on its log
what came of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipc_schemas import links
from monitor import images
from sandbox import cgroups, inventory, walls
from sandbox.launcher import Launcher, Nascent, reap
from tests.support.walls import states
from world.factory import packing

IS_ROOT = os.geteuid() == 0
OUTER_UID = 64_900 if IS_ROOT else os.geteuid()
_PROBE = Path(__file__).with_name("probe.py")
_DEADLINE_S = 20.0
_MIB = 1 << 20


def standing(off: frozenset[str] = frozenset()) -> frozenset[str]:
    """The walls of the operating system that stand on this host when those in ``off`` are left out."""
    missing = {wall for wall, (state, _) in states().items() if state != "enforced"}
    return walls.standing(off | frozenset(missing), is_root=IS_ROOT) & walls.OS_WALL_NAMES


@dataclass(slots=True)
class Limits:
    """What one confined process is granted."""

    memory_bytes: int = 64 * _MIB
    files: int = 32
    scratch_bytes: int = 1 * _MIB
    processes: int = 4
    group_memory_bytes: int = 256 * _MIB
    cpu_share: float = 1.0


@dataclass(slots=True)
class Confined:
    """A process that has sealed itself and waits for ``go``."""

    nascent: Nascent
    log: int
    walls: frozenset[str]
    channel: Path
    group: cgroups.Group | None
    text: bytes = b""
    said: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.nascent.pid

    def expected(self, **changes: Any) -> inventory.Expected:
        """What the inventory is to find."""
        facts: dict[str, Any] = {
            "walls": self.walls,
            "outer_uid": OUTER_UID,
            "is_gate": False,
            "has_scratch": True,
            "files_max": 32,
            "packages": (),
            "channel": str(self.channel),
        }
        return inventory.Expected(**(facts | changes))

    def finish(self) -> os.waitid_result:
        """Say ``go``, read the log to its end, and reap the process."""
        self.nascent.go()
        return self.wait()

    def wait(self) -> os.waitid_result:
        """Read the log until the process is gone, and reap it."""
        deadline_s = time.monotonic() + _DEADLINE_S
        poll = select.poll()
        poll.register(self.nascent.pidfd, select.POLLIN)
        while not poll.poll(5):
            self._drain()
            assert time.monotonic() < deadline_s, f"the process does not end; it said {self.text!r}"
        self._drain()
        ended = reap(self.nascent.pidfd)
        assert ended is not None
        lines = self.text.decode(errors="replace").splitlines()
        self.said = [json.loads(line) for line in lines if line.startswith("{")]
        return ended

    def read_until(self, words: bytes) -> None:
        """Read the log until it holds ``words``."""
        deadline_s = time.monotonic() + _DEADLINE_S
        poll = select.poll()
        poll.register(self.log, select.POLLIN)
        while words not in self.text:
            assert time.monotonic() < deadline_s, f"it never said {words!r}, but {self.text!r}"
            poll.poll(100)
            self._drain()

    def _drain(self) -> None:
        while True:
            try:
                piece = os.read(self.log, 1 << 16)
            except BlockingIOError:
                return
            if not piece:
                return
            self.text += piece


class Yard:
    """One template process, and the folders that its children are built in."""

    def __init__(self, folder: Path, launcher: Launcher | None = None) -> None:
        self.folder = folder
        folder.chmod(0o711)
        self.launcher = launcher or Launcher()
        self.launcher.wait_ready()
        self._number = 0

    @contextmanager
    def confined(
        self,
        attempt: str,
        off: frozenset[str] = frozenset(),
        limits: Limits | None = None,
        **facts: Any,
    ) -> Iterator[Confined]:
        """A process that will make ``attempt`` (a function of ``probe.py``) with ``facts``."""
        granted = limits or Limits()
        up = standing(off)
        self._number += 1
        name = f"t{self._number}-{attempt}"[:40]
        channel, staging = self.folder / name / "channel", self.folder / name / "root"
        for path in (channel, staging):
            path.mkdir(parents=True, mode=0o711)
        group = _group(name, up, granted)
        process = self._start(name, attempt, up, channel, staging, group, granted, facts)
        try:
            yield process
        finally:
            _end(process)

    def _start(
        self,
        name: str,
        attempt: str,
        up: frozenset[str],
        channel: Path,
        staging: Path,
        group: cgroups.Group | None,
        limits: Limits,
        facts: dict[str, Any],
    ) -> Confined:
        order = links.LaunchOrder(
            name=name,
            role="partition",
            walls=tuple(sorted(up)),
            packages=(),
            outer_uid=OUTER_UID,
            staging=str(staging),
            channel=str(channel),
            unwalled_image=str(channel.parent / "unwalled"),
            cgroups=group.joined_by if group else (),
            memory_bytes_max=limits.memory_bytes,
            files_max=limits.files,
            scratch_bytes_max=limits.scratch_bytes,
        )
        own = packing.partition_files(Path("partitions/transfer"), {})
        files = {f"app/{name}": content for name, content in own.items()} | packing.cell_files()
        files["lib/probe.py"] = _PROBE.read_bytes()
        image = images.Image(files, images.digest_of(files))
        config = json.dumps({"attempt": attempt, **facts}).encode()
        payload = images.sealed_file(image, "probe", "", config)
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        fcntl.fcntl(read_end, 1031, 1 << 16)
        try:
            nascent = self.launcher.start(order, write_end, payload, payload)
        finally:
            os.close(write_end)
            os.close(payload)
        process = Confined(nascent, read_end, up, channel, group)
        try:
            _await_stage(process, "sealed")
        except AssertionError:
            _end(process)
            raise
        return process


def _group(name: str, up: frozenset[str], limits: Limits) -> cgroups.Group | None:
    wanted = up & frozenset(cgroups.CONTROLLERS)
    if not wanted:
        return None
    title = cgroups.title(name)
    return cgroups.Group(title, wanted, limits.group_memory_bytes, limits.processes, limits.cpu_share)


def _await_stage(process: Confined, stage: str) -> None:
    poll = select.poll()
    poll.register(process.nascent.fileno(), select.POLLIN)
    deadline_s = time.monotonic() + _DEADLINE_S
    while stage not in process.nascent.stages:
        assert time.monotonic() < deadline_s
        poll.poll(100)
        process.nascent.pump()
        if process.nascent.failure:
            process._drain()
            raise AssertionError(f"{process.nascent.failure}: {process.text.decode(errors='replace')}")


def _end(process: Confined) -> None:
    process.nascent.life.close()
    if process.nascent.pidfd >= 0:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process.nascent.pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(process.nascent.pidfd, select.POLLIN)
        assert poll.poll(5_000), "a killed process is not gone after five seconds"
        reap(process.nascent.pidfd)
        os.close(process.nascent.pidfd)
    os.close(process.log)
    if process.group is not None:
        assert process.group.remove(), "the control groups could not be removed"


@contextmanager
def yard(launcher: Launcher | None = None) -> Iterator[Yard]:
    """A yard in a folder that other users may enter, with a short path."""
    with tempfile.TemporaryDirectory(prefix="bh-t-") as folder:
        place = Yard(Path(folder), launcher)
        try:
            yield place
        finally:
            place.launcher.close()
