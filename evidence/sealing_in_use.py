"""One device, started four times: what becomes of the settings that its monitor seals.

First the world gives them. From then on it does not: they come out of the device's flash, or the device stays off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from boot.authority import Trust, key_sha256_of
from evidence import reference
from monitor.design import Design
from monitor.loader import load_design
from sandbox import walls
from world import devices
from world.bench import Bench, BootRefused, Plan, run_folder
from world.devices import Device

FIRST, SUCCESSOR, OTHER = devices.VERSION, "1.1", "1.2"


@dataclass(frozen=True, slots=True)
class Start:
    """One start: which release lay in flash, what was to be seen, what the monitor told, and why it did not start."""

    release: str
    what: str
    told: tuple[str, ...]
    refused: str = ""
    rule: str = ""

    @property
    def is_on(self) -> bool:
        """Whether the device was switched on."""
        return not self.refused


def starts(folder: Path, seed: int = 1, *, accept_degraded: bool = False) -> Iterator[Start]:
    """The four starts, each as soon as it is over. Raises what ``Bench.run`` raises."""
    design = load_design(folder, walls.ALL)
    plan = Plan(folder, 1, seed, accept_degraded=accept_degraded)
    with devices.device() as made:
        yield _start(plan, made, design, FIRST, "the world gives the settings")
        named = replace(plan, gives_settings=False, successor=register_of(design, SUCCESSOR))
        yield _start(named, made, design, FIRST, f"the same release; it authorises {SUCCESSOR}")
        later = replace(plan, gives_settings=False)
        yield _start(later, made, design, OTHER, "a release that nobody authorised")
        yield _start(later, made, design, SUCCESSOR, "the authorised successor")


def _start(plan: Plan, made: Device, design: Design, version: str, what: str) -> Start:
    devices.write_flash(made.flash, design, {}, version)
    plan = replace(plan, device=made)
    told: tuple[str, ...] = ()
    with run_folder() as run, Bench(plan=plan) as bench:
        try:
            record = bench.run(plan, run)
        except BootRefused as refused:
            facts = refused.notes[0].facts
            return Start(version, what, (), f"{facts['sentence']}; {facts['remedy']}", str(facts["rule"]))
        told = tuple(note.text for note in record.of_kind("settings"))
    return Start(version, what, told)


def register_of(design: Design, version: str) -> bytes:
    """What the measurement register reads while this session's release of that version runs."""
    factory = devices.factory()
    root = factory.root.certificate
    trust = Trust(key_sha256_of(root), root.public_bytes(Encoding.DER), factory.lists())
    return reference.register_of(
        reference.of_signed(devices.published(design, {}, version), trust, datetime.now(UTC))
    )


def as_they_have_to(found: Sequence[Start]) -> bool:
    """Whether all four came out as sealing promises: on, on, refused by the rule ``seal``, on."""
    return [(one.is_on, one.rule) for one in found] == [(True, ""), (True, ""), (False, "seal"), (True, "")]
