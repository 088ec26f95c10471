"""B11: the first slot is spoilt so that the device falls back to the old release in the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """An old release lies in slot b, where a careless update has left it; the bootloader in slot a is spoilt."""
    shop.install(shop.old_parts(), slot="b")
    (shop.shelf / "bootloader.bhm").write_bytes(b"")
    return {"spoilt": "bootloader", "slot": "b"}


ATTACK = Attack(
    "B11",
    "It spoils the program that starts first, so that the device falls back to an old one with known faults.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    walls=("floor",),
)
