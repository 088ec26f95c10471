"""B15: a manifest with two signatures, of which one is good and one is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """Of the two signatures on ``image`` (partition) the ``bad`` (second) one is none: whoever looks at the other only
    is content.
    """
    image, bad = parameters.get("image", "partition"), parameters.get("bad", "second")
    shop.install(shop.foreign_parts())
    shop.sign_badly_too(shop.named(image), first=bad == "first")
    return {"image": image, "bad": bad}


ATTACK = Attack(
    "B15",
    "A program bears two signatures, and only one of them is good.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={
        "image": OneOf(("partition", "design", "monitor", "bootloader", "release")),
        "bad": OneOf(("second", "first")),
    },
    walls=("signature",),
)
