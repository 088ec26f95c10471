"""What the harness saw of a run, in the shapes in which detectors are given it, and the questions they ask of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from faults.attack import ATTACKED, CannotTell, Injection
from ipc_schemas import codec, insulin_pump


class Received(NamedTuple):
    """What arrived at the attacker's server. ``door`` is ``tcp``, ``udp`` or ``abstract``."""

    door: str
    data: bytes


class Survivor(NamedTuple):
    """A process of an attack that is still alive."""

    pid: int
    comm: str


@dataclass
class Peaks:
    """The largest values seen of one label (a partition or a gate) in one frame.

    ``rss_bytes_max`` is the largest single process: forked copies share pages, so a sum would count them
    often. ``cpu_s`` is the processor time of all of them in this frame. ``fds_max`` and ``held_bytes_max`` (in
    memfds) are -1 while no sample could look at descriptors: a host user who is not root may not do so in every
    process.
    """

    samples: int = 0
    processes_max: int = 0
    #: Of the largest single process.
    threads_max: int = 0
    rss_bytes_max: int = 0
    cpu_s: float = 0.0
    fds_max: int = -1
    held_bytes_max: int = -1
    was_stopped: bool = False
    nice_max: int = 0
    has_io_uring: bool = False
    has_foreign_user_namespace: bool = False
    comms: set[str] = field(default_factory=set)
    #: Kinds of the kernel's anonymous objects held, such as ``bpf-map``, ``perf_event``, ``eventpoll``.
    kernel_objects: set[str] = field(default_factory=set)
    #: Memory files held, by name: the largest number of descriptors of that name in one process.
    memory_files: Counter[str] = field(default_factory=Counter)
    #: As ``memory_files``, of files that have a path.
    open_files: Counter[str] = field(default_factory=Counter)
    #: System V shared memory of its making that stood where all on the machine can see it.
    segment_bytes_max: int = 0
    #: Descriptors in its Unix sockets that nobody had taken out.
    parked_fds_max: int = -1


class Admitted(NamedTuple):
    """What the monitor let through to one port in one frame.

    ``source`` is the partition it put it down to.
    """

    frame: int
    source: str
    port: str
    payloads: tuple[bytes, ...]


class Emission(NamedTuple):
    """One message of a critical partition: T of the design's section on isolation."""

    frame: int
    port: str
    payload: bytes


class Life(NamedTuple):
    """One life of a partition. ``ended_frame`` is ``None`` for a life that lasted to the end of the run."""

    partition: str
    epoch: int
    started_frame: int
    ended_frame: int | None
    reason: str


class LogLine(NamedTuple):
    """One line of a partition's standard error."""

    frame: int
    partition: str
    text: str


class StandIn(NamedTuple):
    """What had become of the process that stands in for the experiment's worker, when the run was over.

    ``signal`` ended it (0: it lived), ``was_stopped`` by one it lay still. ``told`` is the verdict that it told when
    asked, ``held`` the one that it was given; ``forged`` is what came out of its door that it had not said.
    """

    signal: int
    was_stopped: bool
    told: str
    held: str
    forged: str


class Missed(NamedTuple):
    """A window that a partition did not have, or did not end in time."""

    frame: int
    partition: str


class Attested(NamedTuple):
    """What a verifier made of the device's answer to its challenge: the verdict's name, why, and whose device it is.

    ``is_debug`` is the device's own word, None when nothing could be read.
    """

    verdict: str
    sentence: str
    serial: str
    is_debug: bool | None


