"""B20: an older revocation list, put back so that a signer counts again who was taken back since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """A former supplier's program, and with it the lists from before that supplier's key was taken back."""
    shop.install(shop.foreign_parts())
    shop.sign(shop.victim, shop.factory.former)
    shop.put_old_lists_back()
    return {"signer": "former supplier"}


ATTACK = Attack(
    "B20",
    "It installs a program by a supplier whose key was taken back, and puts the list back that does not say so yet.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    walls=("revocation",),
)
