"""Builds the images of a design's release, signs each by whoever may, and writes one slot of a flash.

The same sources, keys and ledger give the same bytes. Whoever signs is judged here by the rules of the device, before
anything is signed; ``force`` leaves that to the device.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from boot.authority import Trust, key_sha256_of, require_scope, signer_of
from boot.refusal import Refused
from boot.scope import Scope
from ipc_schemas import codec, release
from ipc_schemas.element import Slot
from ipc_schemas.release import Envelope, Manifest, Part, Release
from monitor.design import Design
from world import devices
from world.factory import development, ledger
from world.factory import maker as makers
from world.factory.development import Signer
from world.factory.keys import KeyFiles
from world.factory.ledger import FactoryRefused, Ledger
from world.factory.maker import RELEASE, Maker

#: The label of a subcontractor's key, where it was made in the folder for convenience.
SIGNING = "signing"
BILL = ".cdx.json"
TEXT = ".bhm"
#: Below the factory's folder: of each device the texts that were signed for it last.
PUBLISHED = "published"
_WORD = re.compile(r"[ -~]{1,120}")
_ENVELOPES: codec.Codec[Envelope] = codec.Codec(Envelope)
_MANIFESTS: codec.Codec[Manifest] = codec.Codec(Manifest)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be signed. ``signers`` are names by image, ``keys`` files of private keys by name of the signer."""

    version: str = devices.VERSION
    security_counter: int = devices.SECURITY_COUNTER
    slot: Slot = "a"
    signers: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, Path] = field(default_factory=dict)
    force: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """One image of a slot. ``signer`` is its name here, ``bill_sha256`` of its bill of materials."""

    image: str
    role: str
    version: str
    security_counter: int
    sha256: bytes
    bill_sha256: bytes
    signer: str


def sign_release(maker: Maker, design: Design, flashes: Sequence[Path], order: Order) -> list[Written]:
    """Build, sign and write. Raises ``FactoryRefused``, ``boot.refusal.Refused`` and ``packing.ImageError``."""
    if _WORD.fullmatch(order.version) is None:
        raise FactoryRefused(f"{order.version!a} cannot be a version; use up to 120 plain characters")
    parts = {
        name: replace(made, security_counter=order.security_counter)
        for name, made in devices.parts_of(design, {}).items()
    }
    unknown = sorted(order.signers.keys() - parts.keys())
    if unknown:
        raise FactoryRefused(f"{unknown[0]!a}: no image of this name (there are: {', '.join(sorted(parts))})")
    files: dict[str, bytes] = {}
    listed, written = [], []
    for name, made in sorted(parts.items()):
        manifest = development.manifest_of(name, made, order.version, maker.ledger.hardware_id)
        who = order.signers.get(name) or signer_for(maker, manifest)
        payload = codec.encode(manifest)
        signer = _signer(maker, who, manifest, order)
        files[f"{name}.img"] = made.content
        files[f"{name}.bhm"] = development.enveloped(release.MANIFEST_LABEL, payload, signer)
        files[f"{name}{BILL}"] = development.bill_of(name, made, order.version)
        listed.append(Part(name, hashlib.sha256(payload).digest()))
        written.append(_written(manifest, who))
    found = Release(release.FORMAT, design.name, order.version, maker.ledger.hardware_id, tuple(listed))
    signer = _signer(maker, RELEASE, found, order)
    files["release.bhm"] = development.enveloped(release.RELEASE_LABEL, codec.encode(found), signer)
    for flash in flashes:
        write_slot(flash, order.slot, files)
        makers.write_trust(maker.ledger, flash)
        _publish(maker, flash, {name: text for name, text in files.items() if name.endswith(TEXT)})
    return written


def published_for(factory: Path, serial: str) -> Mapping[str, bytes]:
    """The signed texts of the release that was last signed for a device, by the names of their files; none if none was.

    Raises ``FactoryRefused``.
    """
    path = factory / PUBLISHED / serial
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=dict[str, bytes])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise FactoryRefused(f"{path}: cannot be read ({error}); sign a release for {serial} anew") from None


def _publish(maker: Maker, flash: Path, texts: Mapping[str, bytes]) -> None:
    """Keep what was signed for a device of this factory, so that nobody has to ask the device."""
    home = maker.folder.path.resolve()
    serial = flash.resolve().parent.name
    if serial in maker.ledger.devices and flash.resolve().parent.parent.parent == home:
        (home / PUBLISHED).mkdir(mode=0o755, exist_ok=True)
        ledger.replace_file(home / PUBLISHED / serial, msgspec.msgpack.encode(dict(texts)), mode=0o644)


