"""The bootloader: verifies the monitor of the same release, measures it and the platform it is pinned to, becomes it.

What it refuses ends this boot: the attempt is spent, and the power supply starts the device again, from ROM.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import msgspec

from boot import admission, layers, measured, stage
from boot.refusal import Refused
from ipc_schemas import links
from ipc_schemas.release import Handover

STAGE = "bootloader"


def main() -> NoReturn:
    """Never returns: it becomes the monitor, or ends."""
    handover = stage.handed_over(STAGE)
    try:
        _boot(handover)
    except Refused as refused:
        stage.tell_refusal(handover, STAGE, refused)
        sys.exit(links.EXIT_RESET)


def _boot(handover: Handover) -> NoReturn:
    """Start the monitor of this slot. Raises ``Refused``."""
    chip = stage.element_of(handover)
    rules = stage.rules_for(handover, chip.facts())
    shelf = stage.slot_of(handover)
    found, _ = admission.admit_release(shelf, rules)
    if "release" not in rules.without:
        admission.require_logged(found, handover.log)
    monitor = admission.admit(shelf, "monitor", "monitor", found, rules)
    stage.require_mapped(handover)
    handover = stage.with_platform(STAGE, monitor.manifest, handover, rules)
    log = admission.logged(measured.replay(handover.log), STAGE, monitor)
    measurement = log.layer_measurement(monitor.manifest, monitor.file.sha256)
    chip.measure_next(measured.register_measurement(measurement, measured.release_digest(log.lines)))
    secret, layer = layers.certify_next(handover.secret, "monitor", measurement)
    # A nursery's monitors are forked from it, and their partitions from them: none is to have a secret in its memory.
    handover = msgspec.structs.replace(
        handover,
        log=log.lines,
        layers=(*handover.layers, layer),
        secret=secret if handover.command != links.NURSERY else b"",
    )
    stage.start("monitor", monitor.file, handover, shelf / "monitor.img")
