"""The catalogue of attacks as frozen values, and the schedules made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from faults.attacks.registry import BUILT

FRAME_MINUTES = 5
ONSET_FRAME = 96  # 08:00
END_FRAME = 264  # 22:00
Value = int | float | str | bool

#: What each built attack does, in a sentence for everyone.
PLAIN: Mapping[str, str] = MappingProxyType(
    {
        "C01": "It sends one message many times larger than allowed, to choke whoever reads it.",
        "C03": "It starts a message that never ends, so that the reader's memory fills up while it waits.",
        "C05": "It sends correct messages, but many times more than agreed, to drown therapy.",
        "C06": "It sends messages of the wrong shape, so that a reader trips over them.",
        "C07": "It sends a message that two readers read differently, to slip past the one that checks.",
        "C08": "It sends impossible numbers, such as infinity steps per minute, to upset therapy's sums.",
        "C10": "It sends bytes that are built to crash the program that decodes them.",
        "C14": "It records messages of the past and sends them again, as if they were new.",
        "C15": "It forges a glucose of 400 in the sensor's name, and a large insulin dose in therapy's name.",
        "C18": "It sends a dose command straight to the pump, to which it has no right to speak.",
        "K01": "It tries to reach into the therapy program's memory and rewrite the dose limit.",
        "K02": "It tries to read the patient's secrets out of therapy's memory and send them out.",
        "K03": "It tries to kill the therapy program outright.",
        "K06": "It tries to leave a file in memory that all programs on the machine share.",
        "K08": "It tries to reach a listener outside through a socket that needs no network and no file.",
        "K09": "It tries to open a back door into the kernel that system-call filters cannot see.",
        "K10": "It tries to make itself administrator of a little world of its own, and mount a disk there.",
        "K16": "It splits into dozens of copies of itself, to use up the machine's processes.",
        "K17": "It grabs hundreds of megabytes of memory, so that none is left for therapy.",
        "K18": "It hides hundreds of megabytes in a nameless file, past the usual memory limit.",
        "K19": "It opens files without end and fills the disk.",
        "K21": "It tries to give the therapy program the lowest priority, so that it comes too late.",
        "K23": "It tries to call home over the network.",
        "K24": "It writes a program of its own to disk and tries to run it.",
        "K25": "It leaves a hidden copy of itself behind that refuses to die when the partition is killed.",
        "F02": "It simply hangs, and does not give its turn back.",
    }
)

#: The walls that stand against each built attack: the catalogue's ``defence`` in the names of ``sandbox.walls``.
#: Where several stand, the attack fails as long as one of them does; which one it was is not always seen.
STANDS_AGAINST: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "C01": ("size", "schema"),
        "C03": ("gate",),
        "C05": ("rate",),
        "C06": ("schema",),
        "C07": ("canonical",),
        "C08": ("range",),
        "C10": ("schema",),
        "C14": ("sequence",),
        "C15": ("stamp", "route"),
        "C18": ("route",),
        "K01": ("pidns", "procfs", "uid", "seccomp", "landlock", "dumpable"),
        "K02": ("procfs", "uid", "landlock", "dumpable"),
        "K03": ("pidns", "procfs", "uid", "seccomp", "landlock"),
        "K06": ("mntns", "landlock"),
        "K08": ("netns", "seccomp", "landlock"),
        "K09": ("seccomp",),
        "K10": ("seccomp",),
        "K16": ("seccomp", "pidscg"),
        "K17": ("rlimits", "memcg"),
        "K18": ("seccomp", "memcg"),
        "K19": ("mntns", "rlimits"),
        "K21": ("pidns", "procfs", "uid", "seccomp"),
        "K23": ("netns", "seccomp"),
        "K24": ("mntns", "seccomp", "landlock"),
        "K25": ("pidns", "seccomp"),
        "F02": ("window",),
    }
)

#: What the demonstration day runs, in this order. The overwriting of memory comes first, so that harm has
#: time to develop where no wall stands; what may end therapy's life there, and with it the overwritten
#: memory, comes late. Attacks that cost a walled attacker a restart alternate with those that do not, as far
#: as may be, so that the restart budget lets every attack have its turn.
DEMO_ORDER = (
    "K01", "K23", "C14", "K16", "K18", "K02", "K09", "K10", "K17", "K19", "K24", "F02",
    "C07", "C05", "C01", "C18", "C15", "C08", "C03", "C06", "K03", "C10", "K25",
)  # fmt: skip
#: What a walled partition may lose its life for; the rest is refused without a restart.
COSTS_A_RESTART = frozenset(
    ("K01", "C14", "C15", "K18", "C05", "K09", "K24", "F02", "C01", "C03", "K03", "K25")
)


class UnknownAttack(ValueError):
    """An id that the catalogue does not have, or that is not built, or a time that is no time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One attack of the catalogue. ``plain`` is empty when it is not built."""

    id: str
    name: str
    family: str
    attempt: str
    expected: str
    defence: str
    cwe: str
    emb3d: str | None
    ics: str | None
    plain: str
    built: bool


@dataclass(frozen=True, slots=True)
class Injection:
    """One attack in one frame. Its effects are looked for in ``[frame, until_frame)``; ``None``:
    to the end.
    """

    frame: int
    attack_id: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    until_frame: int | None = None

    def covers(self, frame: int) -> bool:
        """Whether an effect seen in ``frame`` is put down to this attack."""
        return self.frame <= frame and (self.until_frame is None or frame < self.until_frame)


_FAMILIES = {"C": "channel", "K": "kernel", "B": "boot and update", "N": "network", "F": "fault"}


@cache
def rows() -> Mapping[str, Row]:
    """The whole catalogue by id, in its own order."""
    raw = json.loads((Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8"))
    return MappingProxyType({entry["id"]: _row(entry) for entry in raw})


def _row(entry: Mapping[str, str]) -> Row:
    attack_id = entry["id"]
    return Row(
        id=attack_id,
        name=entry["name"],
        family=_FAMILIES[attack_id[0]],
        attempt=entry["attempt"],
        expected=entry["expected"],
        defence=entry["defence"],
        cwe=entry["cwe"],
        emb3d=entry["emb3d"],
        ics=entry["ics"],
        plain=PLAIN.get(attack_id, ""),
        built=attack_id in BUILT,
    )


def row(attack_id: str) -> Row:
    """Raises ``UnknownAttack``."""
    found = rows().get(attack_id.upper())
    if found is None:
        raise UnknownAttack(f"no attack is called {attack_id!r}; those that can be run are {_names()}")
    return found


def _names() -> str:
    return ", ".join(attack_id for attack_id in rows() if attack_id in BUILT)


def parse_attack(
    text: str, *, onset_frame: int = ONSET_FRAME, frame_minutes: int = FRAME_MINUTES
) -> Injection:
    """``"K01@08:30"`` or ``"K01"`` (at the onset). Raises ``UnknownAttack``."""
    name, at, when = text.partition("@")
    found = row(name.strip())
    if not found.built:
        raise UnknownAttack(
            f"{found.id} ({found.name}) is in the catalogue but not built; there are {_names()}"
        )
    if not at:
        return Injection(onset_frame, found.id)
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", when.strip())
    if match is None:
        raise UnknownAttack(f"{when!r} is not a time of the day; write it as {found.id}@08:30")
    minutes = 60 * int(match[1]) + int(match[2])
    return Injection(minutes // frame_minutes, found.id)


def default_schedule(onset_frame: int = ONSET_FRAME, end_frame: int = END_FRAME) -> list[Injection]:
    """The demonstration day: every attack of ``DEMO_ORDER`` once, evenly from ``onset_frame`` to
    ``end_frame``.

    The overwriting of memory comes first, so that harm has time to develop where no wall stands; killing
    therapy comes late, and what outlives the kill last.
    """
    steps = len(DEMO_ORDER) - 1
    frames = [
        onset_frame + round(index * (end_frame - onset_frame) / steps) for index in range(len(DEMO_ORDER))
    ]
    return with_spans(
        [Injection(frame, attack_id) for frame, attack_id in zip(frames, DEMO_ORDER, strict=True)]
    )


def with_spans(schedule: Iterable[Injection]) -> list[Injection]:
    """In order of frames, each reaching to the next one's frame."""
    ordered = sorted(schedule, key=lambda one: one.frame)
    ends = [one.frame for one in ordered[1:]] + [None]
    return [replace(one, until_frame=end) for one, end in zip(ordered, ends, strict=True)]


