"""The world and the partitions joined in one process: no walls, same ports, same one-frame latency.

What a member sends in frame k is visible in frame k+1, whatever the order in which members run. Messages go
through the real codec and the port table of the reference device.toml, so a message out of its schema, too
large or too many fails here as it would at a gate.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from ipc_schemas import insulin_pump, wire
from ipc_schemas.codec import Codec, join_batch
from ipc_schemas.window import Ports, Setup, Window
from world.insulin import InsulinWorld

ROOT = Path(__file__).resolve().parents[2]
FRAME_MS = 300_000
FRAMES_PER_DAY = 288
_IMAGES = ROOT / "partitions"


class Member(Protocol):
    """A partition, or the world through ``_WorldMember``."""

    def window(self, window: Window) -> None:
        """One frame."""


def load_image(name: str) -> ModuleType:
    """``partitions/<name>/main.py`` as a module of its own, its neighbours importable as inside the image."""
    module_name = f"{name}_main"
    if module_name in sys.modules:
        return sys.modules[module_name]
    sys.path.insert(0, str(_IMAGES / name))
    spec = importlib.util.spec_from_file_location(module_name, _IMAGES / name / "main.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def image_module(image: str, name: str) -> Any:
    """A neighbour of an image's ``main``, by its top-level name inside the image."""
    load_image(image)
    return importlib.import_module(name)


class Line:
    """A member's ports: what is visible to it, and where its messages go."""

    def __init__(self, cards: list[wire.PortCard], contracts: dict[int, tuple[int, int]]) -> None:
        hello = wire.Hello(partition=1, epoch=0, frame_ms=FRAME_MS, ports=tuple(cards))
        self.ports = Ports(hello, insulin_pump)
        self.visible: dict[int, tuple[int, list[bytes]]] = {}
        self.sent: list[tuple[int, bytes]] = []
        self.contracts = contracts
        self.cards = {card.number: card for card in cards}
        self.codecs = {card.number: Codec(getattr(insulin_pump, card.message)) for card in cards}

    def open(self, frame: int) -> Window:
        """The member's window; sampling ports show their latest message with its age."""
        deliveries = []
        for number, (sent_in, payloads) in self.visible.items():
            deliveries.append(wire.Delivery(number, max(0, frame - sent_in), join_batch(payloads)))
        for number in list(self.visible):
            if not self.cards[number].is_sampling:
                del self.visible[number]
        self.sent = []
        return Window(self.ports, wire.WindowOpen(frame, tuple(deliveries)), self._emit)

    def _emit(self, number: int, payload: bytes) -> None:
        """What a gate would check: type, bounds, size, and messages per frame."""
        self.codecs[number].decode(payload)
        self.sent.append((number, payload))
        bytes_max, messages_max = self.contracts[number]
        assert len(payload) <= bytes_max, (number, len(payload))
        assert sum(port == number for port, _ in self.sent) <= messages_max, number


class Coupled:
    """The reference device without walls. ``spy`` sees frame, full port name and message of all sent."""

    def __init__(self, seed: int, patient: int = 0, with_transfer: bool = True) -> None:
        self.world = InsulinWorld(seed, patient)
        self.lines, self.routes, self.names = _wire_up()
        self.frame = 0
        self.spy: Callable[[int, str, Any], None] | None = None
        self.with_transfer = with_transfer
        self.therapy = self.new_therapy()
        self.transfer = load_image("transfer").Transfer(Setup("transfer", b"", FRAME_MS))

    def new_therapy(self) -> Any:
        """A fresh life of the therapy partition."""
        return load_image("therapy").Therapy(Setup("therapy", self.world.configs()["prescription"], FRAME_MS))

    def restart_therapy(self) -> None:
        """Kill and start again between two frames: nothing but the ports' contents survives."""
        self.therapy = self.new_therapy()

    def run(self, frames: int) -> None:
        """Live through this many frames."""
        members: list[tuple[str, Callable[[Window], None]]] = [
            ("world", self.world.frame),
            ("therapy", self.therapy.window),
        ]
        if self.with_transfer:
            members.append(("transfer", self.transfer.window))
        for _ in range(frames):
            for name, act in members:
                act(self.lines[name].open(self.frame))
            for name, _act in members:
                self._route(name)
            self.frame += 1

    def _route(self, name: str) -> None:
        fresh: dict[tuple[str, int], list[bytes]] = {}
        for number, payload in self.lines[name].sent:
            if self.spy is not None:
                self.spy(self.frame, self.names[number], self.lines[name].codecs[number].decode(payload))
            for sink in self.routes[number]:
                fresh.setdefault(sink, []).append(payload)
        for (owner, port), payloads in fresh.items():
            line = self.lines[owner]
            kept = payloads[-1:] if line.cards[port].is_sampling else payloads
            line.visible[port] = (self.frame, kept)


def collect(device: Coupled, port: str) -> list[Any]:
    """What is sent on one port from here on, as the list fills."""
    found: list[Any] = []
    device.spy = lambda _frame, name, message: found.append(message) if name == port else None
    return found


def _wire_up() -> tuple[dict[str, Line], dict[int, list[tuple[str, int]]], dict[int, str]]:
    text = (ROOT / "designs/insulin_pump/device.toml").read_text()
    cards: dict[str, list[wire.PortCard]] = {"world": [], "therapy": [], "transfer": []}
    routes: dict[int, list[tuple[str, int]]] = {}
    names: dict[int, str] = {}
    contracts: dict[int, tuple[int, int]] = {}
    number = 0
    for channel in tomllib.loads(text)["channel"]:
        is_sampling = channel["kind"] == "sampling"
        source = number
        owner, port = channel["from"].split(".")
        cards[owner].append(wire.PortCard(number, port, True, is_sampling, 0, channel["message"]))
        names[number] = channel["from"]
        contracts[number] = (channel["bytes"], channel["messages_per_frame"])
        routes[source] = []
        for sink, options in channel["to"].items():
            number += 1
            owner, port = sink.split(".")
            freshness = options.get("freshness_frames", 0)
            cards[owner].append(
                wire.PortCard(number, port, False, is_sampling, freshness, channel["message"])
            )
            routes[source].append((owner, number))
        number += 1
    return {name: Line(held, contracts) for name, held in cards.items()}, routes, names
