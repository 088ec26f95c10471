"""A device that boots on paper: releases, layers with real keys, the measured log, and stages that lie."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from boot import attestation, measured
from evidence import reference
from evidence.appraisal import Appraisal, Verifier, appraise
from evidence.challenges import Challenges
from ipc_schemas import codec
from ipc_schemas.release import FORMAT, LAYER_LABEL, Layer, Manifest, Part, Release, Role

HARDWARE = "pump-board-3"
NOW_S = 1_700_000_000
ROLES: dict[str, Role] = {
    "bootloader": "bootloader",
    "monitor": "monitor",
    "design": "design",
    "therapy": "partition",
    "transfer": "partition",
}
PLATFORM = ("msgspec", "python")


def digest(text: str) -> bytes:
    """A digest to tell apart from others."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True)
class Published:
    """A release: its payload, its manifests, and the digest of everything in it, by name.

    ``boots_on`` are the parts of the platform that the bootloader's manifest pins, so that ROM measures them.
    """

    version: str
    payload: bytes
    manifests: tuple[bytes, ...]
    digests: Mapping[str, bytes]
    boots_on: tuple[str, ...] = ()

    @property
    def reference(self) -> reference.Reference:
        return reference.of_release(self.payload, self.manifests)


def published(version: str = "1.2.0", boots_on: tuple[str, ...] = (), **changed: str) -> Published:
    """A release whose images are alike in every version, but for those in ``changed``."""
    digests = {name: digest(changed.get(name, name)) for name in (*ROLES, *PLATFORM)}
    pinned = {"bootloader": boots_on, "monitor": PLATFORM}
    manifests = [
        Manifest(
            format=FORMAT,
            role=role,
            image=name,
            version=version,
            safety_class="C",
            hardware_id=HARDWARE,
            security_counter=1,
            image_bytes=1,
            image_sha256=digests[name],
            sbom_sha256=digest("sbom"),
            platform=tuple((part, digests[part]) for part in pinned.get(name, ())),
        )
        for name, role in ROLES.items()
    ]
    payloads = tuple(codec.encode(manifest) for manifest in manifests)
    parts = tuple(Part(m.image, hashlib.sha256(p).digest()) for m, p in zip(manifests, payloads, strict=True))
    whole = Release(FORMAT, "insulin_pump", version, HARDWARE, parts)
    return Published(version, codec.encode(whole), payloads, digests, boots_on)


@dataclass(frozen=True)
class Booted:
    """What the monitor holds after a boot: the last layer's key, the log, the layers."""

    key: Ed25519PrivateKey
    log: measured.Log
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Bench:
    """One device with an identity, and a verifier that knows it."""

    serial: str = "pump-0001"
    secret: bytes = digest("device secret")
    identity: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    challenges: Challenges = field(default_factory=Challenges)

    def verifier(self, expected: Published | None, *older: Published) -> Verifier:
        der = self.identity.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        known = tuple(release.reference for release in older)
        return Verifier(der, self.serial, HARDWARE, expected.reference if expected else None, known)

    def boot(self, release: Published, really: Mapping[str, bytes] | None = None, liar: str = "") -> Booted:
        """Boot ``release``, of which ``really`` runs with other digests.

        From the stage ``liar`` on, logs (also those written before) and layers tell what the release would measure.
        """
        runs = {**release.digests, **(really or {})}
        lied = release.digests if liar else runs
        parts = [(part, runs[part]) for part in release.boots_on]
        first = measured.layer_measurement(runs["bootloader"], parts)
        secret = hashlib.sha256(self.secret + first).digest()
        layers = [self.signed(layer("bootloader", first, key_of(secret)))]
        told = lied if liar == "bootloader" else runs
        second = measured.layer_measurement(told["monitor"], [(part, told[part]) for part in PLATFORM])
        following = hashlib.sha256(secret + second).digest()
        bare = layer("monitor", second, key_of(following))
        layers.append(signed_by(key_of(secret), bare))
        return Booted(key_of(following), log_of(release, lied), tuple(layers))

    def signed(self, bare: Layer) -> Layer:
        """The first layer, signed by the device's identity."""
        r, s = decode_dss_signature(self.identity.sign(message_of(bare), ec.ECDSA(SHA256())))
        return msgspec.structs.replace(bare, signature=r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def about(self, release: Published, **other: object) -> attestation.Device:
        device = attestation.Device(
            self.serial, HARDWARE, "insulin_pump", release.version, "operational", is_debug=False
        )
        return msgspec.structs.replace(device, **other)

    def nonce(self) -> bytes:
        return self.challenges.fresh(self.serial, NOW_S)

    def appraised(self, booted: Booted, running: Published, verifier: Verifier, **other: object) -> Appraisal:
        """Ask, answer and appraise; ``other`` is what the device says of itself."""
        nonce = self.nonce()
        answer = token(booted, nonce, self.about(running, **other))
        return appraise(answer, nonce, self.challenges, verifier, NOW_S)


def token(booted: Booted, nonce: bytes, device: attestation.Device) -> bytes:
    """The attestation after that boot."""
    return attestation.token(booted.key, nonce, booted.log, booted.layers, device, NOW_S)


def key_of(secret: bytes) -> Ed25519PrivateKey:
    """The key that follows from a layer's secret."""
    return Ed25519PrivateKey.from_private_bytes(secret)


def layer(name: str, measurement: bytes, key: Ed25519PrivateKey) -> Layer:
    """A layer that nobody has signed."""
    return Layer(name, measurement, key.public_key().public_bytes_raw())


def message_of(bare: Layer) -> bytes:
    """What is signed of a layer."""
    return LAYER_LABEL + codec.encode(bare)


def signed_by(key: Ed25519PrivateKey, bare: Layer) -> Layer:
    """A later layer, signed by the one before."""
    return msgspec.structs.replace(bare, signature=key.sign(message_of(bare)))


def log_of(release: Published, told: Mapping[str, bytes]) -> measured.Log:
    """The log of a boot in which each thing had the digest in ``told``."""
    log = measured.Log()
    whole = hashlib.sha256(release.payload).digest()
    for part in release.boots_on:
        log = log.appended("rom", "platform", part, "", told[part], "")
    log = log.appended("rom", "release", "insulin_pump", release.version, whole, "maker")
    log = log.appended("rom", "image", "bootloader", release.version, told["bootloader"], "maker")
    for part in PLATFORM:
        if part not in release.boots_on:
            log = log.appended("bootloader", "platform", part, "", told[part], "maker")
    log = log.appended("bootloader", "image", "monitor", release.version, told["monitor"], "maker")
    for name in ("design", "therapy", "transfer"):
        log = log.appended("monitor", "image", name, release.version, told[name], "maker")
    return log
