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
from boot.authority import Signer, names_of
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
    #: All who vouched for it.
    signers: tuple[Signer, ...]


class Flash:
    """By what this monitor judges what it is told to switch on: as it was booted, from here on for good."""

    def __init__(self, handover: Handover, facts: element.Facts) -> None:
        """Raises ``Refused``."""
        self._handover = handover
        self._facts = facts
        shelf, rules = stage.slot_of(handover), stage.rules_for(handover, facts)
        found, signers = admission.admit_release(shelf, rules)
        admission.require_logged(found, handover.log)
        self._booted = {part.image: part.manifest_sha256 for part in found.parts if part.image in _BOOTED}
        self._signers = list(signers)
        #: The security counters of the stages that run.
        self._counters: dict[str, int] = {}
        for role in measured.LAYERS:
            admitted = admission.admit(shelf, role, role, found, rules)
            admitted.file.close()
            self._signers += admitted.signers
            self._counters[role] = admitted.manifest.security_counter

    @property
    def slot(self) -> str:
        """From which this device was booted."""
        return self._handover.slot

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
        if (
            "release" not in rules.without and not flash
        ):  # it is read once more: nobody may have put in another
            admission.require_logged(found, handover.log)
        if "release" not in rules.without and any(
            listed.get(name) != sha256 for name, sha256 in self._booted.items()
        ):
            raise Refused(
                "release",
                f"the release {found.version} names another bootloader or monitor than those that run",
                "start the device with the images of one release",
                image="release",
                signer=names_of(signers),
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
        vouched = (*signers, *reader.signers)
        _require_room(list_numbers((*self._signers, *vouched)), self._facts)
        return Content(
            found, design, partitions, reader.manifests, gate, reader.log, frozenset(left_out), vouched
        )

    def require_unchanged(self, content: Content) -> None:
        """What ROM and bootloader measured, everybody has read again since: nobody wrote to it. Raises ``Refused``."""
        if "platform" not in content.left_out:
            platform.require_unchanged(self._handover.states, self._handover.packages)

    def confirm(self, chip: Element, content: Content) -> None:
        """What runs has proven itself: no attempt is spent, and nothing older starts again. Raises ``Refused``.

        Neither an older image nor an older revocation list, nor anything whose time is over. Floors of lists are those
        of the lists that were validated in this boot. Time rises to what an authority has signed, and never to what the
        host's clock says: a clock that runs ahead must not put an end to a device's certificates for good.
        """
        chip.confirm()
        floors = {floor.image: floor.counter for floor in self._facts.floors}
        counters = {name: manifest.security_counter for name, manifest in content.manifests.items()}
        for name, counter in sorted((self._counters | counters).items()):
            if counter > floors.get(name, 0):
                chip.raise_floor(name, counter)
        signers = (*self._signers, *content.signers)
        known = {floor.authority_key_sha256: floor.number for floor in self._facts.list_floors}
        newer = {key: n for key, n in sorted(list_numbers(signers).items()) if n > known.get(key, 0)}
        if newer:
            chip.raise_list_floors(tuple(element.ListFloor(key, number) for key, number in newer.items()))
        times_s = [int(one.no_earlier.timestamp()) for one in signers if one.no_earlier is not None]
        if max(times_s, default=0) > self._facts.time_floor_s:
            chip.raise_time_floor(max(times_s))


class _Reader:
    """Admits and measures one image after the other."""

    def __init__(self, shelf: Path, belongs_to: Release, rules: Rules, handover: Handover) -> None:
        self._shelf, self._belongs_to, self._rules, self._handover = shelf, belongs_to, rules, handover
        self.log = measured.replay(handover.log)
        self.manifests: dict[str, Manifest] = {}
        self.signers: list[Signer] = []

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
        self.manifests[admitted.manifest.image] = admitted.manifest
        self.signers += admitted.signers
        self.log = admission.logged(self.log, STAGE, admitted)


def list_numbers(signers: Iterable[Signer]) -> dict[bytes, int]:
    """For each authority (by its key's SHA-256) the highest number of its lists that was validated."""
    numbers: dict[bytes, int] = {}
    for seen in (seen for signer in signers for seen in signer.lists):
        numbers[seen.authority_key_sha256] = max(seen.number, numbers.get(seen.authority_key_sha256, 0))
    return numbers


def _require_room(numbers: Mapping[bytes, int], facts: element.Facts) -> None:
    """Raises ``Refused`` when there would be an authority without a floor, whose old lists could be put back."""
    known = {floor.authority_key_sha256 for floor in facts.list_floors}
    if len(known | numbers.keys()) > element.LIST_FLOORS_MAX:
        raise Refused(
            "revocation",
            f"{len(known | numbers.keys())} authorities have vouched for what this device ran, and its secure element "
            f"keeps floors for the lists of {element.LIST_FLOORS_MAX}",
            "have the release signed below authorities that this device knows",
            image="release",
        )


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
