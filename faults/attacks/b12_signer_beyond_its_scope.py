"""B12: a subcontractor signs what it may not: the supplier of transfer signs therapy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """``image`` (partition) is signed with a key that is good for another partition."""
    image = parameters.get("image", "partition")
    shop.install(shop.foreign_parts())
    shop.sign(shop.named(image), shop.supplier_of_another())
    return {"image": image}


ATTACK = Attack(
    "B12",
    "A supplier who may only sign the data programs signs a therapy program.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={"image": OneOf(("partition", "design", "monitor", "bootloader", "release"))},
    walls=("scope",),
)
