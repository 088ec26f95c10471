"""The seccomp filters: default deny, native architecture only, in two steps.

The *launch* filter is on while the stub connects the channel and imports declared packages. The *sealed*
filter is added before the first line of partition code, on all threads of the process; filters only ever add
up. A call that is merely not needed fails with EPERM. A call that no honest program here makes kills the
process, so that the monitor sees SIGSYS and knows.
"""

from __future__ import annotations

import errno
import os
from functools import cache

import pyseccomp


def names(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


#: What Python and libzmq's running threads need. Nothing here starts, signals or reaches anything;
#: ``sysinfo`` is left out because it tells the load of the whole machine, ``getrusage`` because it counts page
#: faults and blocks read, which tell what others have loaded, ``shutdown``, ``eventfd2`` and ``rseq`` because
#: nobody needs them any more. All partitions map the same files of the standard library, so nothing here may
#: mark such a file for others to see: no lock, lease, watch or question about the page cache.
SEALED = names(
    "read write readv writev pread64 pwrite64 close fstat newfstatat stat lstat statx lseek access faccessat "
    "faccessat2 readlink readlinkat getcwd getdents64 openat open dup ftruncate unlink unlinkat "
    "munmap mremap brk restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack "
    "epoll_wait epoll_pwait epoll_pwait2 epoll_ctl poll ppoll select pselect6 sendto recvfrom "
    "getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid getrandom uname "
    "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time sched_yield "
    "sched_getaffinity exit exit_group"
)

#: What the launch needs besides: sockets, threads, closing what was inherited, taking the sealed filter.
LAUNCH = names(
    "socket connect bind listen accept4 accept setsockopt getsockopt getsockname getpeername sendmsg recvmsg "
    "clone clone3 set_tid_address set_robust_list rseq sched_setscheduler sched_getscheduler sched_getparam "
    "sched_setparam sched_get_priority_min sched_get_priority_max sched_setaffinity epoll_create1 eventfd2 "
    "pipe2 prctl seccomp close_range prlimit64 tgkill fcntl ioctl sysinfo getcpu times shutdown "
    "futex madvise getrusage"
)

#: No honest program makes these: the process dies at once.
FATAL = names(
    "ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal kcmp process_madvise "
    "unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick "
    "mount_setattr bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register add_key "
    "request_key keyctl init_module finit_module delete_module kexec_load kexec_file_load reboot "
    "swapon swapoff clock_settime clock_adjtime settimeofday adjtimex open_by_handle_at "
    "name_to_handle_at execve execveat memfd_create memfd_secret setuid setgid setreuid setregid setresuid "
    "setresgid setgroups capset kill tkill rt_sigqueueinfo rt_tgsigqueueinfo "
    "shmget shmat shmctl semget msgget mq_open personality acct quotactl vhangup "
    "process_mrelease iopl ioperm modify_ldt fork vfork"
)

_PR_SET_DUMPABLE = 4
_PROT_EXEC = 4
#: The kernel reads only this half of an ioctl's request and of an fcntl's command.
_LOW_HALF = 0xFFFF_FFFF
#: Python asks TCGETS of every file it opens.
_TCGETS, _FIOCLEX = 0x5401, 0x5451
#: Duplicate, and get and set flags. Not F_SETOWN and F_SETSIG, which send signals to other processes, and no
#: lock or lease, which others who have opened the same file see.
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)
#: A futex without this flag on a page of a shared file is the same futex in every process that maps the file.
_FUTEX_PRIVATE_FLAG = 128
#: What malloc asks: MADV_DONTNEED and MADV_FREE, which reach no further than the caller's own memory.
_MADVICE = (4, 8)
#: Huge pages come from one pool of the whole machine.
_MAP_HUGETLB = 0x40000


def _allow(program: pyseccomp.SyscallFilter, calls: tuple[str, ...]) -> None:
    for name in calls:
        if _exists(name):
            program.add_rule(pyseccomp.ALLOW, name)


@cache
def _exists(name: str) -> bool:
    """Whether this architecture has the call (arm64 has no ``open``)."""
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    return isinstance(number, int) and number >= 0


def _base() -> pyseccomp.SyscallFilter:
    program = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    program.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    program.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)
    for name in FATAL:
        if _exists(name):
            program.add_rule(pyseccomp.KILL_PROCESS, name)
    return program


def _compiled(program: pyseccomp.SyscallFilter) -> bytes:
    with open(os.memfd_create("filter"), "w+b") as out:
        program.export_bpf(out)
        out.seek(0)
        return out.read()


@cache
def sealed() -> bytes:
    """The sealed filter as BPF. No new executable memory, thread, process, socket or connection, and no futex
    that another process could share.

    A gate, too, has its one connection by the time it is sealed.
    """
    program = _base()
    _allow(program, SEALED)
    masked = pyseccomp.MASKED_EQ
    no_code, no_pool = pyseccomp.Arg(2, masked, _PROT_EXEC, 0), pyseccomp.Arg(3, masked, _MAP_HUGETLB, 0)
    program.add_rule(pyseccomp.ALLOW, "mmap", no_code, no_pool)
    program.add_rule(pyseccomp.ALLOW, "mprotect", pyseccomp.Arg(2, masked, _PROT_EXEC, 0))
    for request in (_TCGETS, _FIOCLEX):
        program.add_rule(pyseccomp.ALLOW, "ioctl", pyseccomp.Arg(1, masked, _LOW_HALF, request))
    for command in _FCNTL_COMMANDS:
        program.add_rule(pyseccomp.ALLOW, "fcntl", pyseccomp.Arg(1, masked, _LOW_HALF, command))
    private = pyseccomp.Arg(1, masked, _FUTEX_PRIVATE_FLAG, _FUTEX_PRIVATE_FLAG)
    program.add_rule(pyseccomp.ALLOW, "futex", private)
    for advice in _MADVICE:
        program.add_rule(pyseccomp.ALLOW, "madvise", pyseccomp.Arg(2, masked, _LOW_HALF, advice))
    dumpable = (pyseccomp.Arg(0, pyseccomp.EQ, _PR_SET_DUMPABLE), pyseccomp.Arg(1, pyseccomp.EQ, 0))
    program.add_rule(pyseccomp.ALLOW, "prctl", *dumpable)
    return _compiled(program)


@cache
def launch() -> bytes:
    """The launch filter as BPF."""
    program = _base()
    _allow(program, (*SEALED, *LAUNCH, "mmap", "mprotect"))
    return _compiled(program)
