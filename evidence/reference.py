"""The reference measurements of a release: what an attestation of a device that runs it has to say.

Made from nothing but the signed texts of the release, so that whoever has those can make it again and compare. A
factory publishes it as one file of canonical MessagePack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from msgspec import Meta

from boot import layers, measured
from boot.authority import Signer, Trust, require_scope, signer_of
from boot.refusal import Refused
from ipc_schemas import codec, release
from ipc_schemas.release import Digest, Envelope, Manifest, Name, Release, Shape, Word

REFERENCE_BYTES_MAX = 256 << 10
RELEASE_FILE = "release.bhm"
FILES_MAX = 81


class ReferenceFlawed(ValueError):
    """No reference can be made or read; the sentence says why."""


class Expected(Shape, frozen=True):
    """One line that the measured log must have."""

    stage: Name
    kind: measured.Kind
    name: Word
    digest: Digest


class ExpectedLayer(Shape, frozen=True):
    """One layer: the stage that measures it, its name, its measurement."""

    stage: Name
    layer: Name
    measurement: Digest


class Reference(Shape, frozen=True):
    """What a device says of itself when it runs this release. Lines come in the order of the boot."""

    format: Annotated[int, Meta(ge=release.FORMAT, le=release.FORMAT)]
    device: Name
    version: Word
    hardware_id: Word
    layers: Annotated[tuple[ExpectedLayer, ...], Meta(min_length=1, max_length=8)]
    lines: Annotated[tuple[Expected, ...], Meta(min_length=1, max_length=measured.LINES_MAX)]


_REFERENCE = codec.Codec(Reference)


def of_signed(files: Mapping[str, bytes], trust: Trust, now: datetime) -> Reference:
    """The reference of a release, from its signed texts: ``release.bhm`` and ``NAME.bhm`` of each image.

    Each text is judged as a boot stage judges it (``boot.admission``): all signatures good, each signer's certificates
    leading to the root, none revoked, none beyond its scope. Raises ``ReferenceFlawed``.
    """
    manifests = {name: content for name, content in files.items() if name != RELEASE_FILE}
    if RELEASE_FILE not in files or len(files) > FILES_MAX:
        raise ReferenceFlawed(f"{len(files)} files without {RELEASE_FILE}, or too many, are no release")
    payload, signers = _opened(RELEASE_FILE, files[RELEASE_FILE], release.RELEASE_LABEL, trust, now)
    try:
        for signer in signers:
            require_scope(signer, codec.Codec(Release).decode(payload))
        payloads = []
        for name, content in sorted(manifests.items()):
            text, signers = _opened(name, content, release.MANIFEST_LABEL, trust, now)
            for signer in signers:
                require_scope(signer, codec.Codec(Manifest).decode(text))
            payloads.append(text)
    except codec.Refused as refused:
        raise ReferenceFlawed(f"the release or a manifest cannot be read: {refused}") from None
    except Refused as refused:
        raise ReferenceFlawed(refused.sentence) from None
    return of_release(payload, payloads)


def _opened(
    name: str, content: bytes, label: bytes, trust: Trust, now: datetime
) -> tuple[bytes, list[Signer]]:
    """What an envelope holds, and all who have signed it. Raises ``ReferenceFlawed``."""
    try:
        envelope = codec.Codec(Envelope).decode(content)
        signers = []
        for one in envelope.signatures:
            signer = signer_of(one.chain, trust, now)
            signer.public_key.verify(one.signature, label + envelope.payload)
            signers.append(signer)
    except codec.Refused as refused:
        raise ReferenceFlawed(f"{name} cannot be read: {refused}") from None
    except Refused as refused:
        raise ReferenceFlawed(f"{name}: {refused.sentence}") from None
    except InvalidSignature:
        raise ReferenceFlawed(
            f"the signature of {name} is not by the key that its certificate names"
        ) from None
    if not signers:
        raise ReferenceFlawed(f"{name} is not signed")
    return envelope.payload, signers


def register_of(reference: Reference) -> bytes:
    """What a device's measurement register reads when it runs this release: what its data is sealed to."""
    own = next(line.digest for line in reference.lines if line.kind == "release")
    first, *later = (layer.measurement for layer in reference.layers)
    return layers.register_of([first, *(measured.register_measurement(each, own) for each in later)])


def of_release(payload: bytes, manifests: Iterable[bytes]) -> Reference:
    """The reference of a release, from the payloads of its envelope and its manifests'.

    Raises ``ReferenceFlawed`` when a manifest is missing, foreign, unreadable, or contradicts another.
    """
    try:
        whole = codec.Codec(Release).decode(payload)
        by_digest = {hashlib.sha256(m).digest(): codec.Codec(Manifest).decode(m) for m in manifests}
    except codec.Refused as refused:
        raise ReferenceFlawed(f"the release or a manifest cannot be read: {refused}") from None
    in_order = sorted(_parts(whole, by_digest), key=lambda m: list(measured.MEASURED_BY).index(m.role))
    in_layers = tuple(
        ExpectedLayer(measured.MEASURED_BY[m.role], m.image, measured.expected_measurement(m))
        for m in in_order
        if m.role in measured.LAYERS
    )
    if [m.role for m in in_order if m.role in measured.LAYERS] != list(measured.LAYERS):
        raise ReferenceFlawed(f"release {whole.version} has not one image each of {measured.LAYERS}")
    own = Expected("rom", "release", whole.device, hashlib.sha256(payload).digest())
    lines = _agreed([own, *(line for m in in_order for line in _lines(m))])
    return Reference(release.FORMAT, whole.device, whole.version, whole.hardware_id, in_layers, lines)


def _parts(whole: Release, by_digest: dict[bytes, Manifest]) -> list[Manifest]:
    """The manifests of the release's parts, in its order."""
    found = []
    for part in whole.parts:
        manifest = by_digest.pop(part.manifest_sha256, None)
        if manifest is None or manifest.image != part.image:
            raise ReferenceFlawed(f"release {whole.version}: the manifest of {part.image} is not there")
        found.append(manifest)
    if by_digest:
        names = ", ".join(sorted(m.image for m in by_digest.values()))
        raise ReferenceFlawed(f"release {whole.version}: manifests that are not part of it: {names}")
    return found


def _lines(manifest: Manifest) -> list[Expected]:
    stage = measured.MEASURED_BY[manifest.role]
    parts = [Expected(stage, "platform", name, digest) for name, digest in manifest.platform]
    return [*parts, Expected(stage, "image", manifest.image, manifest.image_sha256)]


def _agreed(lines: list[Expected]) -> tuple[Expected, ...]:
    """Each once. Two manifests may rely on one part of the platform, but not on two versions of it.

    The first stage that needs a part measures it; those after it go by what it found.
    """
    by_place: dict[tuple[str, str], Expected] = {}
    for line in lines:
        known = by_place.setdefault((line.kind, line.name), line)
        is_shared = line.kind == "platform" and known.digest == line.digest
        if known != line and not is_shared:
            raise ReferenceFlawed(f"two manifests disagree about {line.kind} {line.name}")
    return tuple(by_place.values())


def as_file(reference: Reference) -> bytes:
    """The file that a factory publishes."""
    return codec.encode(reference)


def from_file(content: bytes) -> Reference:
    """The reference in a published file. Raises ``ReferenceFlawed``."""
    if len(content) > REFERENCE_BYTES_MAX:
        raise ReferenceFlawed(f"{len(content)} bytes are no reference: at most {REFERENCE_BYTES_MAX}")
    try:
        return _REFERENCE.decode(content)
    except codec.Refused as refused:
        raise ReferenceFlawed(f"this is no reference: {refused}") from None
