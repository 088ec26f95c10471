"""B17: what a device said of itself while it was sound, played back when it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import affirmed_although_foreign

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """Recorded first; then a foreign release, signed with the maker's stolen key, and a hand on the line."""
    recorded = shop.recorded()
    shop.install(shop.foreign_parts(harms=False), version="1.0")
    shop.sign(shop.victim, shop.factory.maker)
    shop.opened.on_line = lambda _: recorded
    return {"recorded bytes": len(recorded)}


ATTACK = Attack(
    "B17",
    "It records what the sound device says of itself, changes the program, and plays the record to whoever asks.",
    affirmed_although_foreign,
    tamper=tamper,
    strikes="device",
    walls=("nonce",),
)
