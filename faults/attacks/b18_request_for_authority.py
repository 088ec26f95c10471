"""B18: a certificate request that asks to become an authority, and a counterfeit device below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, CannotTell, Effect, Injection, Parameters, Report

if TYPE_CHECKING:
    from faults.seen import Observations
    from faults.workshop import Workshop

#: No device of this name was ever made by the factory.
COUNTERFEIT = "SN-9999"


def tamper(shop: Workshop, _: Parameters) -> Report:
    """The factory certifies a request with ``CA:TRUE`` in it; with that certificate the counterfeit gets a name."""
    shop.counterfeit(COUNTERFEIT, intruder="SN-0666")
    return {"counterfeit": COUNTERFEIT}


def effect(seen: Observations, _injection: Injection) -> Effect:
    """A verifier affirmed a device that the factory has never made."""
    if seen.attested is None:
        raise CannotTell("nobody challenged the device, or it did not answer")
    if seen.attested.verdict == "AFFIRMING" and seen.attested.serial == COUNTERFEIT:
        return Effect(True, f"The verifier affirmed {COUNTERFEIT}, which the factory has never made.")
    return Effect(False, f"The verifier said {seen.attested.verdict}: {seen.attested.sentence}.")


ATTACK = Attack(
    "B18",
    "It asks the factory for a name, smuggles in a wish to give names itself, and so makes a counterfeit look genuine.",
    effect,
    tamper=tamper,
    strikes="device",
    walls=("request", "pathlen", "revocation"),
)
