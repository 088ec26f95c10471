"""What somebody can do who gets at a device's flash while it is off: the hands of attacks on the boot.

They may hold images of other releases, keys of their own, and keys that were given to somebody for something else; they
may put another device in this one's place, or stand between it and whoever it proves itself to. What is inside the
secure element and ROM is out of their reach.
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
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from boot import image, measured
from boot.authority import key_sha256_of
from boot.element_process import make_blank
from boot.scope import Scope
from faults import foreign_program
from faults.attack import Report
from faults.effects import FOREIGN_MARK
from faults.flash_watch import OnOpen
from ipc_schemas import codec, element, release
from ipc_schemas.release import Envelope, Manifest, Part, Release, Signed
from monitor.design import WORLD, Design
from world import devices
from world.bench import Bench, Plan, run_folder
from world.devices import Opened, Overlay
from world.factory import certificates, development, images, packing
from world.factory.certificates import Authority, Validity
from world.factory.development import Factory, Made, Signer, manifest_of

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


#: A stage that is not of the device's release and says that it is: in the log, also in lines that others wrote, and of
#: the monitor that it starts.
_LIES = """from boot import admission, measured

TOLD, MONITOR = {told!r}, {monitor!r}
honest = measured.Log.appended


def appended(log, stage, kind, name, version, digest, signer):
    return honest(log, stage, kind, name, version, TOLD.get((kind, name), digest), signer)


def replay(lines):
    log = measured.Log()
    for line in lines:
        log = log.appended(line.stage, line.kind, line.name, line.version, line.digest, line.signer)
    return log


measured.Log.appended, measured.replay = appended, replay
measured.Log.layer_measurement = lambda log, manifest, image_sha256: MONITOR
admission.require_logged = lambda found, log: None


def main():
    from {program} import main as go_on

    go_on()
