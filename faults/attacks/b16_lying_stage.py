"""B16: a bootloader that starts a foreign monitor, and says that it was the release's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import affirmed_although_foreign

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """Signed with the maker's own key, which was stolen: no stage has a reason to refuse it."""
    shop.install(shop.lying_parts(), version="1.0")
    shop.sign(shop.victim, shop.factory.maker)
    return {"lies about": "monitor"}


ATTACK = Attack(
    "B16",
    "With a stolen key of the maker's it installs a start-up program that lies about what it starts.",
    affirmed_although_foreign,
    tamper=tamper,
    strikes="flash",
    walls=("layers",),
)
