"""B09: signed by nobody, by a stranger, or with a key that was revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """``signer`` (unsigned): nobody, a stranger with a root of their own, or a supplier whose key was revoked."""
    signer = parameters.get("signer", "unsigned")
    if signer == "stranger":
        shop.install(shop.foreign_parts(), by=shop.stranger())
    else:
        shop.install(shop.foreign_parts())
    if signer == "unsigned":
        shop.unsign()
    if signer == "revoked":
        shop.revoke(shop.signers()[shop.victim])
    return {"signer": signer}


ATTACK = Attack(
    "B09",
    "It installs a program that nobody has signed, or a stranger, or somebody whose key was taken back.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={"signer": OneOf(("unsigned", "stranger", "revoked"))},
    walls=("signature", "chain", "revocation"),
)
