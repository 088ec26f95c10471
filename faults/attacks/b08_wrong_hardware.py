"""B08: a release for other hardware, or for another interpreter, properly signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop

#: Hardware that this device is not, and the digest of an interpreter that it does not have.
HARDWARE, INTERPRETER = "another pump 1", bytes(32)


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """The release, or one ``image`` (all) of it, is for ``other`` (hardware): a pump of another kind, or an interpreter
    with another standard library than is installed.
    """
    image, other = parameters.get("image", "all"), parameters.get("other", "hardware")
    names = ("design", "monitor", shop.victim) if image == "all" else (shop.named(image),)
    if other == "hardware" and image == "all":
        shop.install(shop.foreign_parts(), hardware_id=HARDWARE)
    else:
        shop.install(shop.foreign_parts())
        for name in names:
            if other == "hardware":
                shop.retarget(name, HARDWARE)
            else:
                shop.repin(name, "python", INTERPRETER)
    return {"image": image, "other": other}


ATTACK = Attack(
    "B08",
    "It installs software that is properly signed, but for another kind of pump, or for another Python.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={
        "image": OneOf(("all", "partition", "design", "monitor")),
        "other": OneOf(("hardware", "interpreter")),
    },
    variants=({}, {"other": "interpreter"}),
    walls=("hardware", "platform"),
)
