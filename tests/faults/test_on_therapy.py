"""Attacks on another process, each against a real one: what it held is changed, read, ended, starved."""

from __future__ import annotations

import json
import os
import secrets
import subprocess

import pytest

from faults.attacks.k01_ptrace_class import OVERDOSE
from tests.faults import stage

CANARY = b"CANARY" + b"-" + b"0123456789abcdefghijklmno"


@pytest.fixture
def name() -> str:
    """A process name that no other run has."""
    return "v" + secrets.token_hex(4)


def test_k01_rewrites_the_settings_in_the_victims_memory(name: str) -> None:
    stage.skip_if_host_forbids("ptrace")
    with stage.victim(name, CANARY) as victim:
        with stage.attacker("K01", {"victim": name, "run_pid": os.getpid()}, knows=True) as attacker:
            report, _ = stage.strike(attacker)
        victim.say()
        held = json.loads(victim.hear())["held"]
    assert report["written"] >= len(OVERDOSE), report
    assert held == OVERDOSE


def test_k01_leaves_alone_what_it_does_not_know(name: str) -> None:
    with stage.victim(name, CANARY) as victim:
        with stage.attacker("K01", {"victim": name, "run_pid": os.getpid()}) as attacker:
            stage.strike(attacker)
        victim.say()
        assert json.loads(victim.hear())["held"] == stage.SETTINGS


@pytest.mark.parametrize("attack_id", ["K01", "K02", "K03", "K21", "C21"])
def test_no_attack_touches_a_process_outside_its_run(name: str, attack_id: str) -> None:
    called = f"gate-{name}" if attack_id == "C21" else name
    with stage.victim(called, CANARY) as victim:
        with stage.attacker(attack_id, {"victim": name, "run_pid": 1 << 22}, knows=True) as attacker:
            report, sent = stage.strike(attacker)
        assert report["interlock"] is True
        assert report["victim"] is None
        assert sent == []
        victim.say()
        assert json.loads(victim.hear())["held"] == stage.SETTINGS
        assert os.getpriority(os.PRIO_PROCESS, victim.pid) == os.getpriority(os.PRIO_PROCESS, 0)


def test_k01_without_a_run_attacks_nobody(name: str) -> None:
    with stage.victim(name, CANARY), stage.attacker("K01", {"victim": name}, knows=True) as attacker:
        report, _ = stage.strike(attacker)
    assert report["interlock"] is True


def test_k02_carries_the_secret_out(name: str) -> None:
    stage.skip_if_host_forbids("ptrace")
    with (
        stage.victim(name, CANARY),
        stage.attacker("K02", {"victim": name, "run_pid": os.getpid()}) as attacker,
    ):
        report, sent = stage.strike(attacker)
    assert report["canaries"] >= 1, report
    assert any(chunk.startswith(b"LOOT:K02:") and CANARY in chunk for chunk in sent)


def test_k03_ends_the_victim(name: str) -> None:
    with stage.victim(name, CANARY) as victim:
        with stage.attacker("K03", {"victim": name, "run_pid": os.getpid()}) as attacker:
            stage.strike(attacker)
        assert victim.process.wait(5) == -9


def test_c21_ends_the_gate_before_the_victim(name: str) -> None:
    with stage.victim(f"gate-{name}", CANARY) as gate:
        with stage.attacker("C21", {"victim": name, "run_pid": os.getpid()}) as attacker:
            stage.strike(attacker)
        assert gate.process.wait(5) == -9


def test_k03_stops_the_victim_for_a_bounded_time(name: str) -> None:
    with stage.victim(name, CANARY) as victim:
        how = {"victim": name, "run_pid": os.getpid(), "signal": "stop", "seconds": 0.3}
        with stage.attacker("K03", how) as attacker:
            stage.strike(attacker)
            with open(f"/proc/{victim.pid}/stat", encoding="ascii") as file:
                assert file.read().rpartition(")")[2].split()[0] == "T"
            victim.say()
            assert json.loads(victim.hear())["held"] == stage.SETTINGS  # it answers once it goes on


def test_k21_starves_the_victim(name: str) -> None:
    with stage.victim(name, CANARY) as victim:
        with stage.attacker("K21", {"victim": name, "run_pid": os.getpid()}) as attacker:
            stage.strike(attacker)
        assert os.getpriority(os.PRIO_PROCESS, victim.pid) == 19


def test_processes_that_have_gone_are_no_victims(name: str) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with stage.attacker("K03", {"victim": name, "run_pid": os.getpid()}) as attacker:
        report, _ = stage.strike(attacker)
    assert report["victim"] is None
    assert report["interlock"] is False
