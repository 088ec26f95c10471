"""B01: an older release, properly signed, whose faults are known by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """Every ``image`` (all) of the old release, or one, with the security counter of ``older_by`` (1) releases ago."""
    image, older_by = parameters.get("image", "all"), parameters.get("older_by", 1)
    shop.install(shop.old_parts(shop.named(image), older_by))
    return {"image": image, "older_by": older_by}


ATTACK = Attack(
    "B01",
    "It puts an older version of the software back, properly signed, whose faults are known by now.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={
        "image": OneOf(("all", "partition", "design", "monitor", "bootloader")),
        "older_by": OneOf((1, 2)),
    },
    walls=("floor",),
)
