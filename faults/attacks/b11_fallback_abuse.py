"""B11: the first slot is spoilt so that the device falls back to the old release in the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


#: What is spoilt in slot a, by the word for it.
FILES = {"manifest": "bootloader.bhm", "release": "release.bhm"}


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """An old release lies in slot b, where a careless update has left it, ``older_by`` (1) releases; in slot a the
    ``spoilt`` file (manifest, of the bootloader) is empty.
    """
    spoilt = parameters.get("spoilt", "manifest")
    shop.install(shop.old_parts(by=parameters.get("older_by", 1)), slot="b")
    (shop.shelf / FILES[spoilt]).write_bytes(b"")
    return {"spoilt": spoilt, "slot": "b"}


ATTACK = Attack(
    "B11",
    "It spoils the program that starts first, so that the device falls back to an old one with known faults.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={
        "spoilt": OneOf(("manifest", "release")),
        "older_by": OneOf((1, 2)),
    },
    walls=("floor",),
)
