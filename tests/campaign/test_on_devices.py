"""Campaigns on real devices: they hold, resume after a kill, lose one trial by a dead worker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evidence.campaign import hands, remote
from evidence.campaign.results import Result
from tests.campaign.test_strata import sampler
from tests.console.commands import descendants, started
from tests.support.devices import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
PUMP = str(ROOT / "designs" / "insulin_pump")


def campaign(*words: str) -> tuple[int, dict[str, Any], str]:
    """Run the verb; returns status, its JSON, and what it says."""
    done = subprocess.run(
        [sys.executable, "run_device.py", "campaign", *words, "--json", "-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.mark.walls
def test_a_small_campaign_holds_and_its_pages_are_there(tmp_path: Path) -> None:
    status, found, said = campaign("C06", "C07", "--trials", "4", "--keep", str(tmp_path / "kept"))
    assert (status, found["problems"]) == (0, []), said
    assert (found["done"], found["walled"]["outcomes"]["HELD"], found["walled"]["counted"]) == (4, 4, 4)
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert names == {"campaign.sqlite", "trials.parquet", "campaign.html"}
    assert "0 breaches in 4" in (tmp_path / "kept" / "campaign.html").read_text()
    again, same, said = campaign("C06", "C07", "--trials", "4", "--keep", str(tmp_path / "kept"))
    assert (again, same["walled"]) == (0, found["walled"])
    assert "4 of 4 trials are there already" in said


@pytest.mark.walls
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_campaign_says_that_it_was_stopped_and_nothing_else(number: int) -> None:
    words = ["C08", "--trials", "8", "--workers", "1"]
    one = subprocess.Popen(
        [sys.executable, "run_device.py", "campaign", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )

    def is_at_work() -> bool:
        return any(b"evidence.worker" in _command_of(pid) for pid, _ in descendants(one.pid))

    try:
        assert wait_until(is_at_work, 90.0)
    finally:
        os.kill(one.pid, number)
        _, said = one.communicate(timeout=60.0)
    assert one.returncode == 130
    assert said.strip() == "run_device: stopped as asked; all that the wall lifeline ties has ended"


@pytest.mark.walls
def test_when_an_interrupted_campaign_says_that_all_has_ended_it_has() -> None:
    """Seen: its workers, and devices without the wall lifeline, lived on behind that sentence."""
    words = ["F02", "--trials", "40", "--workers", "1"]
    one = subprocess.Popen(
        [sys.executable, "run_device.py", "campaign", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    seen: set[tuple[int, str]] = set()

    def has_a_device() -> bool:
        seen.update(descendants(one.pid))
        return any(b"gate-" in _name_of(pid) for pid, _ in seen)

    try:
        assert wait_until(has_a_device, 90.0)
        os.kill(one.pid, signal.SIGINT)
        assert one.stderr is not None
        said = next(line for line in one.stderr if line.strip())
        alive = {pid for pid, born in seen if started(pid) == born}
        names = [_command_of(pid) for pid in alive]
    finally:
        one.kill()
        one.communicate(timeout=60.0)
    assert "all that the wall lifeline ties has ended" in said
    # Python's own keeper of semaphores ends with the process itself.
    assert [name for name in names if b"resource_tracker" not in name] == []


def _name_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_bytes()
    return b""


def _command_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_killed_campaign_goes_on_where_it_was_and_leaves_nothing_running(tmp_path: Path) -> None:
    words = ["C06", "C08", "--trials", "6", "--workers", "1", "--keep", str(tmp_path)]
    first = subprocess.Popen([sys.executable, "run_device.py", "campaign", *words, "--quiet"], cwd=ROOT)
    data = tmp_path / "campaign.sqlite"

    def rows() -> int:
        """Read past the campaign's lock, and so now and then in the middle of a write."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{data}?mode=ro&nolock=1", uri=True)) as beside:
                return int(beside.execute("SELECT count(*) FROM trial").fetchone()[0])
        except sqlite3.Error:
            return 0

    try:
        assert wait_until(lambda: rows() > 1, 90.0)  # the second is written when the first is kept for good
        seen = set(descendants(first.pid))
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert len(seen) > 3
    assert wait_until(lambda: not any(started(pid) == born for pid, born in seen), 10.0)
    kept = rows()
    assert 0 < kept < 6
    status, found, said = campaign(*words)
    assert (status, found["done"]) == (0, 6), said
    assert f"{kept} of 6 trials are there already" in said


def test_a_dask_worker_that_dies_costs_its_trial_and_is_not_tried_again() -> None:
    one = sampler(("F02",), 2)  # it holds its device for a second
    heard: list[Result] = []
    one = type(one)(msgspec.structs.replace(one.campaign, design=PUMP), one.attacks)
    with hands.cluster(None, 1) as client:
        mine = msgspec.json.decode(remote.here(PUMP), type=remote.Here)
        assert hands.agreed(client, mine, PUMP) == 1
        (pid,) = client.run(os.getpid).values()

        def kill_it_when_busy() -> None:
            wait_until(lambda: any(name_of(child) == "bh-monitor" for child, _ in descendants(pid)), 30.0)
            os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_it_when_busy)
        killer.start()
        hands.perform(client, one, [0, 1], 1, (), heard.append)
        killer.join()
    outcomes = {result.number: result.outcome for result in heard}
    assert sorted(outcomes) == [0, 1]
    assert len(heard) == 2
    assert outcomes[0] == "NO-REPLY"
    assert "its Dask worker gave no answer" in next(r.reason for r in heard if r.number == 0)


def name_of(pid: int) -> str:
    """What a process is called; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_a_worker_with_other_code_is_refused_by_name() -> None:
    with hands.cluster(None, 1) as client:
        mine = msgspec.json.decode(remote.here(PUMP), type=remote.Here)
        with pytest.raises(hands.ClusterWrong, match="differs in code"):
            hands.agreed(client, msgspec.structs.replace(mine, code="other"), PUMP)
        with pytest.raises(hands.ClusterWrong, match="no such Bulkhead or design"):
            hands.agreed(client, mine, str(ROOT / "designs" / "nowhere"))


def test_a_cluster_that_does_not_answer_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "CONNECT_S", 0.5)
    with (
        pytest.raises(hands.ClusterWrong, match=r"tcp://127\.0\.0\.1:1: .*start one with dask scheduler"),
        hands.cluster("tcp://127.0.0.1:1", 1),
    ):
        pass


def test_nobody_without_the_campaigns_own_key_gets_a_word_out_of_its_cluster() -> None:
    import distributed

    with hands.cluster(None, 1) as client:
        address = str(client.scheduler_info()["address"])
        assert address.startswith("tls://127.0.0.1:")
        port = int(address.rpartition(":")[2])
        stranger = distributed.Security.temporary().get_connection_args("client")["ssl_context"]
        stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
        without_key = ssl.create_default_context()
        without_key.check_hostname, without_key.verify_mode = False, ssl.CERT_NONE
        assert [_words_for(port, wrap) for wrap in (None, without_key, stranger)] == [b"", b"", b""]
        assert client.submit(os.getpid, pure=False).result() > 0


def _words_for(port: int, wrap: ssl.SSLContext | None) -> bytes:
    """What a stranger hears until the door is shut, which it is within seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=20.0) as plain:
        try:
            with wrap.wrap_socket(plain) if wrap else plain as line:
                line.sendall(b"let me in" * 20)
                return line.recv(1)
        except (ssl.SSLError, ConnectionError):
            return b""
