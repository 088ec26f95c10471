"""B01: an older release, properly signed, whose faults are known by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """Every image of the old release, each with the security counter that it had then."""
    shop.install(shop.old_parts())
    return {"installed": "0.9"}


ATTACK = Attack(
    "B01",
    "It puts an older version of the software back, properly signed, whose faults are known by now.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    walls=("floor",),
)
