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
from faults.collector import Collector
from faults.seen import Life, Observations
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


@pytest.mark.parametrize("attack_id", ["K16", "K17", "K18", "K19", "K06", "K24", "K09", "K10"])
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


def test_egress_to_nobody_is_no_effect() -> None:
    with Collector() as elsewhere:
        closed = elsewhere.tcp_port
    with Collector() as collector:
        ports = {"collector_tcp_port": closed, "collector_udp_port": closed}
        with stage.attacker("K23", ports) as actor:
            stage.strike(actor)
    seen = Observations((), received=collector.received())
    assert detectors.detect("K23", seen, stage.injection("K23")).succeeded is False
