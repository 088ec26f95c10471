"""B14: a supplier's own certificate is good, the authority above it has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """The victim's image is signed below an authority whose time is over."""
    shop.install(shop.foreign_parts(), signers={shop.victim: shop.signer_below_expired()})
    return {"signed": shop.victim}


ATTACK = Attack(
    "B14",
    "A program is signed under an authority whose time has long run out.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    walls=("chain",),
)
