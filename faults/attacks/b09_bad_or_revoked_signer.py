"""B09: signed by nobody, by a stranger, or with a key that was revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, parameters: Parameters) -> Report:
    """``signer`` (unsigned) of ``image`` (partition): nobody, a stranger with a root of their own, or somebody whose
    certificate was revoked.
    """
    signer, image = parameters.get("signer", "unsigned"), parameters.get("image", "partition")
    name = shop.named(image)
    shop.install(shop.foreign_parts())
    if signer == "unsigned":
        shop.sign(name)
    elif signer == "stranger":
        shop.sign(name, shop.stranger().maker)
    else:
        gone = shop.signer_to_be_revoked()
        shop.sign(name, gone)
        shop.revoke(gone)
    return {"signer": signer, "image": image}


ATTACK = Attack(
    "B09",
    "It installs a program that nobody has signed, or a stranger, or somebody whose key was taken back.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    parameters={
        "signer": OneOf(("unsigned", "stranger", "revoked")),
        "image": OneOf(("partition", "design", "monitor", "bootloader", "release")),
    },
    variants=({}, {"signer": "stranger"}, {"signer": "revoked"}),
    walls=("signature", "chain", "revocation"),
)
