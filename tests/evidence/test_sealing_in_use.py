"""One device, started several times, by real processes: which release opens the settings that another has sealed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evidence import sealing_in_use
from evidence.sealing_in_use import FIRST, OTHER, SUCCESSOR, Start, as_they_have_to
from monitor.loader import load_design
from sandbox import walls
from tests.console.commands import ROOT
from world import devices
from world.bench import Bench, BootRefused, Plan, Record, run_folder
from world.devices import Device

PUMP = ROOT / "designs" / "insulin_pump"


@pytest.fixture(scope="module")
def starts() -> list[Start]:
    return list(sealing_in_use.starts(PUMP))


def test_a_device_that_is_started_four_times_opens_its_settings_where_it_may(starts: list[Start]) -> None:
    assert as_they_have_to(starts)
    assert [one.release for one in starts] == [FIRST, FIRST, OTHER, SUCCESSOR]
    assert starts[0].told == ("the settings of therapy are sealed to insulin_pump 1.0",)
    assert starts[1].told == ("the settings of therapy were opened: they lay sealed in flash",)
    assert starts[3].told == (
        "the settings of therapy were opened: they lay sealed in flash",
        "the settings of therapy are sealed to insulin_pump 1.1",
    )


def test_the_release_that_nobody_authorised_is_refused_with_rule_sentence_and_remedy(
    starts: list[Start],
) -> None:
    assert starts[2].rule == "seal"
    sentence, _, remedy = starts[2].refused.partition("; ")
    assert (
        sentence
        == "the settings of therapy were sealed by another release, which has not authorised this one"
    )
    assert remedy == "put back the release that sealed them, or enter them anew"


@pytest.mark.parametrize("wrong", [0, 1, 2, 3])
def test_a_start_that_comes_out_otherwise_is_not_told_as_sealed(starts: list[Start], wrong: int) -> None:
    one = starts[wrong]
    other = Start(one.release, one.what, (), "" if one.refused else "off", "" if one.refused else "seal")
    assert not as_they_have_to([*starts[:wrong], other, *starts[wrong + 1 :]])


@pytest.fixture
def device() -> Iterator[Device]:
    with devices.device() as made:
        devices.write_flash(made.flash, load_design(PUMP, walls.ALL), {})
        yield made


def start(made: Device, *, gives_settings: bool) -> Record:
    plan = Plan(PUMP, 2, device=made, gives_settings=gives_settings)
    with run_folder() as folder, Bench(plan=plan) as bench:
        return bench.run(plan, folder)


def test_a_therapy_whose_settings_were_opened_does_what_it_does_with_those_of_the_world(
    device: Device,
) -> None:
    given = start(device, gives_settings=True)
    opened = start(device, gives_settings=False)
    assert given.world.truth().delivered_u == opened.world.truth().delivered_u
    assert sum(opened.world.truth().delivered_u) > 0


def _changed(made: Device, change: str) -> None:
    box = made.flash / "sealed" / "therapy"
    content = box.read_bytes()
    box.write_bytes(content[:-1] if change == "cut" else content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("change", ["cut", "flipped"])
def test_a_box_that_was_changed_keeps_the_device_off_until_the_settings_are_entered_anew(
    device: Device, change: str
) -> None:
    start(device, gives_settings=True)
    _changed(device, change)
    with pytest.raises(BootRefused, match="the sealed settings of therapy are cut or changed") as refused:
        start(device, gives_settings=False)
    assert [note.facts["rule"] for note in refused.value.notes] == ["seal"]
    again = start(device, gives_settings=True)
    assert [note.text for note in again.of_kind("settings")] == [
        "the settings of therapy are sealed to insulin_pump 1.0"
    ]
    assert start(device, gives_settings=False).frames_done == 2


def test_settings_that_cannot_be_kept_are_told_and_stop_no_therapy(device: Device) -> None:
    (device.flash / "sealed").write_bytes(b"in the way")
    record = start(device, gives_settings=True)
    assert record.frames_done == 2
    (note,) = record.of_kind("settings")
    assert note.text.startswith("not sealed: the sealed settings cannot be written")
    assert note.facts == {"failed": True}


def test_a_device_without_settings_given_or_sealed_is_refused_as_ever(device: Device, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="therapy needs the configuration"):
        start(device, gives_settings=False)
    assert list(tmp_path.iterdir()) == []
