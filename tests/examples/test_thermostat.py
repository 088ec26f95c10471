"""The worked example breaks no rule, and its parts hold together over the design's own ports."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ipc_schemas import codec, wire
from ipc_schemas.window import Ports, Setup, Window
from monitor.design import WORLD, Design, PortKind
from monitor.loader import load_design, load_schemas
from monitor.rules import CLASS_C_WALLS, check
from tests.console import commands

FOLDER = Path(__file__).resolve().parent.parent.parent / "examples" / "thermostat"


def from_file(path: Path) -> ModuleType:
    """The module in ``path``, fresh."""
    name = "thermostat_" + "_".join(path.parts[-2:]).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Bus:
    """The design's channels within one process: what is sent in a frame is visible in the next one."""

    def __init__(self, design: Design, schemas: ModuleType) -> None:
        self.design = design
        self.ports = {
            name: self._ports(name, schemas) for name in (WORLD, *(p.name for p in design.partitions))
        }
        self.latest: dict[int, tuple[int, bytes]] = {}
        self.queued: dict[int, list[bytes]] = {}
        self.sent: list[tuple[int, bytes]] = []
        self.frame = 0

    def _ports(self, owner: str, schemas: ModuleType) -> Ports:
        cards = tuple(
            wire.PortCard(
                p.number, p.name, p.is_output, p.kind is PortKind.SAMPLING, p.freshness_frames, p.message
            )
            for p in self.design.ports_of(owner)
        )
        return Ports(wire.Hello(1, 1, self.design.frame_ms, cards), schemas)

    def run(self, owner: str, live: Callable[[Window], None]) -> None:
        """One window of ``owner``."""
        deliveries = []
        for port in self.design.ports_of(owner):
            if port.number in self.latest:
                sent, payload = self.latest[port.number]
                deliveries.append(wire.Delivery(port.number, self.frame - sent, codec.join_batch([payload])))
            elif self.queued.get(port.number):
                batch = codec.join_batch(self.queued.pop(port.number))
                deliveries.append(wire.Delivery(port.number, 1, batch))
        emit: Callable[[int, bytes], None] = lambda number, payload: self.sent.append((number, payload))  # noqa: E731
        live(Window(self.ports[owner], wire.WindowOpen(self.frame, tuple(deliveries)), emit))

    def end_frame(self) -> None:
        """Carry what was sent to the inputs of its channel."""
        numbers = {port.number: port for port in self.design.ports}
        for number, payload in self.sent:
            source = numbers[number]
            assert len(payload) <= source.bytes_max
            for channel in self.design.channels:
                for sink in channel.sinks if channel.source == source.full_name else ():
                    target = self.design.port(sink).number
                    if source.kind is PortKind.SAMPLING:
                        self.latest[target] = (self.frame, payload)
                    else:
                        self.queued.setdefault(target, []).append(payload)
        self.sent = []
        self.frame += 1


class Incubator:
    """The whole example, by hand."""

    def __init__(self, *, patient: int = 0, seed: int = 1) -> None:
        self.design = load_design(FOLDER, CLASS_C_WALLS)
        self.bus = Bus(self.design, load_schemas(self.design))
        self.world: Any = from_file(FOLDER / "world.py").IncubatorWorld(seed=seed, patient=patient)
        config = self.world.configs()["prescription"]
        heater = from_file(FOLDER / "images" / "heater" / "main.py").Heater
        telemetry = from_file(FOLDER / "images" / "telemetry" / "main.py").Telemetry
        self.code: dict[str, Any] = {
            "heater": heater(Setup("heater", config, self.design.frame_ms)),
            "telemetry": telemetry(Setup("telemetry", b"", self.design.frame_ms)),
        }

    def run(self, frames: int) -> list[float]:
        """So many frames: the skin temperature after each."""
        skin_c = []
        for _ in range(frames):
            self.bus.run(WORLD, self.world.frame)
            for name, code in self.code.items():
                self.bus.run(name, code.window)
            self.bus.end_frame()
            skin_c.append(self.world.skin_c)
        return skin_c


def test_it_breaks_no_rule() -> None:
    design = load_design(FOLDER, CLASS_C_WALLS)
    assert check(design, load_schemas(design)) == ()


@pytest.mark.parametrize("patient", [0, 3, 7])
def test_the_heater_holds_the_skin_at_its_setpoint_and_follows_the_ward(patient: int) -> None:
    device = Incubator(patient=patient)
    before = device.run(1_500)
    assert all(abs(skin_c - 36.5) < 0.3 for skin_c in before[-300:])
    after = device.run(2_000)
    assert all(abs(skin_c - 37.0) < 0.3 for skin_c in after[-300:])
    assert max(before + after) < 37.6
    assert device.world.alarms == []
    assert abs(device.world.shown.setpoint_c - 37.0) < 1e-9


def test_the_heater_goes_on_when_telemetry_is_gone() -> None:
    device = Incubator()
    del device.code["telemetry"]
    assert all(abs(skin_c - 36.5) < 0.3 for skin_c in device.run(2_500)[-300:])


def test_without_the_device_the_element_switches_itself_off() -> None:
    device = Incubator()
    device.run(500)
    assert device.world.power_percent > 0
    device.world.orphaned(25)
    device.world.orphaned(1)
    assert device.world.power_percent == 0


def test_a_request_cannot_move_the_setpoint_beyond_the_prescription() -> None:
    device = Incubator()
    schemas = load_schemas(device.design)
    for asked_c, got_c in ((37.5, 37.0), (35.0, 36.0), (36.7, 36.7)):
        device.code["heater"].hear(schemas.SetpointRequest(asked_c))
        assert device.code["heater"].setpoint_c == got_c


def test_hot_air_switches_the_element_off_and_alarms_once() -> None:
    device = Incubator()
    device.run(10)
    device.world.air_c = 45.0
    device.run(5)
    assert device.world.power_percent == 0
    assert [alarm.code for alarm in device.world.alarms] == ["air_too_hot"]


def test_one_seed_gives_one_course() -> None:
    assert Incubator(seed=5).run(300) == Incubator(seed=5).run(300)
    assert Incubator(seed=5).run(300) != Incubator(seed=6).run(300)


def test_the_rules_do_look_at_it() -> None:
    design = load_design(FOLDER, CLASS_C_WALLS)
    ports = tuple(
        replace(p, from_networked=False) if p.full_name == "heater.setpoint" else p for p in design.ports
    )
    found = check(replace(design, ports=ports), load_schemas(design))
    assert [finding.path_text for finding in found] == ["telemetry.setpoint -> heater.setpoint"]


@pytest.mark.walls
def test_an_attack_in_the_designs_own_folder_is_held_and_its_cut_sets_are_found(tmp_path: Path) -> None:
    out = tmp_path / "walls.json"
    done = commands.run("ablate", "X01", "--design", "examples/thermostat", "--json", str(out), "--quiet")
    assert done.stderr == ""
    (row,) = json.loads(out.read_text())["attacks"]
    assert (row["id"], row["outcome"]) == ("X01", "HELD")
    # Its windows are so short that a busy host may take one away, and with it what would have got through.
    assert row["cut_sets"]
    assert all("recheck" in cut["walls"] and {"range", "schema"} & {*cut["walls"]} for cut in row["cut_sets"])
