"""B13: a factory, which may name devices and nothing else, makes itself a signer of code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """``image`` (partition) is signed below the factory's certificate instead of the platform's."""
    image = parameters.get("image", "partition")
    shop.install(shop.foreign_parts())
    shop.sign(shop.named(image), shop.signer_below_factory())
    return {"image": image}


ATTACK = Attack(
    "B13",
    "The factory, which may only give devices their names, signs a program of its own.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={"image": OneOf(("partition", "design", "monitor", "bootloader", "release"))},
    walls=("chain", "revocation"),
)
