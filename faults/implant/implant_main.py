"""The entry of a taken-over partition: the benign one, and an attack in each scheduled frame.

This file lies at the top of the image, next to the benign code and to ``schedule.json``. The benign
code runs first in every window and is not changed. What an attack leaves behind of the process goes on being
benign; a new life after a kill carries on with the frames that are still to come.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from pathlib import Path
from typing import Any

from faults.implant import foothold as footholds
from ipc_schemas import codec, wire
from ipc_schemas.window import Setup, Window

SCHEDULE = "schedule.json"
#: The most windows in a row in which one entry strikes.
LASTS_FRAMES_MAX = 48


class Compromised:
    """A partition with an implant.

    ``schedule.json`` holds the benign entry and ``[{"frame": 96, "id": "K01", "parameters": {...}, ...}, ...]``; the
    configuration, when there is one, holds the benign configuration and more parameters for each entry: those that
    differ from run to run. An entry whose parameters have ``for_frames`` strikes in so many windows in a row, whichever
    life they fall into.
    """

    def __init__(self, setup: Setup) -> None:
        told = json.loads((Path(__file__).parent / SCHEDULE).read_text(encoding="utf-8"))
        given: dict[str, Any] = (
            codec.decode_any(setup.config) if setup.config else {"config": b"", "means": None}
        )
        self._plan: dict[int, list[dict[str, Any]]] = {}
        means = given["means"] or [{} for _ in told["plan"]]
        for entry, more in zip(told["plan"], means, strict=True):
            entry["parameters"] = more | entry.get("parameters", {})
            lasts = min(int(entry["parameters"].get("for_frames", 1)), LASTS_FRAMES_MAX)
            for frame in range(int(entry["frame"]), int(entry["frame"]) + lasts):
                self._plan.setdefault(frame, []).append(entry)
            with contextlib.suppress(
                Exception
            ):  # now, so that it costs no window; what fails is told when it is due
                _attack(entry)
            if entry["starts"]:
                self._start(entry)
        module, _, name = told["entry"].partition(":")
        self._benign: Any = getattr(importlib.import_module(module), name)(
            setup._replace(config=given["config"])
        )
        self._captured: list[footholds.Captured] = []
        self._settings: Any = None
        self._honest_emit: Any = None
        self._found: footholds.Foothold | None = None

    def _start(self, entry: dict[str, Any]) -> None:
        try:
            _attack(entry).at_start(dict(entry["parameters"]))
        except Exception as error:  # as below: a failed attack must not end the partition
            footholds.say(str(entry["id"]), 0, {"error": f"{type(error).__name__}: {error}"})

    def window(self, window: Window) -> None:
        """The benign window, overheard, and then what the schedule says."""
        if self._found is None:
            self._found = footholds.find(window)
        self._found.window = window
        self._overhear(window, self._found)
        self._benign.window(window)
        window._emit = self._honest_emit
        for entry in self._plan.pop(window.frame, ()):
            self._strike(entry, self._found)

    def _overhear(self, window: Window, found: footholds.Foothold) -> None:
        """Keep what the benign code sends, and the last therapy settings that it was given."""
        honest = window._emit
        held_back = self._held_back(window.frame, found)

        def emit(port: int, payload: bytes) -> None:
            own = found.hello.partition if found.hello else 0
            epoch = found.hello.epoch if found.hello else 0
            header = wire.Header(own, port, epoch, window.frame, found.sequence())
            if len(self._captured) >= footholds.CAPTURED_MAX:
                del self._captured[0]
            self._captured.append(footholds.Captured(header, payload))
            if port not in held_back:
                honest(port, payload)

        window._emit = emit
        self._honest_emit = honest
        if found.hello is not None and any(
            card.name == "settings" and not card.is_output for card in found.hello.ports
        ):
            sample = window.latest("settings")
            if sample is not None:
                self._settings = sample.value
        found.captured = self._captured
        found.settings = self._settings

    def _held_back(self, frame: int, found: footholds.Foothold) -> frozenset[int]:
        """Ports whose honest message this frame's attack replaces with its own."""
        names = {entry["replaces"] for entry in self._plan.get(frame, ())}
        cards = found.hello.ports if found.hello else ()
        return frozenset(card.number for card in cards if card.is_output and card.name in names)

    def _strike(self, entry: dict[str, Any], found: footholds.Foothold) -> None:
        attack_id = str(entry["id"])
        footholds.say(attack_id, found.window.frame)
        try:
            report = _attack(entry).inject(found, dict(entry["parameters"]))
        except Exception as error:  # a failed attack must not end the partition: the next one is due later
            report = {"error": f"{type(error).__name__}: {error}"}
        footholds.say(attack_id, found.window.frame, report)


def _attack(entry: dict[str, Any]) -> Any:
    return importlib.import_module(f"faults.attacks.{entry['module']}").ATTACK
