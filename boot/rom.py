"""ROM: chooses a slot, verifies its release and bootloader, measures the bootloader, and becomes it.

It is the device's first program and cannot change. What it refuses is told, the other slot is tried under the same
rules, and with neither the device stays in its safe state: exit status 3, and the pump's own watchdog does the rest.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping
from typing import NoReturn

import msgspec

from boot import admission, measured, platform, stage, unlock
from boot.authority import names_of
from boot.element import Element
from boot.refusal import Refused
from ipc_schemas import codec, element
from ipc_schemas.release import Handover

STAGE = "rom"
_PERMISSIONS = codec.Codec(element.Permission)


def main(found: Mapping[str, platform.Look], running: platform.Begun, pins: Mapping[str, bytes]) -> NoReturn:
    """Never returns: it becomes the bootloader, or ends.

    ``found`` are the packages as ``boot.mask`` has measured them, what is ``running`` is being measured, and ``pins``
    are the digests that the mask was made with.
    """
    handover = stage.handed_over(STAGE)
    stage.tell(handover, "stage", STAGE, {"monotonic_s": time.monotonic()})
    try:
        chip = stage.element_of(handover)
        facts = _serviced(handover, chip)
        handover = msgspec.structs.replace(handover, permission=b"")
        slots = _slots(facts)
    except Refused as refused:
        running.abandon()
        _end(handover, refused)
    try:
        handover = _with_platform({**found, **running.looks()}, pins, handover)
    except Refused as refused:
        _end(handover, refused)
    for slot in slots:
        try:
            _boot(msgspec.structs.replace(handover, slot=slot), chip, facts)
        except Refused as refused:
            stage.tell_refusal(msgspec.structs.replace(handover, slot=slot), STAGE, refused)
    spent = [f"slot {slot} has no attempt left, and " for slot in ("a", "b") if slot not in slots]
    said = f"{''.join(spent)}no slot with attempts left holds a release that may start"
    remedy = (
        "have the slot's attempts restored, by a signed unlock" if spent else "install a release in a slot"
    )
    _end(handover, Refused("form", said, remedy))


def _serviced(handover: Handover, chip: Element) -> element.Facts:
    """The element's facts, after debugging was opened if the service connector gave a permission that counts.

    One that does not count is told, and changes nothing.
    """
    facts = chip.facts()
    if not handover.permission:
        return facts
    try:
        permission = _PERMISSIONS.decode(handover.permission)
        rules = stage.rules_for(handover, facts)
        signer = unlock.unlocker(permission.chain, rules.trust, rules.now, rules.without)
        chip.open_debug(permission.unlock, signer.public_key.public_bytes_raw(), int(rules.now.timestamp()))
    except (Refused, codec.Refused) as refused:
        stage.tell(handover, "debug", f"debugging stays closed: {refused}", {})
        return facts
    stage.tell(handover, "debug", f"debugging is open in this boot, by {signer.name}", {})
    return chip.facts()


def _slots(facts: element.Facts) -> list[str]:
    """Those with attempts left, the active one first. Raises ``Refused`` when there is none."""
    left = dict(zip(("a", "b"), facts.attempts, strict=True))
    order = sorted(left, key=lambda slot: slot != facts.slot_active)
    found = [slot for slot in order if left[slot]]
    if not found:
        raise Refused("element", "neither slot has an attempt left", "have the device unlocked and repaired")
    return found


def _with_platform(
    found: Mapping[str, platform.Look], pins: Mapping[str, bytes], handover: Handover
) -> Handover:
    """The same with the log's first lines. Raises ``Refused`` (``platform``) for a part that is not the mask's."""
    for part, look in sorted(found.items()):
        if "platform" not in handover.without:
            platform.require(part, look.digest, pins[part])
    handover = stage.noted(STAGE, dict(sorted(found.items())), handover)
    stage.require_mapped(handover)
    return handover


def _boot(handover: Handover, chip: Element, facts: element.Facts) -> NoReturn:
    """Start the bootloader of this slot. Raises ``Refused``."""
    rules = stage.rules_for(handover, facts)
    shelf = stage.slot_of(handover)
    found, signers = admission.admit_release(shelf, rules)
    bootloader = admission.admit(shelf, "bootloader", "bootloader", found, rules)
    digest = hashlib.sha256(codec.encode(found)).digest()
    log = measured.replay(handover.log)
    log = log.appended(STAGE, "release", found.device, found.version, digest, names_of(signers))
    handover = msgspec.structs.replace(handover, log=log.lines)
    handover = stage.with_platform(STAGE, bootloader.manifest, handover, rules)
    log = measured.replay(handover.log)
    chip.spend_attempt(handover.slot)  # type: ignore[arg-type]
    log = admission.logged(log, STAGE, bootloader)
    measurement = log.layer_measurement(bootloader.manifest, bootloader.file.sha256)
    secret, layer = chip.derive_layer("bootloader", measurement)
    handover = msgspec.structs.replace(handover, log=log.lines, layers=(layer,), secret=secret)
    stage.start("bootloader", bootloader.file, handover, shelf / "bootloader.img")


def _end(handover: Handover, refused: Refused) -> NoReturn:
    said = stage.refusal_of(STAGE, refused)
    stage.tell(handover, "safe_state", str(refused), msgspec.to_builtins(said))
    sys.exit(stage.EXIT_SAFE_STATE)
