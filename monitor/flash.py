"""What the monitor takes out of flash: the release of its own boot, and in it the design and each partition's image.

Every image is admitted (``boot.admission``), measured, and from then on only its verified bytes are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from boot import admission, image, measured, platform, stage
from boot.admission import Admitted, Rules
from boot.element import Element
from boot.refusal import Refused
from ipc_schemas import element
from ipc_schemas.release import Handover, Manifest, Release, Role
from monitor import images, loader
from monitor.design import Design
from sandbox import walls

STAGE = "monitor"
DESIGN = "design"
#: What has run by the time the monitor does.
_BOOTED = ("bootloader", "monitor")


@dataclass(frozen=True, slots=True)
class Content:
    """What was verified: the design, each partition's image and manifest, the gates' image, and the measured log."""

    release: Release
    design: Design
    partitions: Mapping[str, images.Image]
    manifests: Mapping[str, Manifest]
    gate: images.Image
    log: measured.Log
    left_out: frozenset[str]


class Flash:
    """By what this monitor judges what it is told to switch on: as it was booted, from here on for good."""

    def __init__(self, handover: Handover, facts: element.Facts) -> None:
        """Raises ``Refused``."""
        self._handover = handover
        self._facts = facts
        found = self._own_release()
        self._booted = {part.image: part.manifest_sha256 for part in found.parts if part.image in _BOOTED}

    def _own_release(self) -> Release:
        """The one of this boot, as ROM has measured it. Raises ``Refused``."""
        shelf, rules = stage.slot_of(self._handover), stage.rules_for(self._handover, self._facts)
        found, _ = admission.admit_release(shelf, rules)
        admission.require_logged(found, self._handover.log)
        return found

    def require_mapped(self, content: Content, processes: Iterable[int | str]) -> None:
        """Raises ``Refused`` (``platform``) when one of these has code mapped that was not measured in this boot."""
        for process in processes:
            if "platform" not in content.left_out:
                platform.require_measured(process, content.log.platform, self._handover.packages)

    @property
    def root_sha256(self) -> bytes:
        """Of the root's key, by the fuses."""
        return self._facts.root_key_sha256

    def content(self, flash: str, slot: str, without: Iterable[str]) -> Content:
        """The device in this slot of this flash, or (both empty) in the one that was booted from.

        It is judged without the walls that the order leaves out, too.

        Raises ``Refused`` or ``DesignError``.
        """
        left_out = tuple({*self._handover.without, *without})
        handover = msgspec.structs.replace(self._handover, without=left_out)
        if flash:
            handover = msgspec.structs.replace(handover, flash=flash, slot=slot)
        shelf, rules = stage.slot_of(handover), stage.rules_for(handover, self._facts)
        found, signers = admission.admit_release(shelf, rules)
        listed = {part.image: part.manifest_sha256 for part in found.parts}
        if "release" not in rules.without and any(
            listed.get(name) != sha256 for name, sha256 in self._booted.items()
        ):
            raise Refused(
                "release",
                f"the release {found.version} names another bootloader or monitor than those that run",
                "start the device with the images of one release",
                image="release",
                signer=", ".join(signers),
            )
        reader = _Reader(shelf, found, rules, handover)
        design_files = reader.files(DESIGN, "design")
        design = loader.design_in(design_files, walls.ALL)
        partitions = {
            p.name: images.partition_image(reader.files(p.name, "partition"), design, design_files)
            for p in design.partitions
        }
        _require_agreement(design, reader.manifests, listed.keys())
        gate = images.gate_image(design, design_files)
        return Content(found, design, partitions, reader.manifests, gate, reader.log, frozenset(left_out))

    def require_unchanged(self, content: Content) -> None:
        """What ROM and bootloader measured, everybody has read again since: nobody wrote to it. Raises ``Refused``."""
        if "platform" not in content.left_out:
            platform.require_unchanged(self._handover.states, self._handover.packages)

    def confirm(self, chip: Element, content: Content) -> None:
        """What runs has proven itself: no attempt is spent, and nothing older starts again. Raises ``Refused``."""
        chip.confirm()
        floors = {floor.image: floor.counter for floor in self._facts.floors}
        counters = {name: manifest.security_counter for name, manifest in content.manifests.items()}
        for name, counter in sorted((self._counters_of_stages() | counters).items()):
            if counter > floors.get(name, 0):
                chip.raise_floor(name, counter)

    def _counters_of_stages(self) -> dict[str, int]:
        """The security counters of the stages that run, by their manifests. Raises ``Refused``."""
        shelf, rules = stage.slot_of(self._handover), stage.rules_for(self._handover, self._facts)
        found = self._own_release()
        counters: dict[str, int] = {}
        for role in measured.LAYERS:
            admitted = admission.admit(shelf, role, role, found, rules)
            admitted.file.close()
            counters[role] = admitted.manifest.security_counter
        return counters


class _Reader:
    """Admits and measures one image after the other."""

    def __init__(self, shelf: Path, belongs_to: Release, rules: Rules, handover: Handover) -> None:
        self._shelf, self._belongs_to, self._rules, self._handover = shelf, belongs_to, rules, handover
        self.log = measured.replay(handover.log)
        self.manifests: dict[str, Manifest] = {}

    def files(self, name: str, role: Role) -> dict[str, bytes]:
        """The files of this image. Raises ``Refused``."""
        admitted = admission.admit(self._shelf, name, role, self._belongs_to, self._rules)
        path = self._shelf / f"{name}.img"
        try:
            handover = msgspec.structs.replace(self._handover, log=self.log.lines)
            handover = stage.with_platform(STAGE, admitted.manifest, handover, self._rules)
            self.log = measured.replay(handover.log)
            self._note(admitted)
            # Without the wall the file is used as it is now, whatever was verified before.
            content = admitted.file.content() if "swap" not in self._rules.without else path.read_bytes()
            return image.unpack(content)
        except Refused as refused:
            refused.image = name
            raise
        finally:
            admitted.file.close()

    def _note(self, admitted: Admitted) -> None:
        manifest, signers = admitted.manifest, ", ".join(admitted.signers)
        self.manifests[manifest.image] = manifest
        sha256 = admitted.file.sha256
        self.log = self.log.appended(STAGE, "image", manifest.image, manifest.version, sha256, signers)


def _require_agreement(design: Design, manifests: Mapping[str, Manifest], listed: Iterable[str]) -> None:
    """Release, manifests and design speak of the same partitions. Raises ``Refused``."""
    surplus = sorted(set(listed) - manifests.keys() - set(_BOOTED))
    if surplus:
        raise Refused(
            "release",
            f"the release names the image {surplus[0]}, and the design has no such partition",
            "build the release from its design",
            image=surplus[0],
        )
    for partition in design.partitions:
        pinned = {part for part, _ in manifests[partition.name].platform}
        loose = sorted(set(partition.packages) - pinned)
        if loose:
            raise Refused(
                "platform",
                f"{partition.name} uses the package {loose[0]}, and its manifest does not say which",
                "build the image anew, with all of its packages",
                image=partition.name,
            )
        said = manifests[partition.name].safety_class
        if said != partition.safety_class:
            raise Refused(
                "scope",
                f"{partition.name} is of safety class {partition.safety_class} by the design, {said} by its manifest",
                "have the image signed for the class in the design",
                image=partition.name,
            )
