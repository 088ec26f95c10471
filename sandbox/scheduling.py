"""Who runs first and where: real-time priority for what is critical, and processors that nobody else of the device has.

Not a wall: it keeps nothing out, it keeps therapy on time. The monitor asks for it by process id, from outside, so that
no filter of a confined process has to allow anything. A process that is moved up cannot move itself further, its
children are ordinary ones, and the kernel kills it when it runs for ``RUN_US_MAX`` without once waiting.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox import cgroups

#: SCHED_FIFO priorities: who watches comes before who is watched, so that a budget ends where all share a processor.
MONITOR, GATE, PARTITION = 30, 20, 10
#: How long a confined process may run at real-time priority without waiting for anything.
RUN_US_MAX = 1_000_000
#: The same for the monitor, which waits many times in each frame: killed, it takes the device with it (lifeline).
MONITOR_RUN_US_MAX = 5_000_000
#: Of each second, what all real-time control groups of one device may have in version 1. The kernel's usual bound for
#: the whole host is 950 ms, and it gives back what a removed group had only after a while: a life that is started again
#: holds its share twice.
GROUPS_RT_US = 450_000
_POLICY = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
_GUARD = Path("/proc/sys/kernel/sched_rt_runtime_us")
_WORDS_BYTES_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Grant:
    """What this host grants. An empty reason says that it does; else ``remedy`` says what to do.

    ``critical`` are the processors of the monitor, the critical partitions and the gates that these need; ``others``
    are those of all other confined processes. The two are the same where processors cannot be set apart.
    """

    critical: frozenset[int]
    others: frozenset[int]
    cpus_reason: str = ""
    cpus_remedy: str = ""
    rt_reason: str = ""
    rt_remedy: str = ""

    @property
    def has_cpus(self) -> bool:
        """Whether what is critical has processors of its own."""
        return not self.cpus_reason

    @property
    def has_rt(self) -> bool:
        """Whether what is critical gets real-time priority."""
        return not self.rt_reason

    @property
    def facts(self) -> dict[str, object]:
        """For a note: both states, and why and what to do about one that is not to be had."""
        return {
            "cpus": "unavailable" if self.cpus_reason else "enforced",
            "cpus_reason": self.cpus_reason,
            "cpus_remedy": self.cpus_remedy,
            "rt": "unavailable" if self.rt_reason else "enforced",
            "rt_reason": self.rt_reason,
            "rt_remedy": self.rt_remedy,
            "critical_cpus": [str(cpu) for cpu in sorted(self.critical)],
            "other_cpus": [str(cpu) for cpu in sorted(self.others)],
        }


def probe(*, in_group: bool, share_us: int, guard: Path = _GUARD) -> Grant:
    """Try both, in a forked child. ``in_group``: confined processes join a control group for the processor, where
    version 1 of the kernel's groups has to grant ``share_us`` of each second.
    """
    cpus = sorted(os.sched_getaffinity(0))
    critical, others = frozenset(cpus[-1:]), frozenset(cpus[:-1])
    cpus_reason = cpus_remedy = ""
    if not others:
        critical = others = frozenset(cpus)
        cpus_reason = f"only processor {cpus[0]} may be used, and it cannot be divided"
        cpus_remedy = "start with at least two processors (taskset, or the container's --cpuset-cpus)"
    elif why := _attempt(lambda: _settle(os.getpid(), critical, 0)):
        critical = others = frozenset(cpus)
        cpus_reason, cpus_remedy = why, "start outside a container that filters system calls"
    rt_reason, rt_remedy = _rt(in_group=in_group, share_us=share_us, guard=guard)
    return Grant(critical, others, cpus_reason, cpus_remedy, rt_reason, rt_remedy)


def _rt(*, in_group: bool, share_us: int, guard: Path) -> tuple[str, str]:
    """Why real-time priority is not to be had, and what to do; two empty texts when it is."""
    try:
        if guard.read_text().strip() == "-1":
            return (
                "kernel.sched_rt_runtime_us is -1: nothing would keep a program that spins from the whole machine",
                "as root, sysctl kernel.sched_rt_runtime_us=950000",
            )
    except OSError as error:
        return f"{guard} cannot be read ({error.strerror})", "mount procfs"
    if why := _attempt(lambda: _settle(os.getpid(), os.sched_getaffinity(0), MONITOR)):
        if os.geteuid() != 0:
            return (
                f"real-time priority is not this user's ({why})",
                f"run as root, or grant this user a real-time priority of {MONITOR} (ulimit -r, limits.conf)",
            )
        return f"this root may not ({why})", "give it CAP_SYS_NICE (in a container: --cap-add SYS_NICE)"
    return _rt_in_group(share_us) if in_group else ("", "")


def _rt_in_group(share_us: int) -> tuple[str, str]:
    wall = frozenset({"cpucg"})
    remedy = "grant this group of processes real-time (cpu.rt_runtime_us), or leave out the wall cpucg"
    try:
        group = cgroups.Group(cgroups.title("rt"), wall, 0, 0, 1.0, share_us)
    except OSError as error:
        return f"its control group takes no real-time share ({error.strerror})", remedy
    try:

        def joined() -> None:
            cgroups.join(group.joined_by)
            _settle(os.getpid(), os.sched_getaffinity(0), PARTITION)

        why = _attempt(joined)
        return (f"not in a control group for the processor ({why})", remedy) if why else ("", "")
    finally:
        group.remove()


def place(pid: int, cpus: Iterable[int], priority: int) -> None:
    """Put all threads of a confined process on these processors, at this priority (0: an ordinary one), and see it.

    Raises ``OSError``.
    """
    if priority:
        resource.prlimit(pid, resource.RLIMIT_RTPRIO, (0, 0))
        resource.prlimit(pid, resource.RLIMIT_RTTIME, (RUN_US_MAX, RUN_US_MAX))
    _settle(pid, cpus, priority)


def place_monitor(template: int, grant: Grant) -> None:
    """The calling monitor before all it watches, and its template off the critical processors. Raises ``OSError``."""
    _settle(template, grant.others, 0)
    if grant.has_rt:
        resource.setrlimit(resource.RLIMIT_RTTIME, (MONITOR_RUN_US_MAX, MONITOR_RUN_US_MAX))
    _settle(os.getpid(), grant.critical, MONITOR if grant.has_rt else 0)


@contextmanager
def ordinary() -> Iterator[None]:
    """Let the calling process be an ordinary one for as long as this lasts.

    Without it a monitor at real-time priority that buries such a process can wait inside the kernel, and never sleep,
    for threads of the dead that the same processor would have to run first: seen on Linux 6.18, where the whole machine
    then stood still.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def give_up(pid: int) -> None:
    """Make all threads of a process ordinary ones; those that are gone already are as good."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            with suppress(ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _settle(pid: int, cpus: Iterable[int], priority: int) -> None:
    wanted = set(cpus)
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        os.sched_setaffinity(thread, wanted)
        if priority:
            os.sched_setscheduler(thread, _POLICY, os.sched_param(priority))
        policy = os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK
        taken = policy == os.SCHED_FIFO and os.sched_getparam(thread).sched_priority == priority
        if os.sched_getaffinity(thread) != wanted or (priority and not taken):
            raise OSError(0, f"thread {thread} of process {pid} did not take its processors or its priority")


def _attempt(step: Callable[[], None]) -> str:
    """Do it in a forked child: what the kernel said against it, or nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            step()
            said = ""
        except OSError as error:
            said = (error.strerror or str(error)).lower()
        except BaseException as error:  # whatever it is: the frames below must not go on in here
            said = f"{type(error).__name__}: {error}"
        os.write(writer, (said or "done").encode()[:_WORDS_BYTES_MAX])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as words:
        said = words.read(_WORDS_BYTES_MAX).decode("utf-8", "replace")
    os.waitpid(child, 0)
    return "" if said == "done" else said or "the attempt gave no answer"
