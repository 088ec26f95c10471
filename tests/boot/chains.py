"""A device of a throw-away factory, whose monitor is a small program that tells what it was handed."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boot.element import Element
from ipc_schemas import codec, links
from world import power
from world.factory import images
from world.factory.development import Factory, Made, now_utc

_PROBE = b"""
import os
import msgspec
from boot import measured, stage

def main():
    handover = stage.handed_over("probe")
    chip = stage.element_of(handover)
    facts = {
        "slot": handover.slot,
        "phase": chip.facts().phase,
        "log": [f"{one.stage} {one.kind} {one.name} {one.version}" for one in measured.replay(handover.log).lines],
        "digests": [one.digest.hex() for one in handover.log],
        "layers": [one.layer for one in handover.layers],
        "keys": [one.public_key.hex() for one in handover.layers],
        "secret": handover.secret.hex(),
        "is_debug": chip.facts().is_debug,
        "permission": len(handover.permission),
        "environment": sorted(os.environ),
        "where": __file__,
        "mark": MARK,
    }
    if facts["phase"] == "monitor" and "unconfirmed" not in MARK:
        chip.confirm()
        for floor in [one for one in MARK.split() if one.isdigit()]:
            chip.raise_floor("monitor", int(floor))
    stage.tell(handover, "reached", "the monitor", facts)
"""
_NOTES: codec.Codec[links.Note] = codec.Codec(links.Note)
START_S_MAX = 20.0


def probe(mark: str = "") -> bytes:
    """A monitor that tells what it was handed, confirms its release, and ends. Another ``mark`` makes another image.

    One with ``unconfirmed`` in it does not confirm; a number in it becomes the floor of ``monitor``.
    """
    source = f"MARK = {mark!r}\n".encode() + _PROBE
    return images.stage("bootloader", "probe", {"probe.pyc": images.compiled("probe.py", source)})


@dataclass(slots=True)
class Outcome:
    """What became of one start: the notes in order, and the exit status."""

    notes: list[links.Note] = field(default_factory=list)
    status: int = 0

    def of_kind(self, kind: str) -> list[links.Note]:
        return [note for note in self.notes if note.kind == kind]

    @property
    def reached(self) -> dict[str, Any]:
        """What the monitor was handed; empty when none was started."""
        found = self.of_kind("reached")
        return dict(found[0].facts) if found else {}

    @property
    def refused(self) -> list[str]:
        """The rules that were broken, in order."""
        return [str(note.facts["rule"]) for note in self.of_kind("boot_refused")]


class Device:
    """Flash, element and ROM in one folder."""

    def __init__(self, folder: Path, factory: Factory, rom: bytes) -> None:
        self.flash, self.element_folder, self._rom = folder / "flash", folder / "element", folder / "rom.img"
        self._rom.write_bytes(rom)
        factory.write_trust(self.flash)
        self.idevid = factory.manufacture(self.element_folder, "SN-0001")

    def start(
        self,
        without: frozenset[str] = frozenset(),
        during: Callable[[], None] = lambda: None,
        service: Callable[[bytes], bytes] = lambda _: b"",
    ) -> Outcome:
        """Switch it on once. ``during`` is called as soon as ROM runs; ``service`` makes of this boot's nonce what lies
        at the service connector.
        """
        outcome = Outcome()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, power.element(self.element_folder) as link:
            with theirs, link.dup() as own:
                permission = service(Element(own).facts().nonce)
                process = power.switch_on(self._rom, self.flash, link, theirs, "monitor", without, permission)
            during()
            until_s = time.monotonic() + START_S_MAX
            while select.select([ours], [], [], max(0.0, until_s - time.monotonic()))[0]:
                message = ours.recv(1 << 16)
                if not message:
                    break
                outcome.notes.append(_NOTES.decode_loosely(message))
            outcome.status = process.wait(START_S_MAX)
        return outcome


def parts(monitor: bytes, bootloader: bytes, security_counter: int = 1) -> dict[str, Made]:
    """The images of a release that has only the first two stages."""
    return {
        "bootloader": Made("bootloader", bootloader, security_counter=security_counter),
        "monitor": Made("monitor", monitor, security_counter=security_counter),
    }


def made() -> tuple[Factory, bytes, bytes]:
    """A factory, and the images of ROM and bootloader."""
    factory = Factory(now_utc())
    return factory, *factory.stages()