"""


class _Ear:
    """Asks a device as a verifier does, and only keeps the answer."""

    token = b""

    def challenge(self, *_: object) -> bytes:
        """Any nonce does."""
        return bytes(32)

    def hear(self, token: bytes, _: tuple[bytes, ...]) -> str:
        """Keep it."""
        self.token = token
        return "recorded"


@dataclass(frozen=True, slots=True)
class Workshop:
    """One device that is off, and what its release is made of. ``victim`` is the partition whose image is aimed at."""

    opened: Opened
    design: Design
    victim: str
    #: What goes on while the device runs, to be ended with the run.
    ends: ExitStack
    #: Walls that the experiment leaves out: how careful the factory is that one can turn to.
    without: frozenset[str] = frozenset()

    @property
    def flash(self) -> Path:
        """What anybody can write who has the device open."""
        return self.opened.device.flash

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

    def foreign(self, *, harms: bool = True) -> Made:
        """An image for the victim that is not of this release (``faults.foreign_program``).

        Its code begins where that of the device's own begins. One that does not harm only says that it runs.
        """
        partition = self.design.partition(self.victim)
        overlay = Overlay(partition.image, partition.entry, self._foreign_files(harms=harms))
        return devices.partition_images(self.design, {self.victim: overlay})[self.victim]

    def _foreign_files(self, *, harms: bool = True) -> dict[str, bytes]:
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
        loaded = _LOADED.format(program=program, name=name, ports=outward if harms else [], mark=FOREIGN_MARK)
        return {
            file: (partition.image / file).read_bytes() + loaded.encode(),
            f"{program}.py": Path(foreign_program.__file__).read_bytes(),
        }

    def swap_monitor_once_opened(self) -> Report:
        """Have a foreign monitor take the name of the device's own as soon as that one is opened.

        The own one is given back when the monitor opens the release, before it looks at its own image once more. The
        report says what was missed until the first was done.
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

        steps = [("monitor.img", swap), ("release.bhm", lambda: os.replace(kept, path))]
        self.ends.enter_context(OnOpen(self.shelf, steps))
        return report

    def stranger(self) -> Factory:
        """Somebody with a root of their own."""
        return Factory(self.factory.now)

    def revoke(self, signer: Signer) -> None:
        """The authority that issued this signer's certificate takes it back, on the list in this flash."""
        self.factory.write_trust(self.flash, number=development.LIST_NUMBER + 1, revoked=(signer,))

    def put_old_lists_back(self) -> None:
        """The revocation lists from before the former supplier was taken back, each properly signed."""
        self.factory.write_trust(self.flash, number=development.LIST_NUMBER - 1)

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

    def foreign_parts(self, *, harms: bool = True) -> dict[str, Made]:
        """The device's own release but for the victim's image."""
        return {**self.parts(), self.victim: self.foreign(harms=harms)}

    def old_parts(self, image: str = ALL, by: int = 1) -> dict[str, Made]:
        """An older release, whose faults are known by now: one image, or each, has the counter that it had then."""
        old = devices.SECURITY_COUNTER - by
        return {
            name: replace(part, security_counter=old) if image in (ALL, name) else part
            for name, part in self.foreign_parts().items()
        }

    def lying_parts(self) -> dict[str, Made]:
        """A foreign release whose bootloader and monitor say that the device's own was started."""
        own = self.parts()
        texts = development.texts_of(own, devices.VERSION, self.design.name)
        told = {("image", name): hashlib.sha256(part.content).digest() for name, part in own.items()}
        told["release", self.design.name] = hashlib.sha256(texts.release).digest()
        monitor = manifest_of("monitor", own["monitor"], devices.VERSION, development.HARDWARE_ID)
        lies = {"told": told, "monitor": measured.expected_measurement(monitor)}
        parts = self.foreign_parts(harms=False)
        for name, program, more in (
            ("bootloader", "boot.bootloader", {}),
            ("monitor", "monitor.main", packing.libraries()),
        ):
            source = _LIES.format(program=program, **lies).encode()
            files = {"lying.pyc": images.compiled("lying.py", source), **more}
            parts[name] = replace(own[name], content=images.stage(name, "lying", files))
        return parts

    def recorded(self) -> bytes:
        """What the device says of itself as it is now. It answers whoever asks: it is started once, and off again."""
        ear = _Ear()
        plan = Plan(self.design.folder, 1, device=self.opened.device, verifier=ear, accept_degraded=True)
        with run_folder() as folder, Bench(plan=plan) as bench:
            bench.run(plan, folder)
        return ear.token

    def counterfeit(self, serial: str, intruder: str) -> None:
        """Put a device of one's own in the place of this one: its identity is certified by ``intruder``, a name under
        which one has asked the factory for a certificate that makes authorities.
        """
        key = generate_private_key(SECP256R1())
        wanted = certificates.authority_extensions(path_length=None)
        wanted.append((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False))
        request = x509.CertificateSigningRequestBuilder().subject_name(
            certificates.name_of("", serial=intruder)
        )
        for extension, critical in wanted:
            request = request.add_extension(extension, critical)
        asked = request.sign(key, SHA256()).public_bytes(Encoding.DER)
        authority = Authority(self._desk(asked, intruder), key)
        device = replace(self.opened.device, element=self.flash.parent / "other", serial=serial)
        make_blank(device.element)
        with development.linked(device.element) as chip:
            chip.burn_fuse("root_key_sha256", key_sha256_of(self.factory.root.certificate))
            chip.burn_fuse("hardware_id", development.HARDWARE_ID.encode())
            chip.burn_fuse("serial", serial.encode())
            chip.manufacture()
            named = certificates.device_identity(
                authority, chip.certificate_request(), serial, self.factory.now
            )
            path = (named, authority.certificate, self.factory.plant.certificate)
            chip.store_chain("idevid", tuple(each.public_bytes(Encoding.DER) for each in path))
            chip.advance("provisioned")
            chip.advance("operational")
        self.opened.device = device

    def _desk(self, request: bytes, serial: str) -> x509.Certificate:
        """What the factory issues for a request. Without the wall ``request`` it grants whatever is asked for."""
        plant, begin = self.factory.plant, self.factory.now
        proper = certificates.device_identity(plant, request, serial, begin)
        if "request" not in self.without:
            return proper
        asked = [(each.value, each.critical) for each in x509.load_der_x509_csr(request).extensions]
        key = certificates.key_in_request(request)
        validity = Validity(begin, certificates.FOREVER)
        return certificates.issue(plant, proper.subject, key, validity, asked)

    def unlock_of(self, serial: str) -> None:
        """Bring a permission to debug, properly signed by the maker, for the device ``serial`` and this one's boot.

        Whoever owns that other device may have asked for it, and have named this boot's nonce as its own.
        """

        def service(nonce: bytes) -> bytes:
            until_s = int(self.factory.now.timestamp()) + 86_400
            payload = codec.encode(element.DebugUnlock(release.FORMAT, serial.encode(), nonce, until_s))
            signed = self.factory.service.sign(element.UNLOCK_LABEL, payload)
            unlock = element.SignedUnlock(payload, signed.signature)
            return codec.encode(element.Permission(unlock, signed.chain))

        self.opened.service = service

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
