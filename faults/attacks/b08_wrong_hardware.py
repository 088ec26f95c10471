"""B08: a release for other hardware, properly signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop

OTHER = "another pump 1"


def tamper(shop: Workshop, _: Parameters) -> Report:
    """All of it is for a pump of another kind."""
    shop.install(shop.foreign_parts(), hardware_id=OTHER)
    return {"hardware": OTHER}


ATTACK = Attack(
    "B08",
    "It installs software that is properly signed, but for another kind of pump.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    walls=("hardware",),
)
