"""What somebody can do who gets at a device's flash while it is off: the hands of attacks on the boot.

They may hold images of other releases, keys of their own, and keys that were given to somebody for something else. The
secure element and ROM are out of their reach.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from boot import image
from boot.scope import Scope
from faults import foreign_program
from faults.attack import Report
from faults.effects import FOREIGN_MARK
from faults.flash_watch import OnOpen
from ipc_schemas import codec, release
from ipc_schemas.release import Envelope, Manifest, Part, Release, Signed
from monitor.design import WORLD, Design
from world import devices
from world.devices import Overlay
from world.factory import development, images
from world.factory.development import Factory, Made, Signer

#: Words for the image at which an attack aims: what the critical partition runs, or one that comes before it.
PARTITION, RELEASE, ALL = "partition", "release", "all"
#: The mildest first: what is refused last.
IMAGES = (PARTITION, "design", "monitor", "bootloader")
_LOADED = """

import {program} as _foreign

_foreign.take_over({name}, {ports!r}, {mark!r})
"""
#: A monitor that puts the foreign program into the victim's image after it was verified. It keeps a copy of its own
#: archive, so that it does not matter what takes its name.
_FOREIGN_MONITOR = """
import os, sys

copy = os.memfd_create("image")
with open(sys.argv[0], "rb") as archive, open(copy, "wb", closefd=False) as out:
    out.write(archive.read())
sys.path[0] = f"/proc/self/fd/{{copy}}"
sys.path.append(sys.argv[1])
from monitor import flash

own = flash._Reader.files
ADDED = {added!r}


def files(reader, name, role):
    found = own(reader, name, role)
    return {{**found, **ADDED}} if name == {victim!r} else found


flash._Reader.files = files
from monitor.main import main

