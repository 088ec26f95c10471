"""B19: a permission to debug one device, brought to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, CannotTell, Effect, Injection, Parameters, Report

if TYPE_CHECKING:
    from faults.seen import Observations
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """Signed by the maker, in time, with this very boot's nonce; only the device in it is another."""
    shop.unlock_of("SN-0666")
    return {"permission for": "SN-0666"}


def effect(seen: Observations, _injection: Injection) -> Effect:
    """Debugging is open, by the word of the secure element behind the device's signed answer."""
    if seen.attested is None or seen.attested.is_debug is None:
        raise CannotTell("nobody challenged the device, or it did not answer")
    if not seen.debug_told:
        raise CannotTell("no permission was brought to the device")
    if seen.attested.is_debug:
        return Effect(True, "Debugging was opened with a permission for another device.")
    return Effect(False, f"{seen.debug_told[0].upper()}{seen.debug_told[1:]}.")


ATTACK = Attack(
    "B19",
    "It opens the device for debugging with a permission that the maker gave for another one.",
    effect,
    tamper=tamper,
    strikes="device",
    walls=("unlock",),
)
