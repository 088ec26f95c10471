"""A stage that refuses asks for another start: the power supply gives it, until the attempts of the slot are spent."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ipc_schemas import links
from monitor.loader import load_design
from sandbox import walls
from tests.console import commands
from tests.support.devices import nothing_left
from world import bench, devices
from world.bench import Bench, BenchError, BootRefused, Plan, Record, run_folder
from world.nursery import Nursery

pytestmark = pytest.mark.walls

THERMOSTAT = commands.ROOT / "examples" / "thermostat"
FRAMES = 3
#: The partition whose image is spoilt.
VICTIM = "heater"


def spoil(flash: Path) -> None:
    """The monitor, and no stage before it, will refuse slot a."""
    path = flash / "slot_a" / f"{VICTIM}.img"
    path.write_bytes(path.read_bytes()[:-1])


def spoil_with_a_recovery(flash: Path) -> None:
    design = load_design(THERMOSTAT, walls.ALL)
    parts = devices.parts_of(design, {})
    devices.factory().write_release(flash, "b", parts, "0.5", design.name, devices.signers_of(design))
    spoil(flash)


def start(tamper: Callable[[Path], None], hear: Callable[[links.Note], None] = lambda _: None) -> Record:
    plan = Plan(THERMOSTAT, FRAMES, tamper=lambda opened: tamper(opened.device.flash))
    with run_folder() as folder, Bench(plan=plan) as one:
        return one.run(plan, folder, on_note=hear)


def told(record: Record) -> list[tuple[object, object, object]]:
    return [
        (note.facts["stage"], note.facts["image"], note.facts["rule"])
        for note in record.of_kind("boot_refused")
    ]


def test_a_slot_whose_attempts_are_spent_gives_way_to_the_recovery_slot() -> None:
    heard: list[links.Note] = []
    with nothing_left(within_s=20.0):
        record = start(spoil_with_a_recovery, heard.append)
    assert (record.frames_done, record.exit_status) == (FRAMES, 0)
    assert record.starts == devices.ATTEMPTS_LEFT + 1
    assert told(record) == [("monitor", VICTIM, "digest")]
    assert [note.kind for note in heard].count("boot_refused") == 1
    assert record.of_kind("boot_refused")[0].text.startswith("slot a: ")


def test_with_no_other_slot_the_device_ends_in_its_safe_state() -> None:
    with nothing_left(within_s=20.0):
        record = start(spoil)
    assert (record.frames_done, record.exit_status) == (0, 3)
    assert record.starts == devices.ATTEMPTS_LEFT + 1
    assert told(record) == [("monitor", VICTIM, "digest"), ("rom", "release", "form")]
    assert len(record.of_kind("safe_state")) == 1


def test_a_refusal_of_roms_own_is_no_reason_to_start_again() -> None:
    def empty(flash: Path) -> None:
        (flash / "slot_a/bootloader.bhm").write_bytes(b"")

    record = start(empty)
    assert (record.starts, record.exit_status) == (1, 3)


def test_all_that_was_refused_is_told_once_and_how_often_it_was_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = Plan(THERMOSTAT, FRAMES)
    write = devices.write_flash

    def write_and_spoil(flash: Path, *rest: object) -> None:
        write(flash, *rest)  # type: ignore[arg-type]
        spoil(flash)

    monkeypatch.setattr(devices, "write_flash", write_and_spoil)
    with run_folder() as folder, Bench(plan=plan) as one, pytest.raises(BootRefused) as refused:
        one.run(plan, folder)
    said = str(refused.value)
    assert said.startswith(f"monitor refuses {VICTIM}: slot a: {VICTIM}.img has ")
    assert "; rom refuses release: slot b: slot_b is empty" in said
    assert said.endswith("(after 6 starts)")
    assert said.count(f"monitor refuses {VICTIM}") == 1


def test_a_device_from_the_nursery_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was refused lies in a flash of the run's own, and the nursery's device is none that could be reset."""
    plan = Plan(THERMOSTAT, FRAMES)
    with Nursery() as nursery:
        write = devices.write_flash

        def write_and_spoil(flash: Path, *rest: object) -> None:
            write(flash, *rest)  # type: ignore[arg-type]
            spoil(flash)

        monkeypatch.setattr(devices, "write_flash", write_and_spoil)
        with run_folder() as folder, Bench(nursery) as one, pytest.raises(BootRefused) as refused:
            one.run(plan, folder)
        assert one.monitor.returncode == 2
        assert "starts)" not in str(refused.value)
        monkeypatch.undo()
        with run_folder() as folder, Bench(nursery) as one:
            assert one.run(plan, folder).frames_done == FRAMES


def test_a_stage_that_asks_without_end_is_not_started_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An element whose attempts never end: what bounds the starts then is the power supply."""
    monkeypatch.setattr(bench, "STARTS_MAX", 1)
    record = start(spoil)
    assert (record.starts, record.exit_status) == (1, links.EXIT_RESET)


def test_a_user_who_interrupts_between_two_starts_leaves_nothing_running() -> None:
    def interrupt(note: links.Note) -> None:
        if note.kind == "boot_refused":
            threading.Timer(0.0, os.kill, (os.getpid(), signal.SIGINT)).start()

    with nothing_left(within_s=20.0), pytest.raises((KeyboardInterrupt, BenchError)) as stopped:
        start(spoil, interrupt)
    assert stopped.type is KeyboardInterrupt
