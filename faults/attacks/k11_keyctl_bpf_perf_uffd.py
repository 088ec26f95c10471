"""K11: reach for corners of the kernel that no program here has any business with."""

from __future__ import annotations

import ctypes
import os
import platform

from faults.attack import Attack, Effect, Injection, OneOf, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations

#: As the kernel calls what each door gives, in /proc/PID/fd.
OBJECTS = {"bpf": "bpf-map", "perf_event_open": "perf_event", "userfaultfd": "userfaultfd"}
KINDS = ("userfaultfd", "perf_event_open", "bpf", "keyctl")

_NUMBERS = {
    "x86_64": {"add_key": 248, "keyctl": 250, "perf_event_open": 298, "bpf": 321, "userfaultfd": 323},
    "aarch64": {"add_key": 217, "keyctl": 219, "perf_event_open": 241, "bpf": 280, "userfaultfd": 282},
}
_PROCESS_KEYRING = -2
_SET_PERMISSIONS, _SEEN_BY_ALL = 5, 0x3F3F_3F3F
_ARRAY, _MAP_CREATE = 2, 0
_SOFTWARE_EVENT, _CPU_CLOCK = 1, 0
_USER_ONLY_AND_CLOEXEC = 1 | os.O_CLOEXEC


class _MapRequest(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("key_bytes", ctypes.c_uint32),
        ("value_bytes", ctypes.c_uint32),
        ("entries", ctypes.c_uint32),
        ("rest", ctypes.c_byte * 112),
    )


class _EventRequest(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("before_flags", ctypes.c_uint64 * 3),
        ("flags", ctypes.c_uint64),
        ("rest", ctypes.c_byte * 64),
    )


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """Goes through the door ``kind`` ("userfaultfd"), and holds what it gets for ``hold_s`` (0.15)."""
    numbers = _NUMBERS.get(platform.machine())
    if numbers is None:
        return {"note": f"no system call numbers for {platform.machine()}"}
    kind = str(parameters.get("kind", KINDS[0]))
    if kind == "keyctl":
        got = _key(numbers, str(parameters["token"]).encode())
    else:
        got = _call(numbers[kind], *_arguments(kind))
    if got < 0:
        return bodies.failed(parameters, f"{kind}: {os.strerror(ctypes.get_errno())}")
    bodies.hold(parameters, 0.15)
    if kind != "keyctl":
        os.close(got)
    return {"kind": kind, "got": True}


def _call(*arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = libc.syscall(*converted)
    return result


def _arguments(kind: str) -> tuple[object, ...]:
    if kind == "bpf":
        wanted = _MapRequest(_ARRAY, 4, 4, 1)
        return _MAP_CREATE, ctypes.byref(wanted), ctypes.sizeof(wanted)
    if kind == "perf_event_open":  # its own processor time, outside the kernel: what the mildest host allows
        disabled_and_no_kernel = 1 | 1 << 5 | 1 << 6
        event = _EventRequest(_SOFTWARE_EVENT, 112, _CPU_CLOCK, flags=disabled_and_no_kernel)
        return ctypes.byref(event), 0, -1, -1, 0
    return (_USER_ONLY_AND_CLOEXEC,)


def _key(numbers: dict[str, int], name: bytes) -> int:
    """A key that all may see, in this process's own keyring: it ends with the process."""
    key = _call(numbers["add_key"], b"user", name, b"left here", 9, _PROCESS_KEYRING)
    if key >= 0:
        _call(numbers["keyctl"], _SET_PERMISSIONS, key, _SEEN_BY_ALL)
    return key


def effect(seen: Observations, injection: Injection) -> Effect:
    """What the door gives was seen: among the attacker's descriptors, or among the keys of the machine."""
    kind = str(injection.parameters.get("kind", KINDS[0]))
    if kind == "keyctl":
        is_there = any(path.startswith("/proc/keys/") for path, _ in seen.shared(injection))
        what = "key in the kernel's own store that all can see"
    else:
        is_there = any(OBJECTS[kind] in one.kernel_objects for one in seen.peaks_with_descriptors(injection))
        what = f"{OBJECTS[kind]} object of the kernel's"
    if is_there:
        return Effect(True, f"{seen.attacker} got hold of a {what}.")
    return Effect(False, f"{seen.attacker} never got hold of a {what}.")


ATTACK = Attack(
    "K11",
    "It tries rarely used doors into the kernel: its key store, its measuring and its page-fault machinery.",
    effect,
    inject,
    parameters={"kind": OneOf(KINDS)},
    needs=("token",),
    costs_a_restart=True,
    walls=("seccomp", "caps", "userns"),
)