main()
"""
_EVERY_ROLE = Scope(
    ("bootloader", "monitor", "design", "partition", "release"), (), ("A", "B", "C"), every_partition=True
)


@dataclass(frozen=True, slots=True)
class Workshop:
    """One device's flash, and what its release is made of. ``victim`` is the partition whose image is aimed at."""

    flash: Path
    design: Design
    victim: str
    #: What goes on while the device runs, to be ended with the run.
    ends: ExitStack

    @property
    def factory(self) -> Factory:
        """Whose keys signed what lies in the flash: an attack says which of them it needs."""
        return devices.factory()

    @property
    def shelf(self) -> Path:
        """The slot that is started first."""
        return self.flash / f"slot_{devices.SLOT}"

    def parts(self) -> dict[str, Made]:
        """The images of the device's own release."""
        return devices.parts_of(self.design, {})

    def signers(self) -> dict[str, Signer]:
        """Who signed which of them; the maker signed all others, and the release."""
        return devices.signers_of(self.design)

    def named(self, word: str) -> str:
        """The name in the release of what a word of ``IMAGES`` stands for."""
        return self.victim if word == PARTITION else word

    def foreign(self) -> Made:
        """An image for the victim that is not of this release (``faults.foreign_program``).

        Its code begins where that of the device's own begins.
        """
        partition = self.design.partition(self.victim)
        overlay = Overlay(partition.image, partition.entry, self._foreign_files())
        return devices.partition_images(self.design, {self.victim: overlay})[self.victim]

    def _foreign_files(self) -> dict[str, bytes]:
        """What makes the victim's image a foreign one."""
        partition = self.design.partition(self.victim)
        module, _, name = partition.entry.partition(":")
        outward = sorted(
            channel.source.partition(".")[2]
            for channel in self.design.channels
            if channel.source.partition(".")[0] == self.victim
            and any(sink.partition(".")[0] == WORLD for sink in channel.sinks)
        )
        file, program = f"{module.replace('.', '/')}.py", foreign_program.__name__.rpartition(".")[2]
        loaded = _LOADED.format(program=program, name=name, ports=outward, mark=FOREIGN_MARK)
        return {
            file: (partition.image / file).read_bytes() + loaded.encode(),
            f"{program}.py": Path(foreign_program.__file__).read_bytes(),
        }

    def swap_monitor_once_opened(self) -> Report:
        """Have a foreign monitor take the name of the device's own as soon as that one is opened, and give it back
        when the monitor opens the design's manifest. The report says what was missed until the first was done.
        """
        path, kept, other = self.shelf / "monitor.img", self.flash / "own.img", self.flash / "foreign.img"
        kept.write_bytes(path.read_bytes())
        source = _FOREIGN_MONITOR.format(added=self._foreign_files(), victim=self.victim)
        started = images.compiled("__main__.py", source.encode())
        other.write_bytes(_with_file(path.read_bytes(), "__main__.pyc", started))
        report: Report = {"missed": "nobody opened the monitor's image"}

        def swap() -> None:
            os.replace(other, path)
            report["swapped"] = path.name
            del report["missed"]

        steps = [("monitor.img", swap), ("design.bhm", lambda: os.replace(kept, path))]
        self.ends.enter_context(OnOpen(self.shelf, steps))
        return report

    def stranger(self) -> Factory:
        """Somebody with a root of their own."""
        return Factory(self.factory.now)

    def revoke(self, signer: Signer) -> None:
        """The authority that issued this signer's certificate takes it back, on the list in this flash."""
        self.factory.write_trust(self.flash, number=2, revoked=(signer,))

    def signer_below_factory(self) -> Signer:
        """A signer of code whose certificate the factory has issued."""
        return self.factory.signer("Handyman", _EVERY_ROLE, below=self.factory.plant)

    def signer_below_expired(self) -> Signer:
        """A signer whose own certificate is good, below an authority whose time was over a year ago."""
        return self.factory.signer("Supplier of old", _EVERY_ROLE, below=self.factory.expired_authority())

    def signer_to_be_revoked(self) -> Signer:
        """A signer of everything whose certificate is good so far."""
        return self.factory.signer("Somebody who has left", _EVERY_ROLE)

    def supplier_of_another(self) -> Signer:
        """The supplier of a partition that is not the victim."""
        others = [signer for name, signer in sorted(self.signers().items()) if name != self.victim]
        return others[0] if others else self.factory.supplier("another", "A")

    def install(
        self,
        parts: Mapping[str, Made],
        *,
        slot: str = devices.SLOT,
        version: str = "0.9",
        hardware_id: str = development.HARDWARE_ID,
    ) -> None:
        """Put a release into a slot, each image signed by who may sign it on this device."""
        self.factory.write_release(
            self.flash,
            slot,
            parts,
            version,
            self.design.name,
            signers=self.signers(),
            hardware_id=hardware_id,
        )

    def foreign_parts(self) -> dict[str, Made]:
        """The device's own release but for the victim's image."""
        return {**self.parts(), self.victim: self.foreign()}

    def old_parts(self, image: str = ALL, by: int = 1) -> dict[str, Made]:
        """An older release, whose faults are known by now: one image, or each, has the counter that it had then."""
        old = devices.SECURITY_COUNTER - by
        return {
            name: replace(part, security_counter=old) if image in (ALL, name) else part
            for name, part in self.foreign_parts().items()
        }

    def grow(self, name: str) -> None:
        """Add a file to an image in the flash, which nobody needs and nobody has signed."""
        path = self.shelf / f"{name}.img"
        path.write_bytes(_grown(path.read_bytes()))

    def retarget(self, name: str, hardware_id: str) -> None:
        """Have the manifest of an image name other hardware, and the release that manifest."""
        self._reissue(name, msgspec.structs.replace(self._manifest(name), hardware_id=hardware_id))

    def repin(self, name: str, part: str, digest: bytes) -> None:
        """Have the manifest of an image rely on another part of the platform, and the release name that manifest."""
        there = self._manifest(name)
        platform = tuple(sorted({**dict(there.platform), part: digest}.items()))
        self._reissue(name, msgspec.structs.replace(there, platform=platform))

    def _manifest(self, name: str) -> Manifest:
        return codec.Codec(Manifest).decode(self._envelope(name).payload)

    def _reissue(self, name: str, manifest: Manifest) -> None:
        """By who signed it."""
        payload = codec.encode(manifest)
        signer = self.signers().get(name, self.factory.maker)
        self._write(name, Envelope(payload, (signer.sign(release.MANIFEST_LABEL, payload),)))
        found = codec.Codec(Release).decode(self._envelope(RELEASE).payload)
        digest = hashlib.sha256(payload).digest()
        parts = tuple(Part(name, digest) if part.image == name else part for part in found.parts)
        payload = codec.encode(msgspec.structs.replace(found, parts=parts))
        self._write(RELEASE, Envelope(payload, (self.factory.maker.sign(release.RELEASE_LABEL, payload),)))

    def sign(self, name: str, *signers: Signer) -> None:
        """Put the signatures of these, and no others, on the manifest of an image, or on the release."""
        label = release.RELEASE_LABEL if name == RELEASE else release.MANIFEST_LABEL
        self._sign_with(name, lambda there: tuple(one.sign(label, there.payload) for one in signers))

    def sign_badly_too(self, name: str, *, first: bool) -> None:
        """Put a signature that is none beside the one of a manifest: before it, or behind."""

        def both(there: Envelope) -> tuple[Signed, ...]:
            good = there.signatures[0]
            bad = release.Signed(good.chain, bytes(64))
            return (bad, good) if first else (good, bad)

        self._sign_with(name, both)

    def _sign_with(self, name: str, change: Callable[[Envelope], tuple[Signed, ...]]) -> None:
        there = self._envelope(name)
        self._write(name, Envelope(there.payload, change(there)))

    def _envelope(self, name: str) -> Envelope:
        return codec.Codec(Envelope).decode((self.shelf / f"{name}.bhm").read_bytes())

    def _write(self, name: str, envelope: Envelope) -> None:
        (self.shelf / f"{name}.bhm").write_bytes(codec.encode(envelope))


def _grown(content: bytes) -> bytes:
    """An image with one file more: a stage's is a zip archive, any other is packed."""
    if content[:2] != b"PK":
        return image.pack({**image.unpack(content), "added.txt": b"nobody has signed this"})
    return _with_file(content, "added.txt", b"nobody has signed this")


def _with_file(archive: bytes, name: str, content: bytes) -> bytes:
    """A stage's image with this file added, or in the place of its own."""
    with zipfile.ZipFile(io.BytesIO(archive)) as there:
        files = {each: there.read(each) for each in there.namelist()}
    return images.archive({**files, name: content})