@dataclass(frozen=True)
class Observations:
    """All that the harness saw of a run. ``None`` says that it did not look; to ask then raises ``CannotTell``.

    ``reference_outputs`` is therapy's output to compare with: of the run in which a player feeds exactly the
    messages that were admitted (``reference_is_replay``), or else of the twin without an attacker. ``peaks``
    is by label (partition, or ``gate_label`` for the attacked partition's gate) and frame, as the watcher
    keeps it. ``canaries`` are the secrets that the harness planted.
    """

    log_lines: tuple[LogLine, ...]
    admitted: tuple[Admitted, ...] | None = None
    therapy_outputs: tuple[Emission, ...] | None = None
    reference_outputs: tuple[Emission, ...] | None = None
    reference_is_replay: bool = False
    true_glucose_mg_dl: tuple[float, ...] | None = None
    #: Minutes in which the pump's own watchdog held delivery, and the insulin that it gave in each frame.
    suspended_min: tuple[int, ...] | None = None
    delivered_u: tuple[float, ...] | None = None
    received: tuple[Received, ...] | None = None
    peaks: Mapping[tuple[str, int], Peaks] | None = None
    frame_seconds: Mapping[int, float] | None = None
    shared_files: Mapping[tuple[int, str], int] | None = None
    #: Frame and microseconds by which the kernel's estimate of the clock's error changed between two looks.
    clock_jumps: tuple[tuple[int, int], ...] | None = None
    survivors: tuple[Survivor, ...] | None = None
    lives: tuple[Life, ...] | None = None
    missed: tuple[Missed, ...] | None = None
    #: The bytes of each frame's record in the journal.
    record_bytes: Mapping[int, int] | None = None
    #: Why the journal does not hold, or is not the one whose chain value the monitor told; empty: it is sound.
    journal_problem: str | None = None
    #: Why the device stopped before its frames were done; empty: it did not.
    stopped: str | None = None
    #: How many of the monitor's notes did not reach the console.
    notes_lost: int | None = None
    stand_in: StandIn | None = None
    canaries: tuple[bytes, ...] = ()
    #: Why a stage of the boot did not go on; empty: all did.
    boot_refused: str | None = None
    #: The rules by which.
    boot_rules: frozenset[str] = frozenset()
    #: None when nobody challenged the device, or it did not answer.
    attested: Attested | None = None
    #: What ROM said of a permission to debug; empty when it was brought none.
    debug_told: str = ""
    #: Outside attacks that were carried out: id and frame.
    struck: frozenset[tuple[str, int]] = frozenset()
    attacker: str = ATTACKED
    victim: str = "therapy"
    gate_label: str = f"gate-{ATTACKED}"
    message_types: Mapping[str, type[msgspec.Struct]] = field(
        default_factory=lambda: {
            "transfer.activity": insulin_pump.ActivityHint,
            "transfer.target_request": insulin_pump.TargetRequest,
            "transfer.upload": insulin_pump.Upload,
        }
    )

    def admitted_in(self, injection: Injection) -> list[Admitted]:
        """What was let through in the attack's frames."""
        if self.admitted is None:
            raise CannotTell("no record of the admitted messages")
        return [one for one in self.admitted if injection.covers(one.frame)]

    def payloads(self, injection: Injection) -> list[tuple[Admitted, bytes]]:
        """What was admitted from the attacker in the attack's frames, message by message."""
        return [
            (one, payload)
            for one in self.admitted_in(injection)
            if one.port.startswith(self.attacker + ".") or one.source == self.attacker
            for payload in one.payloads
        ]

    def refusal(self, port: str, payload: bytes) -> str:
        """Why a strict reader refuses the payload: ``schema``, ``range``, ``canonical``, or nothing."""
        message_type = self.message_types.get(port)
        if message_type is None:
            return ""
        try:
            codec.Codec(message_type).decode(payload)
        except codec.Refused as refused:
            return refused.reason
        return ""

    def peaks_of(self, injection: Injection, label: str) -> list[Peaks]:
        """What the watcher saw of a partition or gate in the attack's frames, in their order.

        Of an attacker whose life ended in them, and who was granted no other, there may be no sample: then it was seen
        to hold nothing, provided that the watcher looked. What an attack holds it holds for many samples.
        """
        if self.peaks is None:
            raise CannotTell("nobody watched the processes")
        found = {
            frame: peak
            for (who, frame), peak in self.peaks.items()
            if who == label and injection.covers(frame)
        }
        if not found:
            was_looked_for = any(injection.covers(frame) for _, frame in self.peaks)
            if label == self.attacker and was_looked_for and self.lives and self.ended(injection, label):
                return [Peaks()]
            raise CannotTell(f"the watcher has no sample of {label} in these frames")
        return [found[frame] for frame in sorted(found)]

    def ended(self, injection: Injection, partition: str) -> list[Life]:
        """The lives that a partition lost in the attack's frames."""
        if self.lives is None:
            raise CannotTell("no record of the partitions' lives")
        return [
            life
            for life in self.lives
            if life.partition == partition
            and life.ended_frame is not None
            and injection.covers(life.ended_frame)
        ]

    def missed_by(self, injection: Injection, partition: str) -> list[Missed]:
        """The windows that a partition lost in the attack's frames."""
        if self.missed is None:
            raise CannotTell("no record of missed windows")
        return [one for one in self.missed if one.partition == partition and injection.covers(one.frame)]

    def before(self, injection: Injection, label: str) -> list[Peaks]:
        """What the watcher saw of a partition or gate before the attack."""
        return [
            peak
            for (who, frame), peak in (self.peaks or {}).items()
            if who == label and frame < injection.frame
        ]

    def peaks_with_descriptors(self, injection: Injection) -> list[Peaks]:
        """Of the attacker. Raises ``CannotTell`` when its descriptors could not be looked at."""
        self.held_bytes(injection)
        return self.peaks_of(injection, self.attacker)

    def held_bytes(self, injection: Injection) -> int:
        """The most bytes that the attacker held in files. A life that ended with the attempt holds none."""
        most = max(peak.held_bytes_max for peak in self.peaks_of(injection, self.attacker))
        if most < 0:
            if self.ended(injection, self.attacker):
                return 0
            raise CannotTell(f"{self.attacker}'s descriptors could not be looked at")
        return most

    def shared(self, injection: Injection) -> list[tuple[str, int]]:
        """This attack's files where all can see them: path and size in bytes."""
        if self.shared_files is None:
            raise CannotTell("nobody looked at the shared folders")
        token = token_of(injection)
        return [
            (path, size)
            for (frame, path), size in self.shared_files.items()
            if path.endswith("/" + token) and injection.covers(frame)
        ]


def token_of(injection: Injection) -> str:
    """The name of this attack's files and processes. Raises ``CannotTell``."""
    token = str(injection.parameters.get("token", ""))
    if not token:
        raise CannotTell("the injection has no token")
    return token[:15]


def bound(injection: Injection, name: str, usual: float) -> float:
    """A bound against which an effect is measured: the injection's own, or the usual one."""
    return float(injection.parameters.get(name, usual))


def first_difference(one: tuple[Emission, ...], other: tuple[Emission, ...]) -> tuple[int, str] | None:
    """The first frame and port at which two outputs differ; ``None``: the same, byte for byte."""
    for a, b in zip(one, other, strict=False):
        if a != b:
            return min((a.frame, a.port), (b.frame, b.port))
    if len(one) != len(other):
        rest = one[len(other) :] or other[len(one) :]
        return rest[0].frame, rest[0].port
    return None
