"""B05: an image that is not the one that was signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """The victim's image is replaced, and ``image`` (partition) changed; the manifests stay."""
    image = parameters.get("image", "partition")
    (shop.shelf / f"{shop.victim}.img").write_bytes(shop.foreign().content)
    if image != "partition":
        shop.grow(image)
    return {"image": image}


ATTACK = Attack(
    "B05",
    "It changes the stored program of the therapy without touching its signature.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={"image": OneOf(("partition", "design", "monitor", "bootloader"))},
    walls=("digest",),
)
