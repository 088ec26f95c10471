"""What the host can see of a run's processes, sampled from procfs by a thread of the harness.

An attack's report is the attacker's word. The watcher looks for itself: how many processes a partition has,
how much memory, which descriptors, whether anything is alive that should not be.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple, Self

from faults import kernel_tables
from faults.seen import Peaks, Survivor

INTERVAL_S = 0.005
#: What is dearer to look at, or cheaper to hold for an attacker, is looked at in every so many samples.
SELDOM = 4
DEPTH_MAX = 32
#: How long a frame waits for a sample at most; without one, what was not seen is unknown.
LOOK_S_MAX = 2.0
FDS_LOOKED_AT_MAX = 4_096
#: Where any process without walls can leave a file for all to see.
SHARED_FOLDERS = ("/dev/shm", "/tmp", "/var/tmp")
#: Under this name a key that all can see is listed beside the files that all can see.
KEYS = "/proc/keys"
#: The kernel's smallest descriptor table.
_FD_TABLE_MIN = 64
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# After the name in /proc/PID/stat.
_PARENT_FIELD, _USER_TICKS_FIELD, _SYSTEM_TICKS_FIELD, _NICE_FIELD = 1, 11, 12, 16
_THREADS_FIELD, _START_FIELD = 17, 19


class _Process(NamedTuple):
    pid: int
    comm: str
    state: str
    parent: int
    nice: int
    started: int
    cpu_ticks: int
    threads: int


class Watcher:
    """A context manager that samples every ``interval_s`` until it is left.

    ``root_pid`` is the top of the run's processes; ``names`` maps a process name (``/proc/PID/comm``) to a
    label; descendants of a labelled process count with it. ``frame_now`` gives the run's current frame.
    ``token`` is the run's (``faults.means.Means``): processes and files of attacks have names that begin
    with it. ``folder`` is one in which every file counts as an attack's, ``run_folder`` the run's own.
    """

    def __init__(
        self,
        root_pid: int,
        names: dict[str, str],
        frame_now: Callable[[], int],
        token: str,
        interval_s: float = INTERVAL_S,
        folder: str = "",
        run_folder: str = "",
    ) -> None:
        self.peaks: dict[tuple[str, int], Peaks] = {}
        self.frame_seen_s: dict[int, tuple[float, float]] = {}
        self.shared_files: dict[tuple[int, str], int] = {}
        self.clock_jumps: list[tuple[int, int]] = []
        self.samples = 0
        self._root_pid, self._names, self._frame_now, self._token = root_pid, names, frame_now, token
        self._interval_s, self._folder, self._run_folder = interval_s, folder, run_folder
        self._usual: dict[int, tuple[str, int | None]] = {}
        self._labelled: dict[tuple[int, int], str] = {}
        self._ticks: dict[tuple[int, int], int] = {}
        self._tables: dict[tuple[int, int], int] = {}
        self._clock_error = kernel_tables.ClockError()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_ending.set()
        self._thread.join()

    def frame_seconds(self) -> dict[int, float]:
        """For how long each frame was seen to last, in wall-clock seconds, to ``interval_s`` exactly."""
        return {frame: last - first for frame, (first, last) in self.frame_seen_s.items()}

    def await_look(self) -> None:
        """Wait until a sample was begun and ended from now on: then it can be told what was not there.

        Frames of the virtual clock may be shorter than ``interval_s``, and this thread may be starved.
        """
        seen, give_up_s = self.samples, time.monotonic() + LOOK_S_MAX
        while self.samples < seen + 2 and time.monotonic() < give_up_s:  # the first may have begun before
            time.sleep(self._interval_s / 5)

    def survivors(self, patience_s: float = 0.0) -> tuple[Survivor, ...]:
        """Processes of attacks that are alive now: by name, or descended from a partition that has been seen.

        To be called when partitions are confirmed dead. Where nobody could confirm it, because the monitor itself
        was killed, ``patience_s`` is how long the kernel may take to end them.
        """
        give_up_s = time.monotonic() + patience_s
        while (found := self._alive()) and time.monotonic() < give_up_s:
            time.sleep(self._interval_s)
        return found

    def _alive(self) -> tuple[Survivor, ...]:
        found = []
        for pid in _all_pids():
            process = _look(pid)
            if process is None or process.state == "Z":
                continue
            is_marked = process.comm.startswith(self._token)
            if is_marked or (pid, process.started) in self._labelled:
                found.append(Survivor(pid, process.comm))
        return tuple(found)

    def end_survivors(self) -> tuple[Survivor, ...]:
        """SIGKILL what attacks of this run left behind, each by its own pidfd. Returns whom."""
        ended = []
        for survivor in self.survivors():
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(survivor.pid)
                try:
                    now = _look(survivor.pid)  # the pid may have changed hands before the pidfd was open
                    if now is not None and now.comm == survivor.comm:
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                        ended.append(survivor)
                finally:
                    os.close(handle)
        return tuple(ended)

    def _watch(self) -> None:
        while not self._is_ending.is_set():
            self._sample()
            self._is_ending.wait(self._interval_s)

    def _sample(self) -> None:
        frame, now = self._frame_now(), time.monotonic()
        first, _ = self.frame_seen_s.get(frame, (now, now))
        self.frame_seen_s[frame] = (first, now)
        members: dict[str, list[_Process]] = {}
        self._descend(self._root_pid, "", 0, members)
        for label, processes in members.items():
            self._record(self.peaks.setdefault((label, frame), Peaks()), processes)
        for folder in SHARED_FOLDERS:
            self._sample_folder(folder, frame, self._token)
        if self._run_folder:
            self._sample_folder(self._run_folder, frame, self._token)
        if self._folder:
            self._sample_folder(self._folder, frame, "")
        if self.samples % SELDOM == 0:
            self._sample_tables(frame, members)
        self.samples += 1

    def _sample_tables(self, frame: int, members: dict[str, list[_Process]]) -> None:
        """What stands in the kernel's tables, and the descriptors that are on their way in sockets."""
        owners = {one.pid: label for label, processes in members.items() for one in processes}
        for label, size in kernel_tables.total(kernel_tables.shared_segments(), owners).items():
            peak = self.peaks[label, frame]
            peak.segment_bytes_max = max(peak.segment_bytes_max, size)
        for label, processes in members.items():
            peak = self.peaks[label, frame]
            seen = [count for count in (_parked_fds(one.pid) for one in processes) if count >= 0]
            if seen:
                peak.parked_fds_max = max(peak.parked_fds_max, sum(seen))
        for key in kernel_tables.keys(self._token):
            self.shared_files[frame, f"{KEYS}/{key}"] = 0
        jump_us = self._clock_error.jump_us()
        if jump_us:
            self.clock_jumps.append((frame, jump_us))

    def _sample_folder(self, folder: str, frame: int, prefix: str) -> None:
        """Note files of attacks, with their sizes, in ``shared_files`` by frame and path."""
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                if name.startswith(prefix):
                    path = f"{folder}/{name}"
                    size = os.stat(path).st_size
                    self.shared_files[(frame, path)] = max(size, self.shared_files.get((frame, path), 0))

    def _descend(self, pid: int, label: str, depth: int, members: dict[str, list[_Process]]) -> None:
        process = _look(pid)
        if process is None or depth > DEPTH_MAX:
            return
        label = label or self._names.get(process.comm, "")
        if label and process.state != "Z":
            members.setdefault(label, []).append(process)
            self._labelled[(pid, process.started)] = label
        for child in _children(pid):
            self._descend(child, label, depth + 1, members)

    def _record(self, peak: Peaks, processes: list[_Process]) -> None:
        peak.samples += 1
        peak.processes_max = max(peak.processes_max, len(processes))
        peak.rss_bytes_max = max(peak.rss_bytes_max, *(_rss_bytes(one.pid) for one in processes))
        for one in processes:
            peak.threads_max = max(peak.threads_max, one.threads)
            peak.comms.add(one.comm)
            peak.was_stopped |= one.state in "Tt"
            peak.nice_max = max(peak.nice_max, one.nice)
            before = self._ticks.get((one.pid, one.started), 0)
            peak.cpu_s += (one.cpu_ticks - before) / _TICKS_PER_S
            self._ticks[(one.pid, one.started)] = one.cpu_ticks
            self._record_namespace(peak, processes[0].pid, one.pid)
            if not _record_descriptors(peak, one.pid):
                self._record_table(peak, one)

    def _record_table(self, peak: Peaks, one: _Process) -> None:
        """Where descriptors cannot be listed: what the size of their table says, which the kernel only ever enlarges.

        A process may have been born with a large one. If it has grown since, then, as it grows by doubling at least, a
        descriptor in the new half is what it grew for.
        """
        size = int(_status(one.pid, "FDSize") or 0)
        if not size:
            return
        first = self._tables.setdefault((one.pid, one.started), size)
        if size <= _FD_TABLE_MIN:
            peak.fds_max = max(peak.fds_max, size)
        elif size > first:
            peak.fds_max = max(peak.fds_max, size // 2 + 1)

    def _record_namespace(self, peak: Peaks, main_pid: int, pid: int) -> None:
        """A process that has moved to a user namespace of its own: by the link, or by capabilities out of
        nothing.

        The link cannot be read in every process; the capabilities can.
        """
        usual = self._usual.setdefault(main_pid, (_namespace(main_pid), _capabilities(main_pid)))
        link, capabilities = _namespace(pid), _capabilities(pid)
        peak.has_foreign_user_namespace |= bool(link and usual[0] and link != usual[0])
        peak.has_foreign_user_namespace |= usual[1] == 0 and bool(capabilities)


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/user")
    except OSError:
        return ""


def _status(pid: int, name: str) -> str:
    """One value of ``/proc/PID/status``, which everyone may read; empty when the process is gone."""
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file,
    ):
        for line in file:
            if line.startswith(name + ":"):
                return line.partition(":")[2].strip()
    return ""


