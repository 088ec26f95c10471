"""What only the harness knows, and an attack needs: the attacker's server, the run's processes, names for this run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from faults.attack import Attack, Injection, Value


@dataclass(frozen=True, slots=True)
class Means:
    """Of one run.

    ``run_pid`` is the root of the run's processes, as the host's procfs counts; no attack touches a process
    that does not descend from it. ``ports`` gives port numbers by full name, ``partitions`` their numbers by
    name. ``token`` (at most 8 characters) is new for each run; names of processes and files left by attacks
    begin with it. ``hints_max`` is how many messages a frame the attacked port may carry.
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
    hints_max: int = 8
    #: Of each partition: how many restarts it is granted, and within how many frames.
    restarts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    #: The device of a terminal in which nobody types.
    terminal: str = ""
    #: A folder into which everyone may write, and which ends with the run.
    folder: str = ""
    #: The process that stands in for the experiment's worker (0: none), and the verdict in its memory.
    worker_pid: int = 0
    verdict: str = ""
    #: The most bytes that one frame of honest traffic can take in the journal.
    record_bytes_max: int = 0
    #: Where this host writes cores (core(5)).
    core_pattern: str = ""
    #: How many messages a frame each port may carry, by full name.
    messages_per_frame_max: Mapping[str, int] = field(default_factory=dict)


def token_of(means: Means, attack_id: str) -> str:
    """The name of this attack's files and processes: 15 characters at most, as the kernel demands."""
    return f"{means.token[:8]}-{attack_id}"


def _ports(means: Means, _attack_id: str) -> dict[str, Value]:
    return {
        "world_cgm_port": means.ports["world.cgm"],
        "world_pump_command_port": means.ports["world.pump_command"],
        "therapy_pump_command_port": means.ports["therapy.pump_command"],
        "therapy_number": means.partitions["therapy"],
    }


def _port_table(means: Means, _attack_id: str) -> dict[str, Value]:
    return {
        "port_numbers": json.dumps(dict(means.ports)),
        "port_limits": json.dumps(dict(means.messages_per_frame_max)),
    }


def _collector(means: Means, _attack_id: str) -> dict[str, Value]:
    return {
        "collector_tcp_port": means.collector_tcp_port,
        "collector_udp_port": means.collector_udp_port,
    }


def _restarts(means: Means, _attack_id: str) -> dict[str, Value]:
    given: dict[str, Value] = {}
    for name, (most, within_frames) in means.restarts.items():
        given |= {f"{name}_restarts_max": most, f"{name}_within_frames": within_frames}
    return given


#: What an attack may name in ``Attack.needs``, and the parameters it gets for it.
GIVES: Mapping[str, Callable[[Means, str], dict[str, Value]]] = {
    "victim": lambda means, _: {"run_pid": means.run_pid, "victim": means.victim},
    "ports": _ports,
    "port_table": _port_table,
    "collector": _collector,
    "abstract_name": lambda means, _: {"abstract_name": means.abstract_name},
    "token": lambda means, attack_id: {"token": token_of(means, attack_id)},
    "deadline": lambda means, _: {"deadline_unix_s": means.deadline_unix_s},
    "restarts": _restarts,
    "terminal": lambda means, _: {"terminal": means.terminal},
    "folder": lambda means, _: {"folder": means.folder, "core_pattern": means.core_pattern},
    "contract": lambda means, _: {"messages_per_frame_max": means.hints_max},
    "worker": lambda means, _: {"worker_pid": means.worker_pid, "verdict": means.verdict},
    "journal": lambda means, _: {"record_bytes_max": means.record_bytes_max},
}


def equip(schedule: Iterable[Injection], means: Means, attacks: Mapping[str, Attack]) -> list[Injection]:
    """Give each attack the parameters that only the harness knows; what the schedule says already stays."""
    return [
        replace(one, parameters=_given(attacks[one.attack_id], means) | dict(one.parameters))
        for one in schedule
    ]


def _given(attack: Attack, means: Means) -> dict[str, Value]:
    given: dict[str, Value] = dict(attack.usual)
    for need in attack.needs:
        given |= GIVES[need](means, attack.id)
    return given