@dataclass(frozen=True, slots=True)
class Means:
    """What the harness knows and an attack needs: the published design, the attacker's server, the run's
    bounds.

    ``run_pid`` is the root of the run's processes, as the host's procfs counts; no attack touches a process
    that does not descend from it. ``ports`` gives port numbers by full name, ``partitions`` their numbers by
    name. ``token`` (at most 8 characters) is new for each run; names of processes and files left by attacks
    begin with it.
    """

    run_pid: int
    token: str
    ports: Mapping[str, int]
    partitions: Mapping[str, int]
    collector_tcp_port: int
    collector_udp_port: int
    abstract_name: str
    deadline_unix_s: float
    victim: str = "therapy"


def token_of(means: Means, attack_id: str) -> str:
    """The name of this attack's files and processes: 15 characters at most, as the kernel demands."""
    return f"{means.token[:8]}-{attack_id}"


def equip(schedule: Iterable[Injection], means: Means) -> list[Injection]:
    """Give each attack the parameters that only the harness knows; what the schedule says already stays."""
    return [replace(one, parameters=_needs(one.attack_id, means) | dict(one.parameters)) for one in schedule]


def _needs(attack_id: str, means: Means) -> dict[str, Value]:
    match attack_id:
        case "K01" | "K02" | "K03" | "K21":
            return {"run_pid": means.run_pid, "victim": means.victim}
        case "C15" | "C18":
            return {
                "world_cgm_port": means.ports["world.cgm"],
                "world_pump_command_port": means.ports["world.pump_command"],
                "therapy_pump_command_port": means.ports["therapy.pump_command"],
                "therapy_number": means.partitions["therapy"],
            }
        case "K23":
            return {
                "collector_tcp_port": means.collector_tcp_port,
                "collector_udp_port": means.collector_udp_port,
            }
        case "K08":
            return {"abstract_name": means.abstract_name}
        case "K06" | "K19" | "K24":
            return {"token": token_of(means, attack_id)}
        case "K25":
            return {"token": token_of(means, attack_id), "deadline_unix_s": means.deadline_unix_s}
        case _:
            return {}
