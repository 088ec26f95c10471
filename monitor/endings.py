"""How a process ended, and which event that stands for. Reads a wait status; does nothing else."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from ipc_schemas import links
from monitor.design import Event


@dataclass(slots=True)
class Ended:
    """How a process ended: ``how`` is ``exited`` or ``killed``, ``code`` the status or signal."""

    how: str
    code: int
    memory_kills: int


def ended_from(status: os.waitid_result | None, memory_kills: int) -> Ended:
    """Translate a wait status."""
    if status is None:
        return Ended("vanished", 0, memory_kills)
    how = "exited" if status.si_code == os.CLD_EXITED else "killed"
    return Ended(how, status.si_status, memory_kills)


def is_out_of_memory(ended: Ended) -> bool:
    """Whether a process ended for want of memory: the kernel's group limit, or its own address space limit."""
    return ended.memory_kills > 0 or (ended.how == "exited" and ended.code == links.EXIT_MEMORY)


def what_ended(ended: Ended) -> tuple[Event, str]:
    """The event that a process's own end stands for, and a sentence."""
    if is_out_of_memory(ended):
        return Event.MEMORY_EXCEEDED, "ran out of the memory it was given"
    if ended.how == "killed" and ended.code == signal.SIGSYS:
        return (
            Event.FORBIDDEN_SYSCALL,
            "made a system call that no honest program makes; the kernel killed it",
        )
    if ended.how == "killed":
        return Event.PARTITION_EXIT, f"was ended by signal {_signal_name(ended.code)}"
    return Event.PARTITION_EXIT, f"ended by itself with status {ended.code}"


def _signal_name(number: int) -> str:
    """``SIGSEGV``, or the number of a real-time signal, which has no name."""
    return signal.Signals(number).name if number in {known.value for known in signal.Signals} else str(number)
