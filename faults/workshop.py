"""What somebody can do who gets at a device's flash while it is off: the hands of attacks on the boot.

They may hold images of other releases, keys of their own, and keys that were given to somebody for something else; they
may put another device in this one's place, or stand between it and whoever it proves itself to. What is inside the
secure element and ROM is out of their reach.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from boot import measured
from boot.authority import key_sha256_of
from boot.element_process import make_blank
from boot.scope import Scope
from faults.effects import FOREIGN_MARK
from ipc_schemas import codec, element, release
from ipc_schemas.release import Envelope, Signed
from monitor.design import Design
from world import devices
from world.bench import Bench, Plan, run_folder
from world.devices import Opened, Overlay
from world.factory import certificates, development, images, packing
from world.factory.certificates import Authority, Validity
from world.factory.development import Factory, Made, Signer, manifest_of

_MARKED = "marked_entry"
_SOURCE = """import sys

print({token!r}, file=sys.stderr, flush=True)
from {module} import {name}
"""


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
measured.layer_measurement = lambda image, platform: MONITOR
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

    def foreign(self, *, in_place: bool = False) -> Made:
        """An image for the victim that is not of this release: when it runs, it says so in its log.

        ``in_place``: its code begins where that of the device's own begins.
        """
        partition = self.design.partition(self.victim)
        module, _, name = partition.entry.partition(":")
        if in_place:
            file = f"{module.replace('.', '/')}.py"
            said = f"\nimport sys; print({FOREIGN_MARK!r}, file=sys.stderr, flush=True)\n"
            changed = (partition.image / file).read_bytes() + said.encode()
            overlay = Overlay(partition.image, partition.entry, {file: changed})
        else:
            source = _SOURCE.format(token=FOREIGN_MARK, module=module, name=name)
            overlay = Overlay(partition.image, f"{_MARKED}:{name}", {f"{_MARKED}.py": source.encode()})
        return devices.partition_images(self.design, {self.victim: overlay})[self.victim]

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
        return self.factory.signer("Handyman", self._scope(), below=self.factory.plant)

    def signer_below_expired(self) -> Signer:
        """A signer whose own certificate is good, below an authority whose time was over a year ago."""
        return self.factory.signer("Supplier of old", self._scope(), below=self.factory.expired_authority())

    def _scope(self) -> Scope:
        partition = self.design.partition(self.victim)
        return Scope(("partition",), (self.victim,), (partition.safety_class.value,))

    def install(
        self,
        parts: Mapping[str, Made],
        *,
        slot: str = devices.SLOT,
        signers: Mapping[str, Signer] | None = None,
        by: Factory | None = None,
        version: str = "0.9",
        hardware_id: str = development.HARDWARE_ID,
    ) -> None:
        """Put a release into a slot, signed by the device's own signers but for those that are given."""
        factory = by or self.factory
        own = self.signers() if by is None else {}
        factory.write_release(
            self.flash,
            slot,
            parts,
            version,
            self.design.name,
            signers={**own, **(signers or {})},
            hardware_id=hardware_id,
        )

    def foreign_parts(self) -> dict[str, Made]:
        """The device's own release but for the victim's image."""
        return {**self.parts(), self.victim: self.foreign()}

    def old_parts(self) -> dict[str, Made]:
        """An older release, whose faults are known by now: each image with the counter that it had then."""
        old = devices.SECURITY_COUNTER - 1
        return {name: replace(part, security_counter=old) for name, part in self.foreign_parts().items()}

    def lying_parts(self) -> dict[str, Made]:
        """A foreign release whose bootloader and monitor say that the device's own was started."""
        own = self.parts()
        texts = development.texts_of(own, devices.VERSION, self.design.name)
        told = {("image", name): hashlib.sha256(part.content).digest() for name, part in own.items()}
        told["release", self.design.name] = hashlib.sha256(texts.release).digest()
        monitor = manifest_of("monitor", own["monitor"], devices.VERSION, development.HARDWARE_ID)
        lies = {"told": told, "monitor": measured.expected_measurement(monitor)}
        parts = self.foreign_parts()
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
            signed = self.factory.maker.sign(element.UNLOCK_LABEL, payload)
            unlock = element.SignedUnlock(payload, signed.signature)
            return codec.encode(element.Permission(unlock, signed.chain))

        self.opened.service = service

    def unsign(self) -> None:
        """Take the signatures off the victim's manifest."""
        self._sign_with(lambda _: ())

    def sign_badly_too(self) -> None:
        """Put a signature that is none behind the one of the victim's manifest."""
        self._sign_with(lambda good: (*good, release.Signed(good[0].chain, bytes(64))))

    def _sign_with(self, change: Callable[[tuple[Signed, ...]], tuple[Signed, ...]]) -> None:
        path = self.shelf / f"{self.victim}.bhm"
        there = codec.Codec(Envelope).decode(path.read_bytes())
        path.write_bytes(codec.encode(Envelope(there.payload, change(there.signatures))))