def sign_image(maker: Maker, flash: Path, name: str, who: str, order: Order) -> Written:
    """Sign one image that lies in a slot by somebody else: the same manifest, so that its release still names it.

    Raises ``FactoryRefused`` and ``boot.refusal.Refused``.
    """
    path = flash / f"slot_{order.slot}" / f"{name}.bhm"
    try:
        payload = _ENVELOPES.decode(path.read_bytes()).payload
        manifest = _MANIFESTS.decode(payload)
    except OSError as error:
        raise FactoryRefused(f"{path}: {error.strerror}; name an image that sign has written there") from None
    except codec.Refused as error:
        raise FactoryRefused(f"{path}: this is no signed manifest ({error}); sign the release anew") from None
    if manifest.image != name:
        raise FactoryRefused(f"{path}: this is the manifest of {manifest.image}; sign the release anew")
    signer = _signer(maker, who, manifest, order)
    signed = development.enveloped(release.MANIFEST_LABEL, payload, signer)
    ledger.replace_file(path, signed, mode=0o644)
    known = published_for(maker.folder.path, flash.resolve().parent.name)
    if path.name in known:
        _publish(maker, flash, {**known, path.name: signed})
    return _written(manifest, who)


def signer_for(maker: Maker, manifest: Manifest) -> str:
    """Of the subcontractors who may sign this partition the one enrolled last; the maker where there is none."""
    if manifest.role == "partition":
        for name in reversed(maker.ledger.signers):
            scope = _scope_of(maker, name)
            if scope is not None and not scope.every_partition and not scope.lacks(manifest):
                return name
    return RELEASE


def _scope_of(maker: Maker, name: str) -> Scope | None:
    """How far a signer goes whom a device would believe today; None of any other."""
    try:
        return signer_of(maker.ledger.signers[name].chain, trust_of(maker.ledger), maker.now).scope
    except Refused:
        return None


def trust_of(held: Ledger) -> Trust:
    """What a device of this maker believes that has the latest lists."""
    assert held.root is not None
    assert held.platform is not None
    lists = (held.root.list_der, held.platform.list_der)
    return Trust(key_sha256_of(held.root.parsed), held.root.certificate, lists)


def _signer(maker: Maker, who: str, subject: Manifest | Release, order: Order) -> Signer:
    """The key of ``who`` with its certificates, if it may sign ``subject``."""
    held = maker.ledger
    if who not in held.signers:
        known = ", ".join(sorted(held.signers))
        raise FactoryRefused(f"{who!a}: no signer of this name is enrolled (there are: {known})")
    row = held.signers[who]
    if not order.force:
        require_scope(signer_of(row.chain, trust_of(held), maker.now), subject)
    key = _key_of(maker, who, order.keys.get(who))
    if key.public_key() != makers.certificate_of(row).public_key():
        raise FactoryRefused(
            f"{who}: this key is not the one in the certificate; name the right file with --key"
        )
    return Signer(key, row.chain)


def _key_of(maker: Maker, who: str, named: Path | None) -> Ed25519PrivateKey:
    row = maker.ledger.signers[who]
    if named is not None:
        return private_key_in(named)
    if row.key:
        return maker.files.signing_key(row.key)
    side = maker.folder.path / ledger.SUPPLIERS / who
    if not (side / f"{SIGNING}.pem").is_file():
        raise FactoryRefused(
            f"{who}: its key is not here, as it should be; name its file with --key {who!r}=FILE, or sign at its side"
        )
    return KeyFiles(side).signing_key(SIGNING)


def private_key_in(path: Path) -> Ed25519PrivateKey:
    """A subcontractor's private key, as PEM. Raises ``FactoryRefused``."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise FactoryRefused(f"{path}: {error.strerror}; name the file with the private key") from None
    except Exception:  # the library raises many things over files that hold something else
        raise FactoryRefused(
            f"{path}: this is no private key in PEM; name the file that provision key wrote"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise FactoryRefused(
            f"{path}: manifests are signed by Ed25519 keys, and this is another; name the right file"
        )
    return key


def _written(manifest: Manifest, who: str) -> Written:
    return Written(
        manifest.image,
        manifest.role,
        manifest.version,
        manifest.security_counter,
        manifest.image_sha256,
        manifest.sbom_sha256,
        who,
    )


def write_slot(flash: Path, slot: str, files: Mapping[str, bytes]) -> None:
    """The slot has these files and no others: written beside it, and put in its place when they are whole.

    A power cut leaves the old slot or the new one, or, between two names, none: ``restore_slots`` mends that.
    """
    target = flash / f"slot_{slot}"
    draft, old = ledger.draft_of(target), flash / f".slot_{slot}.old"
    flash.mkdir(mode=0o755, parents=True, exist_ok=True)
    restore_slots(flash)
    draft.mkdir(mode=0o755)
    for name, content in files.items():
        ledger.replace_file(draft / name, content, mode=0o644)
    if target.exists():
        target.rename(old)
    draft.rename(target)
    ledger.synchronise(flash)
    if old.exists():
        shutil.rmtree(old)


def restore_slots(flash: Path) -> None:
    """Each slot is the old one or the new one, whatever a power cut left."""
    for slot in ("a", "b"):
        target = flash / f"slot_{slot}"
        draft, old = ledger.draft_of(target), flash / f".slot_{slot}.old"
        if old.exists() and not target.exists():
            old.rename(target)
        for left in (draft, old):
            if left.exists():
                shutil.rmtree(left)


def is_flash(path: Path) -> bool:
    """Whether this folder is empty, or holds slots and trust and nothing else."""
    return path.is_dir() and all(
        one.name in ("trust", "slot_a", "slot_b") or one.name.startswith(".slot_") for one in path.iterdir()
    )
