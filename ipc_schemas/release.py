"""What lies in a device's flash, and what one boot stage hands the next: releases, manifests, the measured log.

All of it is canonical MessagePack (``ipc_schemas.codec``): one byte string per value, and every signature is over those
bytes with a label in front, so that what was signed as one thing cannot be shown as another.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FORMAT = 1
#: Put in front of what is signed.
MANIFEST_LABEL = b"bulkhead manifest 1\0"
RELEASE_LABEL = b"bulkhead release 1\0"
LAYER_LABEL = b"bulkhead layer 1\0"

IMAGE_BYTES_MAX = 16 << 20
MANIFEST_BYTES_MAX = 64 << 10
#: A manifest or a release with its signatures and their certificates, as it lies in flash.
ENVELOPE_BYTES_MAX = 256 << 10
COUNTER_MAX = 0xFFFF_FFFE
#: RFC 5280 (5.2.3) allows 20 octets for the number of a revocation list; the secure element counts with fewer.
LIST_NUMBER_MAX = (1 << 63) - 1

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Name = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,62}\Z", max_length=63)]
Word = Annotated[str, Meta(pattern=r"\A[ -~]{1,120}\Z", max_length=120)]
Sentence = Annotated[str, Meta(max_length=1_000)]
Certificate = Annotated[bytes, Meta(min_length=1, max_length=8_192)]
SafetyClass = Literal["A", "B", "C"]
Role = Literal["bootloader", "monitor", "design", "partition"]
#: Whose manifest is the release itself, in a slot of the flash; so no image has that name.
RELEASE = "release"
#: What no partition is called: its image would lie where one of the device's own lies.
NAMES_TAKEN = frozenset({"bootloader", "monitor", "design", RELEASE})


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all shapes here: unknown fields are refused, values never change."""


class Manifest(Shape, frozen=True):
    """What a supplier says of one image.

    ``image`` is the image's name, a partition's for role ``partition``. ``security_counter`` only grows; the secure
    element keeps a floor below which nothing starts. ``entry`` is where a partition's code begins (``module:Class``),
    empty for other roles. ``platform`` pins what the image relies on, each part by its digest: ``python`` the
    interpreter and its standard library, others installed packages.
    """

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    role: Role
    image: Name
    version: Word
    safety_class: SafetyClass
    hardware_id: Word
    security_counter: Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
    image_bytes: Annotated[int, Meta(ge=1, le=IMAGE_BYTES_MAX)]
    image_sha256: Digest
    sbom_sha256: Digest
    entry: Annotated[str, Meta(max_length=200)] = ""
    platform: Annotated[tuple[tuple[Word, Digest], ...], Meta(max_length=64)] = ()


class Signed(Shape, frozen=True):
    """A signature of ``payload`` by the Ed25519 key in the first certificate of ``chain`` (DER), whose issuer is next.

    The chain ends below the root, which is not in it.
    """

    chain: Annotated[tuple[Certificate, ...], Meta(min_length=1, max_length=6)]
    signature: Signature


class Envelope(Shape, frozen=True):
    """A manifest or a release, still encoded, with its signatures. All of them have to be good."""

    payload: Annotated[bytes, Meta(min_length=1, max_length=MANIFEST_BYTES_MAX)]
    signatures: Annotated[tuple[Signed, ...], Meta(max_length=4)]


class Part(Shape, frozen=True):
    """One image of a release, by the SHA-256 of its signed manifest's payload."""

    image: Name
    manifest_sha256: Digest


class Release(Shape, frozen=True):
    """All images that belong together. Parts of two releases never run side by side."""

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    device: Name
    version: Word
    hardware_id: Word
    parts: Annotated[tuple[Part, ...], Meta(min_length=1, max_length=80)]


class Measurement(Shape, frozen=True):
    """One line of the measured-boot log: which stage measured what before it started or used it.

    ``digest`` is the image's, or the platform part's; ``signer`` who vouched for it, ``chain`` the SHA-256 over the
    log's value before this line and this line without it.
    """

    stage: Name
    kind: Literal["release", "image", "platform"]
    name: Word
    version: Annotated[str, Meta(max_length=120)]
    digest: Digest
    signer: Annotated[str, Meta(max_length=200)]
    chain: Digest


class Layer(Shape, frozen=True):
    """What one layer says of the next: its public key (Ed25519), and what it measured. Signed by that layer.

    After DICE (TCG, Layering Architecture 1.0): the key follows from the secret of the layer that signs and from the
    measurement, so that a changed stage changes its own key and every one after it.
    """

    layer: Name
    measurement: Digest
    public_key: Digest
    signature: Annotated[bytes, Meta(max_length=64)] = b""


class SealedSettings(Shape, frozen=True):
    """One partition's settings as they lie in flash: which release sealed them, by the value of its measurement
    register, and the box (``boot.sealing``).
    """

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    register: Digest
    box: Annotated[bytes, Meta(min_length=1, max_length=64 << 10)]


class Refusal(Shape, frozen=True):
    """Why a stage does not start the next one: the rule that was broken, by whom, and what to do."""

    stage: Name
    image: Annotated[str, Meta(max_length=63)]
    signer: Annotated[str, Meta(max_length=200)]
    rule: Name
    sentence: Sentence
    remedy: Sentence


class Handover(Shape, frozen=True):
    """What a stage is started with, in a sealed memory file: by the power supply (ROM), or by the stage before it.

    ``flash`` is the folder of slots and trust; ``packages`` the folder of installed packages. ``element`` and
    ``control`` are descriptors: the socket to the secure element, and the one to whoever switched the device on.
    ``command`` is what the monitor is to be. ``permission`` is what a service connector gave ROM: an encoded
    ``element.Permission`` to debug the device in this boot, empty for none. ``without`` are the walls that an
    experiment leaves out. The rest is filled in on the way: the slot, the measured log, ``states`` (what the file
    system said of each part of the platform when it was measured), the layers, and the secret of the stage that is
    started.
    """

    flash: Annotated[str, Meta(max_length=4_096)]
    packages: Annotated[str, Meta(max_length=4_096)]
    element: Annotated[int, Meta(ge=3, le=1_023)]
    control: Annotated[int, Meta(ge=3, le=1_023)]
    command: Name
    permission: Annotated[bytes, Meta(max_length=64 << 10)] = b""
    without: Annotated[tuple[Name, ...], Meta(max_length=128)] = ()
    slot: Annotated[str, Meta(max_length=1)] = ""
    log: Annotated[tuple[Measurement, ...], Meta(max_length=512)] = ()
    states: Annotated[tuple[tuple[Word, Digest], ...], Meta(max_length=64)] = ()
    layers: Annotated[tuple[Layer, ...], Meta(max_length=8)] = ()
    secret: Annotated[bytes, Meta(max_length=32)] = b""
