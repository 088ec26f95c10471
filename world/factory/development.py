"""A throw-away factory for development: all keys of the hierarchy, made now, used for one session, kept nowhere.

It issues what the proper factory issues, by the same functions, and signs with every role's key. A device that it
makes trusts its root and no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, load_der_x509_certificate

from boot.authority import key_sha256_of
from boot.element import Element
from boot.element_process import make_blank
from boot.scope import Scope
from ipc_schemas import codec, release
from ipc_schemas.element import ListFloor
from ipc_schemas.release import Envelope, Manifest, Part, Release, Role, SafetyClass, Signed
from world import power
from world.factory import bills, certificates, images, platforms
from world.factory.certificates import Authority, Validity

MAKER, FACTORY = "Development", "Desk"
HARDWARE_ID = "emulated pump 1"
_ALL_CLASSES: tuple[SafetyClass, ...] = ("A", "B", "C")
EVERYTHING = Scope(
    ("bootloader", "monitor", "design", "partition", "release"), (), _ALL_CLASSES, every_partition=True
)
_ANY_PARTITION = Scope(("partition",), (), _ALL_CLASSES, every_partition=True)
_VALID = timedelta(days=3650)
#: Of the revocation lists in the flash of a new device.
LIST_NUMBER = 2


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs manifests, and the certificates that say how far it goes, its own first."""

    key: Ed25519PrivateKey
    chain: tuple[bytes, ...]

    def sign(self, label: bytes, payload: bytes) -> Signed:
        """A signature over ``payload``."""
        return Signed(self.chain, self.key.sign(label + payload))


@dataclass(frozen=True, slots=True)
class Made:
    """One image of a release: its bytes, and what its manifest is to say."""

    role: Role
    content: bytes
    safety_class: SafetyClass = "C"
    entry: str = ""
    security_counter: int = 1
    platform: tuple[tuple[str, bytes], ...] = ()


class Texts(NamedTuple):
    """The texts of a release, without their signatures: the release's own, and each image's manifest, by name."""

    release: bytes
    manifests: dict[str, bytes]


