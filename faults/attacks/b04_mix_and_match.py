"""B04: parts of two releases side by side, each properly signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """The victim's image and manifest are of another release than most others, and those of ``image`` (partition)."""
    other = parameters.get("image", "partition")
    mixed = {f"{name}.{end}" for name in (shop.victim, shop.named(other)) for end in ("img", "bhm")}
    kept = {path: path.read_bytes() for path in shop.shelf.iterdir() if path.name not in mixed}
    shop.install(shop.foreign_parts(), version="1.1")
    for path, content in kept.items():
        path.write_bytes(content)
    return {"image": other}


ATTACK = Attack(
    "B04",
    "It combines parts of two releases, each properly signed, that were never tried together.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={"image": OneOf(("partition", "design", "monitor", "bootloader"))},
    walls=("release",),
)
