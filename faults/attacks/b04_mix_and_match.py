"""B04: parts of two releases side by side, each properly signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """The victim's image and manifest are of another release than all others."""
    kept = {path.name: path.read_bytes() for path in shop.shelf.iterdir()}
    shop.install(shop.foreign_parts(), version="1.1")
    for name, content in kept.items():
        if name not in (f"{shop.victim}.img", f"{shop.victim}.bhm"):
            (shop.shelf / name).write_bytes(content)
    return {"mixed": shop.victim}


ATTACK = Attack(
    "B04",
    "It combines parts of two releases, each properly signed, that were never tried together.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    walls=("release",),
)
