"""B05: an image that is not the one that was signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """The victim's image is replaced; its manifest stays, so the foreign code begins where the device's own does."""
    path = shop.shelf / f"{shop.victim}.img"
    path.write_bytes(shop.foreign(in_place=True).content)
    return {"bytes": path.stat().st_size}


ATTACK = Attack(
    "B05",
    "It changes the stored program of the therapy without touching its signature.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    walls=("digest",),
)
