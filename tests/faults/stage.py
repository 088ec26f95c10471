"""Starts victims and attackers as real processes; says what this host forbids even without walls."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.attack import Injection
from faults.seen import Observations
from faults.watcher import SELDOM, Watcher
from tests.support.devices import descendants

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
FRAME = 96
SETTINGS = {
    "basal_profile_u_per_h": 0.7812345,
    "carb_ratio_g_per_u": 10.8361,
    "correction_mg_dl_per_u": 34.5271,
    "target_mg_dl": 110.0,
    "basal_max_u_per_h": 3.124938,
    "insulin_on_board_max_u": 9.8651,
}


class Actor:
    """A process that answers line by line."""

    def __init__(self, program: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
        command = [sys.executable, str(_HERE / program), *arguments]
        environment = dict(os.environ) | {"PYTHONPATH": str(_ROOT)}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=_ROOT,
            pass_fds=pass_fds,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def say(self, line: str = "") -> None:
        """Send it one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """Its next line, empty when it has gone."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Let it go, or make it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@contextmanager
def victim(name: str, canary: bytes) -> Iterator[Actor]:
    """A victim that holds ``SETTINGS`` and the canary."""
    actor = Actor("victim.py", name, canary.hex())
    try:
        actor.say(json.dumps(SETTINGS))
        assert actor.hear() == "ready"
        yield actor
    finally:
        actor.end()


@contextmanager
def attacker(
    attack_id: str,
    parameters: Mapping[str, object],
    name: str = "transfer",
    *,
    knows: bool = False,
    pass_fds: tuple[int, ...] = (),
) -> Iterator[Actor]:
    """An attacker on its mark: it strikes at the first line it is sent. ``knows``: therapy's settings."""
    known = json.dumps(SETTINGS if knows else {})
    given = json.dumps(parameters)
    actor = Actor("attacker.py", name, attack_id, str(FRAME), given, known, pass_fds=pass_fds)
    try:
        assert actor.hear() == "ready"
        yield actor
    finally:
        actor.end()


def strike(actor: Actor) -> tuple[dict[str, Any], list[bytes]]:
    """Let the attacker attack.

    Returns its report (empty when it did not live to give one) and what it sent out.
    """
    actor.say()
    sent: list[bytes] = []
    while line := actor.hear():
        answer = json.loads(line)
        if "report" in answer:
            return answer["report"], sent
        sent.append(bytes.fromhex(answer["chunk"]))
    return {}, sent


def watched(
    attack_id: str, parameters: Mapping[str, object], token: str, pass_fds: tuple[int, ...] = ()
) -> tuple[Watcher, dict[str, Any]]:
    """Run an attack in a process of its own under a watcher. ``pass_fds`` are left open in it."""
    with attacker(attack_id, parameters, pass_fds=pass_fds) as actor:
        with Watcher(os.getpid(), {"transfer": "transfer"}, lambda: FRAME, token, 0.002) as watcher:
            report, _ = strike(actor)
        return watcher, report


def observations(watcher: Watcher, **more: Any) -> Observations:
    """What a watcher saw, as a detector wants it."""
    return Observations(
        log_lines=(),
        peaks=dict(watcher.peaks),
        frame_seconds=watcher.frame_seconds(),
        shared_files=dict(watcher.shared_files),
        clock_jumps=tuple(watcher.clock_jumps),
        **more,
    )


def wait_for_a_sample(watcher: Watcher) -> None:
    """Until the watcher has looked once more, at everything."""
    until = watcher.samples + SELDOM + 1
    give_up_s = time.monotonic() + 10
    while watcher.samples < until and time.monotonic() < give_up_s:
        time.sleep(0.002)


def injection(attack_id: str, **parameters: Any) -> Injection:
    """An attack in ``FRAME``."""
    return Injection(FRAME, attack_id, parameters)


def _number_in(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def skip_if_host_forbids(what: str) -> None:
    """Skip as MASKED-BY-HOST where the host itself forbids what the attack needs."""
    is_root = os.geteuid() == 0
    reasons = {
        "ptrace": (_number_in("/proc/sys/kernel/yama/ptrace_scope") or 0) >= (3 if is_root else 2),
        "io_uring": (_number_in("/proc/sys/kernel/io_uring_disabled") or 0) >= (2 if is_root else 1),
        "userns": _number_in("/proc/sys/user/max_user_namespaces") == 0
        or (not is_root and _number_in("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1),
        "userfaultfd": not is_root and (_number_in("/proc/sys/vm/unprivileged_userfaultfd") or 0) == 0,
        "perf_event_open": (_number_in("/proc/sys/kernel/perf_event_paranoid") or 0) >= 3 and not is_root,
        "bpf": not is_root and (_number_in("/proc/sys/kernel/unprivileged_bpf_disabled") or 0) >= 1,
        "int80": platform.machine() != "x86_64",
        "clock": not is_root,
        "tiocsti": not is_root and _number_in("/proc/sys/dev/tty/legacy_tiocsti") == 0,
    }
    if reasons[what]:
        pytest.skip(f"MASKED-BY-HOST: this host itself forbids {what}")


def end_adopted(names: tuple[str, ...] = ("transfer", "therapy")) -> None:
    """End partitions that earlier tests of this process have left to it: those without a lifeline live on for a while.

    A process that launches becomes the parent of what its monitors leave behind, and a watcher of its tree sees them.
    """
    for pid, comm in descendants(os.getpid()).items():
        if comm in names or comm.startswith("gate-"):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
