"""B12: a subcontractor signs what it may not: the supplier of transfer signs therapy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """The victim's image is signed with a key that is good for another partition."""
    other = next(signer for name, signer in sorted(shop.signers().items()) if name != shop.victim)
    shop.install(shop.foreign_parts(), signers={shop.victim: other})
    return {"signed": shop.victim}


ATTACK = Attack(
    "B12",
    "A supplier who may only sign the data programs signs a therapy program.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    walls=("scope",),
)
