"""What a stage does before it lets anything run: read once, then judge only the bytes that were read.

``Shelf`` is one slot of the flash. ``admit_release`` comes first, then ``admit`` for each image. Rules are asked in
this order, and the first that is broken refuses: ``form``, ``signature``, ``chain``, ``revocation``, ``scope``,
``release``, ``hardware``, ``floor``, ``digest``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidSignature

from boot import image, measured
from boot.authority import Signer, Trust, names_of, require_scope, signer_of
from boot.image import Sealed
from boot.refusal import Refused
from ipc_schemas import codec, release
from ipc_schemas.release import Envelope, Manifest, Measurement, Release, Role

M = TypeVar("M")
RELEASE_FILE = f"{release.RELEASE}.bhm"
_ENVELOPES: codec.Codec[Envelope] = codec.Codec(Envelope)
_MANIFESTS: codec.Codec[Manifest] = codec.Codec(Manifest)
_RELEASES: codec.Codec[Release] = codec.Codec(Release)
_INSTALL_ANEW = "install the release anew, as its maker has built it"


@dataclass(frozen=True, slots=True)
class Rules:
    """By what a stage judges: trust, the device's own facts out of the secure element, the time, what is left out."""

    trust: Trust
    hardware_id: str
    now: datetime
    floors: Mapping[str, int] = field(default_factory=dict)
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Admitted:
    """An image that may run: its manifest, all who signed it, and its sealed bytes, to be closed after use."""

    manifest: Manifest
    signers: tuple[Signer, ...]
    file: Sealed


def admit_release(shelf: Path, rules: Rules) -> tuple[Release, tuple[Signer, ...]]:
    """The release in a slot, and who signed it. Raises ``Refused``."""
    try:
        if not shelf.is_dir():
            raise Refused("form", f"{shelf.name} is empty", "install a release in it")
        payload, signers = _opened(shelf / RELEASE_FILE, release.RELEASE_LABEL, rules)
        found = _decoded(_RELEASES, payload, "the release")
        for signer in signers:
            if "scope" not in rules.without:
                require_scope(signer, found)
        _require_hardware(found.hardware_id, rules)
        names = [part.image for part in found.parts]
        if len(set(names)) != len(names):
            raise Refused("form", "the release names an image twice", _INSTALL_ANEW)
        if release.RELEASE in names:
            said = f"the release names an image {release.RELEASE}, whose manifest would be the release itself"
            raise Refused("form", said, "give the partition another name")
    except Refused as refused:
        refused.image = refused.image or "release"
        raise
    return found, signers


def require_logged(found: Release, log: Sequence[Measurement]) -> None:
    """The release in flash is still the one that ROM measured, whatever became of the flash. Raises ``Refused``."""
    said = next((line.digest for line in log if line.kind == "release"), b"")
    if said != hashlib.sha256(codec.encode(found)).digest():
        raise Refused(
            "release",
            f"the release {found.version} in flash is not the one that ROM measured",
            "start the device again",
            image="release",
        )


def admit(shelf: Path, name: str, role: Role, belongs_to: Release, rules: Rules) -> Admitted:
    """The image ``name`` of a slot, if it may run as ``role`` within this release. Raises ``Refused``."""
    try:
        payload, signers = _opened(shelf / f"{name}.bhm", release.MANIFEST_LABEL, rules)
        manifest = _decoded(_MANIFESTS, payload, "the manifest")
        _judge(manifest, payload, name, role, signers, belongs_to, rules)
        file = image.taken(shelf / f"{name}.img", release.IMAGE_BYTES_MAX)
    except Refused as refused:
        refused.image = name
        raise
    if "digest" not in rules.without and not is_as_said(manifest, file.size_bytes, file.sha256):
        file.close()
        raise Refused(
            "digest",
            f"{name}.img has {file.size_bytes} bytes and the digest {file.sha256.hex()[:16]}, its manifest says "
            f"{manifest.image_bytes} and {manifest.image_sha256.hex()[:16]}",
            "install the release anew",
            image=name,
            signer=signers[0].name if signers else "",
        )
    return Admitted(manifest, signers, file)


def logged(log: measured.Log, stage: str, admitted: Admitted) -> measured.Log:
    """The log with the image that ``stage`` has admitted, measured as it is and not as its manifest says."""
    manifest, signers = admitted.manifest, names_of(admitted.signers)
    return log.appended(stage, "image", manifest.image, manifest.version, admitted.file.sha256, signers)


def is_as_said(manifest: Manifest, size_bytes: int, sha256: bytes) -> bool:
    """Rule ``digest``: whether an image of this length and digest is the one of the manifest."""
    return (size_bytes, sha256) == (manifest.image_bytes, manifest.image_sha256)


def _judge(
    manifest: Manifest,
    payload: bytes,
    name: str,
    role: Role,
    signers: tuple[Signer, ...],
    belongs_to: Release,
    rules: Rules,
) -> None:
    """All that can be said before the image itself is read."""
    if (manifest.image, manifest.role) != (name, role):
        said = f"the manifest is for the {manifest.role} {manifest.image}, where the {role} {name} is wanted"
        raise Refused("form", said, _INSTALL_ANEW)
    for signer in signers:
        if "scope" not in rules.without:
            require_scope(signer, manifest)
    listed = {part.image: part.manifest_sha256 for part in belongs_to.parts}
    if "release" not in rules.without and listed.get(name) != hashlib.sha256(payload).digest():
        raise Refused(
            "release",
            f"{name} {manifest.version} is not the one that the release {belongs_to.version} names",
            "install the images of one release together",
        )
    _require_hardware(manifest.hardware_id, rules)
    floor = rules.floors.get(name, 0)
    if "floor" not in rules.without and manifest.security_counter < floor:
        raise Refused(
            "floor",
            f"{name} {manifest.version} has the security counter {manifest.security_counter}, and the floor is {floor}",
            f"install a release whose {name} has {floor} or more",
        )


def _opened(path: Path, label: bytes, rules: Rules) -> tuple[bytes, tuple[Signer, ...]]:
    """What an envelope holds, and who has signed it: every signature in it has to be good. Raises ``Refused``.

    Without the wall ``signature`` they need not be, but whoever is named there is still asked for the rest.
    """
    file = image.taken(path, release.ENVELOPE_BYTES_MAX)
    try:
        envelope = _decoded(_ENVELOPES, file.content(), path.name)
    finally:
        file.close()
    asks = "signature" not in rules.without
    if asks and not envelope.signatures:
        raise Refused("signature", f"{path.name} is not signed", "install it anew, signed by whoever may")
    signers = []
    for one in envelope.signatures:
        signer = signer_of(one.chain, rules.trust, rules.now, rules.without)
        try:
            if asks:
                signer.public_key.verify(one.signature, label + envelope.payload)
        except InvalidSignature:
            said = f"the signature of {path.name} is not by the key that its certificate names"
            raise Refused(
                "signature", said, "install it anew, as it was signed", signer=signer.name
            ) from None
        signers.append(signer)
    return envelope.payload, tuple(signers)


def _require_hardware(named: str, rules: Rules) -> None:
    if "hardware" not in rules.without and named != rules.hardware_id:
        raise Refused(
            "hardware",
            f"it is for the hardware {named!a}, and this is {rules.hardware_id!a}",
            "install the release for this hardware",
        )


def _decoded(reader: codec.Codec[M], content: bytes, what: str) -> M:
    try:
        return reader.decode(content)
    except codec.Refused as error:
        raise Refused("form", f"{what} cannot be read ({error})", _INSTALL_ANEW) from None
