"""Attacks on the host, each run for real without walls:
the watcher sees the effect, and the detector says so.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from pathlib import Path

import pytest

from faults import detectors
from faults import watcher as watching
from faults.collector import Collector
from faults.seen import Life, Observations, Peaks
from faults.terminal import Terminal
from faults.watcher import Watcher
from tests.faults import stage


@pytest.fixture
def token() -> str:
    """The mark of one run."""
    return "bx" + secrets.token_hex(3)


@pytest.mark.parametrize(
    ("attack_id", "parameters"),
    [
        ("K16", {"count": 12, "seconds": 0.5}),
        ("K17", {}),
        ("K18", {}),
        ("K19", {"bytes": 0}),
        ("K19", {"count": 0}),
        ("K06", {}),
        ("K24", {}),
        ("K04", {"count": 200}),
        ("K07", {}),
        ("K11", {"kind": "keyctl"}),
        ("K12", {"way": "clone3"}),
        ("K20", {"count": 2, "seconds": 0.8, "cpu_s_max": 0.6}),
        ("F02", {"seconds": 2.3}),
    ],
)
def test_the_effect_is_seen(attack_id: str, parameters: dict[str, object], token: str) -> None:
    given = parameters | {"token": f"{token}-{attack_id}"}
    watcher, report = stage.watched(attack_id, given, token)
    effect = detectors.detect(attack_id, stage.observations(watcher), stage.injection(attack_id, **given))
    assert effect.succeeded is True, (effect, report)
    assert not [
        path for folder in ("/tmp", "/var/tmp", "/dev/shm") for path in Path(folder).glob(f"{token}*")
    ]


def test_k09_an_io_uring_is_seen(token: str) -> None:
    stage.skip_if_host_forbids("io_uring")
    watcher, report = stage.watched("K09", {}, token)
    effect = detectors.detect("K09", stage.observations(watcher), stage.injection("K09"))
    assert effect.succeeded is True, (effect, report)


def test_k10_a_user_namespace_is_seen(token: str) -> None:
    stage.skip_if_host_forbids("userns")
    watcher, report = stage.watched("K10", {}, token)
    effect = detectors.detect("K10", stage.observations(watcher), stage.injection("K10"))
    assert effect.succeeded is True, (effect, report)


@pytest.mark.parametrize(
    ("attack_id", "parameters"),
    [
        ("K11", {"kind": "userfaultfd"}),
        ("K11", {"kind": "perf_event_open"}),
        pytest.param("K11", {"kind": "bpf"}, marks=pytest.mark.root),  # the kernel keeps these two for root
        ("K12", {"way": "int80"}),
        pytest.param("K22", {}, marks=pytest.mark.root),
    ],
)
def test_what_some_hosts_forbid_is_seen_on_others(
    attack_id: str, parameters: dict[str, object], token: str
) -> None:
    given = parameters | {"token": f"{token}-{attack_id}"}
    watcher, report = stage.watched(attack_id, given, token)
    if "note" in report or "error" in report:
        stage.skip_if_host_forbids(str(parameters.get("kind", parameters.get("way", "clock"))))
    effect = detectors.detect(attack_id, stage.observations(watcher), stage.injection(attack_id, **given))
    assert effect.succeeded is True, (effect, report)


def test_k05_makes_use_of_what_was_left_open(token: str) -> None:
    fd = os.memfd_create("image")
    os.write(fd, b"an image and its configuration")
    os.set_inheritable(fd, True)
    try:
        watcher, report = stage.watched("K05", {}, token, (fd,))
    finally:
        os.close(fd)
    effect = detectors.detect("K05", stage.observations(watcher), stage.injection("K05"))
    assert effect.succeeded is True, (effect, report)


@pytest.mark.parametrize("high_bit", [False, True])
def test_k13_types_into_the_terminal_that_it_is_given(high_bit: bool) -> None:
    with (
        Terminal() as terminal,
        stage.attacker("K13", {"terminal": terminal.path, "high_bit": high_bit}) as actor,
    ):
        report, _ = stage.strike(actor)
    if not terminal.received():
        stage.skip_if_host_forbids("tiocsti")
    seen = Observations((), received=terminal.received())
    assert detectors.detect("K13", seen, stage.injection("K13")).succeeded is True, report


def test_a_terminal_in_which_nobody_types_has_received_nothing() -> None:
    with Terminal() as terminal:
        assert Path(terminal.path).is_char_device()
    assert terminal.received() == ()


def test_k15_leaves_a_core_in_the_folder_that_it_is_given(token: str, tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8").strip()
    given = {"token": f"{token}-K15", "folder": str(tmp_path), "core_pattern": pattern, "bytes": 1 << 17}
    names: dict[str, str] = {}
    with (
        stage.attacker("K15", given) as actor,
        Watcher(os.getpid(), names, lambda: stage.FRAME, token, 0.002, str(tmp_path)) as watcher,
    ):
        report, _ = stage.strike(actor)
        stage.wait_for_a_sample(watcher)
    effect = detectors.detect("K15", stage.observations(watcher), stage.injection("K15", **given))
    assert effect.succeeded is (not report.get("interlock")), (effect, report)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1 << 17


@pytest.mark.parametrize("pattern", ["|/usr/lib/systemd/systemd-coredump %P", "/var/crash/core.%p", ""])
def test_k15_does_nothing_where_cores_would_outlive_the_run(pattern: str, tmp_path: Path) -> None:
    given = {"folder": str(tmp_path), "core_pattern": pattern}
    with stage.attacker("K15", given) as actor:
        report, _ = stage.strike(actor)
    assert report["interlock"] is True
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "attack_id",
    ["K16", "K17", "K18", "K19", "K06", "K24", "K09", "K10", "K05", "K07", "K11", "K12", "K20", "K22"],
)
def test_a_process_that_does_nothing_shows_no_effect(attack_id: str, token: str) -> None:
    watcher, _ = stage.watched("F02", {"seconds": 0.1}, token)
    given = {"token": f"{token}-{attack_id}"}
    effect = detectors.detect(attack_id, stage.observations(watcher), stage.injection(attack_id, **given))
    assert effect.succeeded is False, effect


def test_the_processor_time_of_a_process_is_seen(token: str) -> None:
    busy, _ = stage.watched("F02", {"seconds": 0.6, "how": "spin"}, token)
    idle, _ = stage.watched("F02", {"seconds": 0.6, "how": "sleep"}, token)
    used_s = [watcher.peaks["transfer", stage.FRAME].cpu_s for watcher in (busy, idle)]
    assert used_s[0] > used_s[1] + 0.1, used_s
    assert used_s[0] < 2.0, used_s


def test_k25_outlives_its_parent_and_ends_by_itself(token: str) -> None:
    given = {"token": f"{token}-K25", "deadline_unix_s": time.time() + 3.0}
    watcher, _ = stage.watched("K25", given, token)
    survivors = watcher.survivors()
    lives = (Life("transfer", 0, 0, stage.FRAME, "killed"),)
    seen = stage.observations(watcher, survivors=survivors, lives=lives)
    assert detectors.detect("K25", seen, stage.injection("K25", **given)).succeeded is True
    os.kill(survivors[0].pid, signal.SIGTERM)  # to which it is deaf
    assert watcher.survivors() == survivors
    give_up_s = time.monotonic() + 10
    while watcher.survivors() and time.monotonic() < give_up_s:
        time.sleep(0.05)
    assert watcher.survivors() == ()


def test_survivors_can_be_ended(token: str) -> None:
    given = {"token": f"{token}-K25", "deadline_unix_s": time.time() + 20.0}
    watcher, _ = stage.watched("K25", given, token)
    ended = watcher.end_survivors()
    assert [one.comm for one in ended] == [f"{token}-K25"]
    give_up_s = time.monotonic() + 5
    while watcher.survivors() and time.monotonic() < give_up_s:
        time.sleep(0.01)
    assert watcher.survivors() == ()


def test_a_watcher_that_saw_nothing_makes_no_claim(token: str) -> None:
    with Watcher(os.getpid(), {}, lambda: stage.FRAME, token) as watcher:
        time.sleep(0.02)
    effect = detectors.detect("K16", stage.observations(watcher), stage.injection("K16"))
    assert effect.succeeded is None


def test_k23_and_k08_arrive_at_the_collector() -> None:
    with Collector() as collector:
        given = {"collector_tcp_port": collector.tcp_port, "collector_udp_port": collector.udp_port}
        for attack_id, parameters in (("K23", given), ("K08", {"abstract_name": collector.abstract_name})):
            with stage.attacker(attack_id, parameters) as actor:
                stage.strike(actor)
    seen = Observations((), received=collector.received())
    for attack_id, doors in (("K23", {"tcp", "udp"}), ("K08", {"abstract"})):
        assert detectors.detect(attack_id, seen, stage.injection(attack_id)).succeeded is True
        assert doors == {one.door for one in seen.received or () if attack_id.encode() in one.data}


def test_k26_a_thread_of_before_the_first_window_lives_on_and_gets_out(token: str) -> None:
    with Collector() as collector:
        watcher, report = stage.watched("K26", {"collector_udp_port": collector.udp_port}, token)
    alone = stage.injection("K26", threads_max=1)
    assert detectors.detect("K26", stage.observations(watcher), alone).succeeded is True, report
    seen = stage.observations(watcher, received=collector.received())
    assert detectors.detect("K26", seen, stage.injection("K26", threads_max=9)).succeeded is True, report


def test_egress_to_nobody_is_no_effect() -> None:
    with Collector() as elsewhere:
        closed = elsewhere.tcp_port
    with Collector() as collector:
        ports = {"collector_tcp_port": closed, "collector_udp_port": closed}
        with stage.attacker("K23", ports) as actor:
            stage.strike(actor)
    seen = Observations((), received=collector.received())
    assert detectors.detect("K23", seen, stage.injection("K23")).succeeded is False


@pytest.mark.parametrize(
    ("born", "now", "told"), [(64, 64, 64), (64, 128, 65), (64, 256, 129), (256, 256, -1)]
)
def test_where_descriptors_cannot_be_listed_a_table_that_has_grown_tells_of_them(
    monkeypatch: pytest.MonkeyPatch, born: int, now: int, told: int
) -> None:
    """A table of its birth size says nothing; one that has doubled has a descriptor in its new half."""
    sizes = iter([born, now])
    monkeypatch.setattr(watching, "_status", lambda _pid, _name: str(next(sizes)))
    watcher, peak = Watcher(os.getpid(), {}, lambda: 1, "bx"), Peaks()
    process = watching._Process(7, "gate", "S", 1, 0, 1, 0, 1)
    for _ in range(2):
        watcher._record_table(peak, process)
    assert peak.fds_max == told


@pytest.mark.parametrize(
    ("main", "child", "is_seen"), [(0, 0x1FF, True), (0, 0, False), (0x1FF, 0x1FF, False)]
)
def test_a_world_of_its_own_is_seen_by_capabilities_out_of_nothing_where_its_link_cannot_be_read(
    token: str, monkeypatch: pytest.MonkeyPatch, main: int, child: int, *, is_seen: bool
) -> None:
    """As root the link can be read, so there K10 would be seen without this; an ordinary user needs it."""
    monkeypatch.setattr(watching, "_namespace", lambda _: "")
    monkeypatch.setattr(watching, "_capabilities", {1: main, 2: child}.get)
    peak = Peaks()
    watcher = Watcher(os.getpid(), {}, lambda: 0, token)
    for pid in (1, 2):
        watcher._record_namespace(peak, 1, pid)
    assert peak.has_foreign_user_namespace is is_seen
