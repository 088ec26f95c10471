"""B15: a manifest with two signatures, of which one is good and one is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """Whoever looks at the first signature only is content."""
    shop.install(shop.foreign_parts())
    shop.sign_badly_too()
    return {"signatures": 2}


ATTACK = Attack(
    "B15",
    "A program bears two signatures, and only the first one is good.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    walls=("signature",),
)