class Factory:
    """The maker, its factory and its suppliers, in one."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        validity = Validity(now - timedelta(days=1), now + _VALID)
        self.validity = validity
        self.root = certificates.root(MAKER, generate_private_key(SECP256R1()), validity)
        self.platform = certificates.code_authority(
            self.root,
            certificates.name_of(MAKER, common="Platform"),
            generate_private_key(SECP256R1()),
            validity,
            1,
        )
        self.plant = certificates.factory_authority(
            self.root, MAKER, FACTORY, generate_private_key(SECP256R1()), validity
        )
        self.maker = self.signer("Release", EVERYTHING)
        self.service = self.signer("Service", Scope(("debug",)))
        #: A supplier of any partition whose key was taken back with the second list, the first one a new device gets.
        self.former = self.signer("Former supplier", _ANY_PARTITION)
        self.revoked: dict[str, dict[int, datetime]] = {"root": {}, "platform": {}}
        #: The latest time that this factory's authorities have signed.
        self.lists_issued = now - timedelta(hours=1)

    def signer(
        self, name: str, scope: Scope, below: Authority | None = None, validity: Validity | None = None
    ) -> Signer:
        """Somebody new who may sign as far as ``scope`` goes, certified by the platform authority or by another."""
        issuer = below or self.platform
        key = Ed25519PrivateKey.generate()
        subject = certificates.name_of(MAKER, common=name)
        leaf = certificates.code_signer(issuer, subject, key.public_key(), validity or self.validity, scope)
        return Signer(key, (_der(leaf), _der(issuer.certificate)))

    def expired_authority(self) -> Authority:
        """An authority for signers of code whose time was over a year ago."""
        long_ago = Validity(self.now - timedelta(days=800), self.now - timedelta(days=365))
        subject = certificates.name_of(MAKER, common="Platform")
        return certificates.code_authority(self.root, subject, self.platform.key, long_ago, 1)

    def supplier(self, partition: str, safety_class: SafetyClass) -> Signer:
        """A subcontractor who may sign one partition's images, of one safety class."""
        return self.signer(f"Supplier of {partition}", Scope(("partition",), (partition,), (safety_class,)))

    @staticmethod
    def stages() -> tuple[bytes, bytes]:
        """The images of ROM, which goes into the device's mask, and of the bootloader."""
        return platforms.rom(), images.stage("bootloader", "boot.bootloader")

    def write_trust(self, flash: Path, number: int = LIST_NUMBER, revoked: Iterable[Signer] = ()) -> None:
        """Root and revocation lists, where the stages look for them; ``revoked`` signers are on them, too.

        With a ``number`` below ``LIST_NUMBER`` they are those from before ``former`` was taken back.
        """
        folder = flash / "trust"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "root.der").write_bytes(_der(self.root.certificate))
        fresh_until = self.now + timedelta(days=365)
        for name, authority in (("root", self.root), ("platform", self.platform)):
            listed = dict(self.revoked[name])
            if authority is self.platform:
                known = (self.former,) if number >= LIST_NUMBER else ()
                taken_back = (*known, *revoked)
                listed |= {
                    load_der_x509_certificate(one.chain[0]).serial_number: self.now for one in taken_back
                }
            found = certificates.revocation_list(authority, listed, number, self.lists_issued, fresh_until)
            (folder / f"{name}.crl").write_bytes(found.public_bytes(Encoding.DER))

    def confirmed_lists(self) -> tuple[ListFloor, ...]:
        """The floors that a boot leaves which was confirmed with the lists of ``write_trust``."""
        authorities = (self.root, self.platform)
        return tuple(ListFloor(key_sha256_of(one.certificate), LIST_NUMBER) for one in authorities)

    def write_release(
        self,
        flash: Path,
        slot: str,
        parts: Mapping[str, Made],
        version: str = "1.0",
        device: str = "insulin_pump",
        signers: Mapping[str, Signer] | None = None,
        hardware_id: str = HARDWARE_ID,
    ) -> Release:
        """Sign and write images, manifests and the release. ``signers`` are who signs which image, else the maker."""
        shelf = flash / f"slot_{slot}"
        shelf.mkdir(parents=True, exist_ok=True)
        texts = texts_of(parts, version, device, hardware_id)
        for name, made in sorted(parts.items()):
            (shelf / f"{name}.img").write_bytes(made.content)
        for file, content in self.signed(texts, signers or {}).items():
            (shelf / file).write_bytes(content)
        return codec.Codec(Release).decode(texts.release)

    def signed(self, texts: Texts, signers: Mapping[str, Signer]) -> dict[str, bytes]:
        """The texts of a release with their signatures, each as it lies in flash, by the name of its file."""
        files = {
            f"{name}.bhm": enveloped(release.MANIFEST_LABEL, payload, signers.get(name, self.maker))
            for name, payload in texts.manifests.items()
        }
        return files | {"release.bhm": enveloped(release.RELEASE_LABEL, texts.release, self.maker)}

    def lists(self, revoked: Iterable[Certificate] = (), number: int = 1) -> tuple[bytes, ...]:
        """The revocation lists (DER) of all authorities, as the maker publishes them; ``revoked`` are devices."""
        fresh_until = self.now + timedelta(days=365)
        devices = {one.serial_number: self.now for one in revoked}
        listed = (
            (self.root, self.revoked["root"]),
            (self.platform, self.revoked["platform"]),
            (self.plant, devices),
        )
        return tuple(
            certificates.revocation_list(issuer, taken_back, number, self.now, fresh_until).public_bytes(
                Encoding.DER
            )
            for issuer, taken_back in listed
        )

    def manufacture(self, folder: Path, serial: str) -> Certificate:
        """A new device: fuses, its secret (drawn inside), its identity certified, and locked. Its IDevID."""
        make_blank(folder)
        with linked(folder) as chip:
            chip.burn_fuse("root_key_sha256", key_sha256_of(self.root.certificate))
            chip.burn_fuse("hardware_id", HARDWARE_ID.encode())
            chip.burn_fuse("serial", serial.encode())
            chip.manufacture()
            found = certificates.device_identity(self.plant, chip.certificate_request(), serial, self.now)
            chip.store_chain("idevid", (_der(found), _der(self.plant.certificate)))
            chip.advance("provisioned")
            chip.advance("operational")
        return found


@contextmanager
def linked(folder: Path) -> Iterator[Element]:
    """The secure element in ``folder``, switched on and off again."""
    with power.element(folder) as end:
        yield Element(end)


def texts_of(
    parts: Mapping[str, Made],
    version: str = "1.0",
    device: str = "insulin_pump",
    hardware_id: str = HARDWARE_ID,
) -> Texts:
    """What is signed of a release of these parts."""
    manifests = {
        name: codec.encode(manifest_of(name, made, version, hardware_id))
        for name, made in sorted(parts.items())
    }
    listed = tuple(Part(name, hashlib.sha256(payload).digest()) for name, payload in manifests.items())
    return Texts(codec.encode(Release(release.FORMAT, device, version, hardware_id, listed)), manifests)


def manifest_of(name: str, made: Made, version: str, hardware_id: str) -> Manifest:
    """What a supplier says of an image."""
    return Manifest(
        format=release.FORMAT,
        role=made.role,
        image=name,
        version=version,
        safety_class=made.safety_class,
        hardware_id=hardware_id,
        security_counter=made.security_counter,
        image_bytes=len(made.content),
        image_sha256=hashlib.sha256(made.content).digest(),
        sbom_sha256=hashlib.sha256(bill_of(name, made, version)).digest(),
        entry=made.entry,
        platform=made.platform,
    )


def bill_of(name: str, made: Made, version: str) -> bytes:
    """The bill of materials of an image, whose digest its manifest bears."""
    return bills.bill_of_materials(name, version, made.content, made.platform)


def enveloped(label: bytes, payload: bytes, *signers: Signer) -> bytes:
    """``payload`` with these signatures, as it lies in flash."""
    return codec.encode(Envelope(payload, tuple(signer.sign(label, payload) for signer in signers)))


def _der(certificate: Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def now_utc() -> datetime:
    """The host's time, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
