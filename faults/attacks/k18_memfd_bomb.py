"""K18: hide memory in a file that has no name, past the usual memory limit."""

from __future__ import annotations

import os

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.effects import in_mib
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound

MEMORY_BYTES_MAX = 600_000_000
#: What a partition of 256 MiB may hold in all, by its control group: 96 MiB more for the interpreter.
HELD_BYTES_MAX = 352 << 20
_STEP_BYTES = 8 << 20


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """``bytes`` (450 MB) in a memfd."""
    size = min(int(parameters.get("bytes", 450_000_000)), MEMORY_BYTES_MAX)
    fd = os.memfd_create("bomb")
    total, note = 0, ""
    try:
        block = b"\xa5" * _STEP_BYTES
        while total < size:
            total += os.write(fd, block[: size - total])
    except OSError as error:
        note = str(error)
    bodies.hold(parameters, 0.15)
    os.close(fd)
    return {"bytes": total, "note": note}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The attacker was seen holding more bytes in nameless files than it may hold in all."""
    limit, held = bound(injection, "held_bytes_max", HELD_BYTES_MAX), seen.held_bytes(injection)
    return Effect(
        held > limit,
        f"{seen.attacker} hid at most {in_mib(held)} in nameless files; the bound is {in_mib(limit)}.",
    )


ATTACK = Attack(
    "K18",
    "It hides hundreds of megabytes in a nameless file, past the usual memory limit.",
    effect,
    inject,
    parameters={"bytes": Between(400_000_000, MEMORY_BYTES_MAX)},
    costs_a_restart=True,
    walls=("seccomp", "memcg"),
)