def _capabilities(pid: int) -> int | None:
    text = _status(pid, "CapEff")
    return int(text, 16) if text else None


def _record_descriptors(peak: Peaks, pid: int) -> bool:
    """Whether they could be listed."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    held, memory_files, open_files = 0, Counter[str](), Counter[str]()
    for name in names[:FDS_LOOKED_AT_MAX]:
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            peak.has_io_uring |= target == "anon_inode:[io_uring]"
            if target.startswith("anon_inode:"):
                peak.kernel_objects.add(target.removeprefix("anon_inode:").strip("[]"))
            elif target.startswith("/memfd:"):
                memory_files[target.removeprefix("/memfd:").removesuffix(" (deleted)")] += 1
                held += os.stat(f"/proc/{pid}/fd/{name}").st_blocks * 512
            elif target.startswith("/") and not target.startswith("/dev/"):
                open_files[target] += 1
    peak.fds_max = max(peak.fds_max, len(names))
    peak.held_bytes_max = max(peak.held_bytes_max, held)
    peak.memory_files |= memory_files
    peak.open_files |= open_files
    return True


def _look(pid: int) -> _Process | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    words = tail.split()
    comm = head.partition("(")[2]
    ticks = int(words[_USER_TICKS_FIELD]) + int(words[_SYSTEM_TICKS_FIELD])
    parent, nice, started = (int(words[i]) for i in (_PARENT_FIELD, _NICE_FIELD, _START_FIELD))
    return _Process(pid, comm, words[0], parent, nice, started, ticks, int(words[_THREADS_FIELD]))


def _parked_fds(pid: int) -> int:
    """Descriptors that were sent to a process's Unix sockets and that it has not taken out; -1: not for us to see."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")[:FDS_LOOKED_AT_MAX]
    except OSError:
        return -1
    parked = 0
    for name in names:
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as file:
                    parked += sum(int(line.split()[1]) for line in file if line.startswith("scm_fds:"))
    return parked


def _children(pid: int) -> Iterable[int]:
    """Children of all threads: a process may be started by any."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found.extend(int(word) for word in file.read().split())
    return found


def _rss_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
