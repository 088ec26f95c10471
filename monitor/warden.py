"""The warden: starts, watches, kills and confirms. It acts; what to do is decided elsewhere.

A *life* is one partition process and its gate. A start is a small state machine (gate bound, partition ordered,
both sealed, inventory taken, go) that the monitor's loop drives, so that a slow start stalls nobody. A kill goes
through the pidfd to the first process of the partition's PID namespace; the kernel buries all members before that
process can be reaped, so reaping it confirms that no member is left.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from ipc_schemas import codec, links, wire
from monitor import contract, images
from monitor.design import WORLD, Design, Limits
from monitor.endings import Ended, ended_from
from monitor.priority import Priority
from sandbox import cgroups, inventory
from sandbox.launcher import Launcher, Nascent, reap
from sandbox.walls import around

LAUNCH_TIMEOUT_S = 20.0
_FIRST_UID = 64_000
#: What a gate may use. Its address space also holds the interpreter (see sandbox.limits).
GATE_LIMITS = Limits(
    memory_bytes_max=32 << 20,
    processes_max=1,
    files_max=32,
    scratch_bytes_max=0,
    cpu_ms_per_frame_max=0,
    log_bytes_per_frame_max=4096,
)
#: The budget of a window while the ``window`` wall is off.
NO_BUDGET_MS = 10_000
_HANDSHAKE_BYTES = 256
_PIPE_BYTES = 1 << 16


@dataclass(slots=True)
class Process:
    """A confined process that runs: its pidfd, the read end of its log, and its control group."""

    name: str
    pid: int
    pidfd: int
    log: int
    group: cgroups.Group | None
    cpu_used_s: float = 0.0


@dataclass(slots=True)
class Life:
    """One life of a partition (or of the world's gate, where ``process`` is ``None``)."""

    partition: str
    epoch: int
    gate: Process
    link: socket.socket
    process: Process | None


class Launch:
    """A life on its way. ``poll`` advances it; then it is ``is_ready``, or ``failure`` says why not."""

    def __init__(self, warden: Warden, name: str, epoch: int) -> None:
        self.partition = name
        self.epoch = epoch
        self.failure = ""
        self.started_s = time.monotonic()
        self._warden = warden
        self._process: Nascent | None = None
        self._pieces: dict[str, tuple[int, cgroups.Group | None]] = {}
        self.is_bound = False
        self.is_ready = False
        self._gate = warden._start_gate(name, epoch)
        if name != WORLD:
            self._start_partition()

    def _start_partition(self) -> None:
        """Beside its gate, so that both get ready at once; it connects when it is told that the gate is bound."""
        try:
            self._process, log, group = self._warden._start_partition(self.partition)
        except BaseException:
            self.abandon()
            raise
        self._pieces["partition"] = (log, group)

    def descriptors(self) -> tuple[int, ...]:
        """What to poll while waiting."""
        return tuple(
            n.fileno() for n in (self._gate.nascent, self._process and self._process) if n is not None
        )

    def poll(self) -> None:
        """Read what has come in and take the next step. Never blocks. Raises ``OSError``."""
        gate = self._gate.nascent
        gate.pump()
        if self._process is not None:
            self._process.pump()
        if time.monotonic() - self.started_s > LAUNCH_TIMEOUT_S:
            self.failure = (
                self.failure or f"{self.partition}: it was not ready within {LAUNCH_TIMEOUT_S:.0f} s"
            )
        if not self.failure:
            self._note_failure(gate, self._gate.log)
            if self._process is not None:
                self._note_failure(self._process, self._pieces["partition"][0])
        if self.failure:
            return
        if "bound" in gate.stages and not self.is_bound:
            self.is_bound = True
            if self._process is not None:
                self._process.connect()
        waiting_for = [gate] if self.partition == WORLD else [gate, self._process]
        if all(n is not None and "sealed" in n.stages for n in waiting_for):
            self._warden.priority.place(self.partition, gate, self._process)
            self.is_ready = True

    def _note_failure(self, nascent: Nascent, log: int) -> None:
        if nascent.failure:
            self.failure = f"{nascent.failure}{_last_line(log)}"

    def findings(self) -> list[str]:
        """The inventory of both processes: differences between the declared and the live."""
        found = self._warden._inventory(
            "gate", f"gate of {self.partition}", self._gate.nascent, self._gate.limits
        )
        if self._process is not None:
            limits = self._warden.design.partition(self.partition).limits
            found += self._warden._inventory("partition", self.partition, self._process, limits)
        return found

    def finish(self) -> Life:
        """Let both processes run. Call when ``is_ready`` and the inventory was accepted."""
        gate = self._gate.nascent
        process = None
        gate.go()
        if self._process is not None:
            self._process.go()
            log, group = self._pieces["partition"]
            process = Process(self.partition, self._process.pid, self._process.pidfd, log, group)
        gate_process = Process(
            f"gate of {self.partition}", gate.pid, gate.pidfd, self._gate.log, self._gate.group
        )
        return Life(self.partition, self.epoch, gate_process, self._gate.link, process)

    def abandon(self) -> None:
        """Kill and forget whatever this launch has started."""
        self._gate.nascent.abandon()
        self._gate.link.close()
        os.close(self._gate.log)
        pairs = [(self._gate.nascent, self._gate.group)]
        if self._process is not None:
            self._process.abandon()
            log, group = self._pieces["partition"]
            os.close(log)
            pairs.append((self._process, group))
        for nascent, group in pairs:
            _bury(nascent.pidfd, group)


@dataclass(slots=True)
class _StartedGate:
    nascent: Nascent
    log: int
    link: socket.socket
    group: cgroups.Group | None
    limits: Limits


def _last_line(log: int) -> str:
    """The last line a process wrote to its log, as a continuation of a sentence."""
    try:
        lines = os.read(log, _PIPE_BYTES).decode("ascii", "replace").strip().splitlines()
        lines = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
    except BlockingIOError:
        return ""
    return f" ({lines[-1][:200]})" if lines else ""


def _bury(pidfd: int, group: cgroups.Group | None) -> None:
    if pidfd >= 0:
        _wait_dead(pidfd, 2.0)
        reap(pidfd)
        os.close(pidfd)
    if group is not None:
        group.remove()


def _wait_dead(pidfd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


class Warden:
    """Starts and ends the lives of one device."""

    def __init__(
        self,
        design: Design,
        schemas: str,
        walls: frozenset[str],
        run_folder: Path,
        partition_images: dict[str, images.Image],
        gate_image: images.Image,
        entries: dict[str, str],
        configs: dict[str, bytes],
        launcher: Launcher,
        priority: Priority,
    ) -> None:
        self.design = design
        self.walls = walls
        self.walls_of = {p.name: around(walls, p.lacks) for p in design.partitions} | {WORLD: walls}
        self._schemas = schemas
        self._folder = run_folder
        self._images = partition_images
        self._gate_image = gate_image
        self._entries = entries
        self._configs = configs
        self._launcher = launcher
        self.priority = priority
        self._is_root = os.geteuid() == 0
        self._staging = run_folder / "root"
        self._staging.mkdir(mode=0o711, exist_ok=True)
        cgroups.sweep()

    # -- starting ---------------------------------------------------------------------------------------------

    def launch(self, name: str, epoch: int) -> Launch:
        """Begin a life. Raises ``LaunchError``, ``images.ImageChanged`` or ``OSError``."""
        return Launch(self, name, epoch)

    def contract(self, name: str, epoch: int) -> links.GateContract:
        """What the gate of a partition (or of the world) enforces in one life."""
        number = self._number(name)
        ports = contract.ports_in(self.design)
        budget_ms = self.design.world.budget_ms if name == WORLD else self.design.window_of(name).budget_ms
        if "window" not in self.walls_of[name]:
            budget_ms = NO_BUDGET_MS
        largest = (
            max((links.payload_bytes_max(p) for p in ports if p.owner == number), default=0)
            + wire.HEADER_BYTES
        )
        largest = max(largest, _HANDSHAKE_BYTES)  # libzmq applies its limit to the handshake's commands, too
        return links.GateContract(
            partition=number,
            epoch=epoch,
            walls=tuple(sorted(self.walls_of[name])),
            schemas=images.schemas_module(self._schemas),
            ports=ports,
            fatal=contract.fatal_in(self.design, name),
            hello=codec.encode(self._hello(name, number, epoch)),
            budget_ms=budget_ms,
            endpoint_bytes_max=largest,
        )

    def _hello(self, name: str, number: int, epoch: int) -> wire.Hello:
        cards = tuple(
            wire.PortCard(
                p.number, p.name, p.is_output, p.kind.value == "sampling", p.freshness_frames, p.message
            )
            for p in self.design.ports_of(name)
        )
        return wire.Hello(number, epoch, self.design.frame_ms, cards)

    def _number(self, name: str) -> int:
        return contract.number_of(self.design, name)

    def channel_folder(self, name: str) -> Path:
        """Where the socket of a partition's gate is."""
        return self._folder / "ch" / name

    def _gate_walls(self, name: str) -> frozenset[str]:
        """Around the gate of a partition: it is on the monitor's side, and lacks nothing that its partition lacks."""
        return self.walls if "gate" in self.walls_of[name] else frozenset()

    def _start_gate(self, name: str, epoch: int) -> _StartedGate:
        channel = self.channel_folder(name)
        channel.mkdir(mode=0o711, parents=True, exist_ok=True)
        (channel / "gate.sock").unlink(missing_ok=True)
        walls = self._gate_walls(name)
        uid = self._uid(1, name)
        if self._is_root and "uid" in walls:
            os.chown(channel, uid, uid)
        group = self._group(name, "g", walls, GATE_LIMITS)
        link_ours, link_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (link_ours, link_theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        config = codec.encode(self.contract(name, epoch))
        order = self._order(f"gate-{name}", "gate", walls, (), uid, channel, group, GATE_LIMITS)
        payload = images.sealed_file(self._gate_image, "monitor.gate", "", config)
        try:
            nascent, log = self._start(order, payload, link_theirs.fileno())
        finally:
            os.close(payload)
            link_theirs.close()
        return _StartedGate(nascent, log, link_ours, group, GATE_LIMITS)

    def _start_partition(self, name: str) -> tuple[Nascent, int, cgroups.Group | None]:
        partition = self.design.partition(name)
        walls = self.walls_of[name]
        group = self._group(name, "p", walls, partition.limits)
        channel, limits = self.channel_folder(name), partition.limits
        order = self._order(
            name, "partition", walls, partition.packages, self._uid(0, name), channel, group, limits
        )
        config = codec.encode(
            (images.schemas_module(self._schemas), "recheck" in walls, self._configs.get(name, b""))
        )
        payload = images.sealed_file(self._images[name], "partitions.sdk.runner", self._entries[name], config)
        try:
            nascent, log = self._start(order, payload, payload)
        finally:
            os.close(payload)
        return nascent, log, group

    def _start(self, order: links.LaunchOrder, payload: int, link: int) -> tuple[Nascent, int]:
        log_ours, log_theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(log_theirs, True)
        fcntl.fcntl(log_ours, 1031, _PIPE_BYTES)  # F_SETPIPE_SZ
        try:
            return self._launcher.start(order, log_theirs, payload, link), log_ours
        finally:
            os.close(log_theirs)

    def _order(
        self,
        name: str,
        role: str,
        walls: frozenset[str],
        packages: tuple[str, ...],
        uid: int,
        channel: Path,
        group: cgroups.Group | None,
        limits: Limits,
    ) -> links.LaunchOrder:
        return links.LaunchOrder(
            name=name,
            role=role,
            walls=tuple(sorted(walls)),
            packages=packages,
            outer_uid=uid,
            staging=str(self._staging),
            channel=str(channel),
            unwalled_image=str(self._folder / "unwalled" / name),
            cgroups=group.joined_by if group else (),
            memory_bytes_max=limits.memory_bytes_max,
            files_max=limits.files_max,
            scratch_bytes_max=limits.scratch_bytes_max,
        )

    def _uid(self, offset: int, name: str) -> int:
        if not self._is_root:
            return os.geteuid()
        number = 0 if name == WORLD else self.design.partition(name).number
        return _FIRST_UID + 2 * number + offset

    def _group(self, name: str, kind: str, walls: frozenset[str], limits: Limits) -> cgroups.Group | None:
        wanted = walls & frozenset(cgroups.CONTROLLERS)
        if not wanted:
            return None
        memory = limits.memory_bytes_max + (96 << 20)
        # Threads count as processes here: libzmq runs two beside the main one.
        given = (cgroups.title(f"{kind}-{name}"), wanted, memory, limits.processes_max + 2, 1.0)
        return self.priority.group(name, kind == "g", lambda rt_us: cgroups.Group(*given, rt_us))

    def _inventory(self, role: str, what: str, nascent: Nascent, limits: Limits) -> list[str]:
        owner = what.removeprefix("gate of ")
        walls = self.walls_of[owner] if role == "partition" else self._gate_walls(owner)
        expected = inventory.Expected(
            walls=walls,
            outer_uid=self._uid(0 if role == "partition" else 1, owner),
            is_gate=role == "gate",
            has_scratch=limits.scratch_bytes_max > 0,
            files_max=limits.files_max,
            packages=self.design.partition(what).packages if role == "partition" else (),
            channel=str(self.channel_folder(owner)),
        )
        return [f"{what}: {line}" for line in inventory.differences(nascent.pid, expected)]

    # -- watching and ending ----------------------------------------------------------------------------------

    def signal(self, life: Life) -> None:
        """SIGKILL to all of a life, without waiting for its end."""
        for process in (life.process, life.gate):
            if process is not None:
                signal_process(process.pidfd)

    def kill(self, life: Life) -> float:
        """Kill a life's partition, confirm that no member is left, then its gate. Returns the seconds it took.

        Raises ``TimeoutError`` when the process is not gone within two seconds.
        """
        started_s = time.perf_counter()
        if life.process is not None:
            signal_process(life.process.pidfd)
            if not _wait_dead(life.process.pidfd, 2.0):
                raise TimeoutError(f"{life.partition} (process {life.process.pid}) does not die")
        took_s = time.perf_counter() - started_s
        signal_process(life.gate.pidfd)
        return took_s

    def bury(self, life: Life) -> Ended | None:
        """Reap a dead or killed life, close its descriptors, remove its groups. Returns how the partition ended."""
        ended = None
        life.link.close()
        for process in (life.process, life.gate):
            if process is None:
                continue
            _wait_dead(process.pidfd, 2.0)
            status = reap(process.pidfd)
            if process is life.process:
                ended = ended_from(status, process.group.memory_kills() if process.group else 0)
            os.close(process.pidfd)
            os.close(process.log)
            if process.group is not None:
                process.group.remove()
        return ended


def signal_process(pidfd: int) -> None:
    """SIGKILL through a pidfd; a process that is gone already is as good."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
