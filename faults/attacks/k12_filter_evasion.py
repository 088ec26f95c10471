"""K12: go round a system-call filter: by the 32-bit entry of the kernel, or by the call that replaces a listed one."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
import struct
import time

from faults.attack import Attack, Effect, Injection, OneOf, Parameters, Report
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations, token_of

CHILD_S = 0.15
WAYS = ("clone3", "int80")

_CLONE3 = 435  # the same number on every architecture
_CLONE_ARGUMENTS_BYTES = 64
_PAGE_BYTES, _NAME_AT = 4_096, 64
_MAP_32BIT = 0x40
_I386_MEMFD_CREATE, _CLOSE_ON_EXEC = 356, 1


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """By the ``way`` "clone3" a child called ``token``, by "int80" a memory file of that name."""
    way, token = str(parameters.get("way", WAYS[0])), str(parameters["token"])
    return _clone3(parameters, token) if way == "clone3" else _int80(parameters, token)


def _clone3(parameters: Parameters, token: str) -> Report:
    arguments = struct.pack("<8Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    # The interpreter's lock stays with this thread: the child has no other to give it back.
    libc = ctypes.PyDLL(None, use_errno=True)
    child = libc.syscall(ctypes.c_long(_CLONE3), arguments, ctypes.c_long(_CLONE_ARGUMENTS_BYTES))
    if child < 0:
        return bodies.failed(parameters, os.strerror(ctypes.get_errno()))
    if child == 0:
        signal.alarm(3)
        bodies.take_name(token)
        time.sleep(CHILD_S)
        os._exit(0)
    return {"status": bodies.status_of(child)}


def _int80(parameters: Parameters, token: str) -> Report:
    if platform.machine() != "x86_64":
        return {"note": f"{platform.machine()} has no 32-bit entry of this kind"}
    rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_32BIT
    try:
        room = mmap.mmap(-1, _PAGE_BYTES, flags=flags, prot=rights)
    except OSError as error:
        return bodies.failed(parameters, str(error))
    with room as page:
        start = ctypes.addressof(ctypes.c_char.from_buffer(page))
        page[_NAME_AT : _NAME_AT + len(token) + 1] = token.encode() + b"\0"
        # push rbx; mov eax, call; mov ebx, name; mov ecx, flags; int 0x80; pop rbx; ret
        code = (
            b"\x53\xb8"
            + struct.pack("<I", _I386_MEMFD_CREATE)
            + b"\xbb"
            + struct.pack("<I", start + _NAME_AT)
        )
        code += b"\xb9" + struct.pack("<I", _CLOSE_ON_EXEC) + b"\xcd\x80\x5b\xc3"
        page[: len(code)] = code
        fd = ctypes.CFUNCTYPE(ctypes.c_int)(start)()
    if fd < 0:
        return bodies.failed(parameters, os.strerror(-fd))
    bodies.hold(parameters, 0.15)
    os.close(fd)
    return {"memory_file": True}


def effect(seen: Observations, injection: Injection) -> Effect:
    """What the call makes was seen: a process, or a memory file, of this attack's name."""
    token = token_of(injection)
    if any(token in peak.comms for peak in seen.peaks_of(injection, seen.attacker)):
        return Effect(True, f"It made a process by a side entrance: {token} ran.")
    if any(token in one.memory_files for one in seen.peaks_with_descriptors(injection)):
        return Effect(True, f"It made a file in memory by a side entrance: {token}.")
    return Effect(False, "Nothing came of its calls by side entrances.")


ATTACK = Attack(
    "K12",
    "It looks for side entrances to the kernel that a filter of system calls may have forgotten.",
    effect,
    inject,
    parameters={"way": OneOf(WAYS)},
    needs=("token",),
    costs_a_restart=True,
    walls=("seccomp", "pidscg"),
)
