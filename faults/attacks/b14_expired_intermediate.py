"""B14: a supplier's own certificate is good, the authority above it has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """``image`` (partition) is signed below an authority whose time is over."""
    image = parameters.get("image", "partition")
    shop.install(shop.foreign_parts())
    shop.sign(shop.named(image), shop.signer_below_expired())
    return {"image": image}


ATTACK = Attack(
    "B14",
    "A program is signed under an authority whose time has long run out.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={"image": OneOf(("partition", "design", "monitor", "bootloader", "release"))},
    walls=("chain",),
)
