"""What is said to the secure element and what it answers; what its cells hold; the signed permission to debug it.

A request and its answer are one message each, canonical MessagePack of at most ``MESSAGE_BYTES_MAX``. Each request
has exactly one row in the element's table (``boot.chip.ROWS``), which says when in a boot and when in the device's
life it is open.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ipc_schemas.release import (
    COUNTER_MAX,
    FORMAT,
    LIST_NUMBER_MAX,
    Certificate,
    Digest,
    Layer,
    Name,
    Sentence,
    Shape,
    Signature,
)

MESSAGE_BYTES_MAX = 64 << 10
UNLOCK_BYTES_MAX = 512
#: Put in front of what is signed.
UNLOCK_LABEL = b"bulkhead debug unlock 1\0"
#: How often a slot may be started without being confirmed.
ATTEMPTS_MAX = 5
FLOORS_MAX = 80
#: Authorities under whose revocation lists there is a floor: twice as many as one boot may have lists of.
LIST_FLOORS_MAX = 32
REFUSALS_KEPT_MAX = 16
TIME_S_MAX = (1 << 40) - 1

#: The device's life, one way only.
Lifecycle = Literal["blank", "manufactured", "provisioned", "operational", "decommissioned"]
LIFECYCLES: tuple[Lifecycle, ...] = ("blank", "manufactured", "provisioned", "operational", "decommissioned")
#: One boot, one way only: who speaks to the element, and at last whether what runs has proven itself.
Phase = Literal["rom", "bootloader", "monitor", "confirmed"]
PHASES: tuple[Phase, ...] = ("rom", "bootloader", "monitor", "confirmed")

Fuse = Literal["root_key_sha256", "hardware_id", "serial"]
FuseValue = Annotated[bytes, Meta(min_length=1, max_length=120)]
#: A fuse's value, or nothing: not burnt yet.
Burnt = Annotated[bytes, Meta(max_length=120)]
#: A digest, or nothing.
DigestOrNone = Annotated[bytes, Meta(max_length=32)]
Slot = Literal["a", "b"]
Issuer = Literal["idevid", "ldevid"]
StoredCertificate = Annotated[bytes, Meta(min_length=1, max_length=4_096)]
Chain = Annotated[tuple[StoredCertificate, ...], Meta(max_length=6)]
Counter = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
Attempts = Annotated[int, Meta(ge=0, le=ATTEMPTS_MAX)]
Seconds = Annotated[int, Meta(ge=0, le=TIME_S_MAX)]
Format = Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
#: Of ``State``. The first had no floors of lists.
STATE_FORMAT = 2


class Floor(Shape, frozen=True):
    """No image of this name starts whose security counter is below ``counter``."""

    image: Name
    counter: Counter


Floors = Annotated[tuple[Floor, ...], Meta(max_length=FLOORS_MAX)]


class ListFloor(Shape, frozen=True):
    """No revocation list of this authority counts whose number (RFC 5280, 5.2.3) is below ``number``.

    The authority is named by the SHA-256 of its key's SubjectPublicKeyInfo, so that a certificate that was renewed
    keeps its floor, and a new key begins with none.
    """

    authority_key_sha256: Digest
    number: Annotated[int, Meta(ge=0, le=LIST_NUMBER_MAX)]


ListFloors = Annotated[tuple[ListFloor, ...], Meta(max_length=LIST_FLOORS_MAX)]


class StateBefore(Shape, frozen=True):
    """The cells of an element that was made before there were floors of lists. Read once, then kept as ``State``.

    All that the element keeps without power, but for the device secret, of which it keeps the digest.

    ``attempts`` are those left, of slot ``a`` and of slot ``b``. What release ``predecessor`` sealed may be opened by
    release ``successor``, both as values of the measurement register.
    """

    format: Format = FORMAT
    lifecycle: Lifecycle = "blank"
    root_key_sha256: Burnt = b""
    hardware_id: Burnt = b""
    serial: Burnt = b""
    secret_sha256: DigestOrNone = b""
    idevid: Chain = ()
    ldevid: Chain = ()
    floors: Floors = ()
    time_floor_s: Seconds = 0
    slot_active: Slot = "a"
    attempts: tuple[Attempts, Attempts] = (ATTEMPTS_MAX, ATTEMPTS_MAX)
    predecessor: DigestOrNone = b""
    successor: DigestOrNone = b""


class State(StateBefore, frozen=True):
    """The same and, for each authority, the floor under the numbers of its revocation lists."""

    format: Annotated[int, Meta(ge=STATE_FORMAT, le=STATE_FORMAT)] = STATE_FORMAT
    list_floors: ListFloors = ()


class DebugUnlock(Shape, frozen=True):
    """Debugging is allowed on one device, in the one boot that drew ``nonce``, until ``not_after_s`` (since 1970)."""

    format: Format
    serial: FuseValue
    nonce: Digest
    not_after_s: Seconds


class SignedUnlock(Shape, frozen=True):
    """A ``DebugUnlock``, still encoded, and an Ed25519 signature over ``UNLOCK_LABEL`` and it."""

    payload: Annotated[bytes, Meta(min_length=1, max_length=UNLOCK_BYTES_MAX)]
    signature: Signature


class Permission(Shape, frozen=True):
    """A signed debug unlock as it is brought to a device, and the certificates (DER) of who signed it."""

    unlock: SignedUnlock
    chain: Annotated[tuple[Certificate, ...], Meta(min_length=1, max_length=6)]


class Command(Shape, frozen=True, tag_field="command", tag=str.lower):
    """Base of all requests."""


class ReadFacts(Command, frozen=True):
    """Answered by ``Facts``."""


class ReadRefusals(Command, frozen=True):
    """Answered by ``Refusals``."""


class BurnFuse(Command, frozen=True):
    """Write one fuse, for good."""

    fuse: Fuse
    value: FuseValue


class Manufacture(Command, frozen=True):
    """Draw the device secret and become ``manufactured``. All fuses have to be burnt."""


class RequestCertificate(Command, frozen=True):
    """Answered by ``Der``: a certificate request (PKCS#10) for the identity key, which signs it."""


class StoreChain(Command, frozen=True):
    """Keep certificates, the device's own first: ``idevid`` the manufacturer's, ``ldevid`` the owner's."""

    issuer: Issuer
    chain: Chain


class ReadChain(Command, frozen=True):
    """Answered by ``Certificates``."""

    issuer: Issuer


class AdvanceLifecycle(Command, frozen=True):
    """Take the next step of the device's life, or the last one. The last one wipes the device secret."""

    to: Lifecycle


class ReadIdentityKey(Command, frozen=True):
    """Answered by ``Der``: the SubjectPublicKeyInfo of the device's identity (P-256)."""


class SpendAttempt(Command, frozen=True):
    """This boot tries ``slot``; one attempt less is left for it, until it is confirmed."""

    slot: Slot


class OpenDebug(Command, frozen=True):
    """Open the debug commands in this boot. The caller has validated ``key`` (Ed25519) up to the root in the fuses."""

    unlock: SignedUnlock
    key: Digest
    now_s: Seconds


class DeriveLayer(Command, frozen=True):
    """Answered by ``Derived``: the secret of the next layer, once in a boot."""

    layer: Name
    measurement: Digest


class MeasureNext(Command, frozen=True):
    """What the bootloader is about to run. Once in a boot; the register holds it from then on."""

    measurement: Digest


class Confirm(Command, frozen=True):
    """What runs has proven itself: its slot becomes the active one and has all its attempts again."""


class RaiseFloor(Command, frozen=True):
    """From now on, no image of this name below this counter."""

    image: Name
    counter: Counter


class RaiseListFloors(Command, frozen=True):
    """From now on, no list of these authorities below these numbers. All of them, or none."""

    floors: Annotated[tuple[ListFloor, ...], Meta(min_length=1, max_length=LIST_FLOORS_MAX)]


class RaiseTimeFloor(Command, frozen=True):
    """It is no earlier than this (seconds since 1970)."""

    time_s: Seconds


class ArmSlot(Command, frozen=True):
    """The other slot has been written anew: it is tried at the next boot, with all its attempts."""

    slot: Slot


class AuthoriseSuccessor(Command, frozen=True):
    """The release whose register will read ``register`` may open what the running release has sealed."""

    register: Digest


class ReadSealingSecret(Command, frozen=True):
    """Answered by ``Secret``: under which the release of this register seals."""

    register: Digest


class ReadState(Command, frozen=True):
    """For debugging. Answered by ``Dump``."""


class RestoreAttempts(Command, frozen=True):
    """For debugging: a slot has all its attempts again."""

    slot: Slot


Request = (
    ReadFacts
    | ReadRefusals
    | BurnFuse
    | Manufacture
    | RequestCertificate
    | StoreChain
    | ReadChain
    | AdvanceLifecycle
    | ReadIdentityKey
    | SpendAttempt
    | OpenDebug
    | DeriveLayer
    | MeasureNext
    | Confirm
    | RaiseFloor
    | RaiseListFloors
    | RaiseTimeFloor
    | ArmSlot
    | AuthoriseSuccessor
    | ReadSealingSecret
    | ReadState
    | RestoreAttempts
)


class Reply(Shape, frozen=True, tag_field="answer", tag=str.lower):
    """Base of all answers."""


class Done(Reply, frozen=True):
    """What was asked has happened, and a power cut cannot undo it."""


class Denied(Reply, frozen=True):
    """It was not done, and nothing has changed."""

    sentence: Sentence
    remedy: Sentence


class Facts(Reply, frozen=True):
    """What a boot stage needs to know. ``nonce`` was drawn for this boot and is used up by a debug unlock.

    ``register`` holds what was measured in this boot, nothing before the first measurement.
    """

    lifecycle: Lifecycle
    phase: Phase
    root_key_sha256: Burnt
    hardware_id: Burnt
    serial: Burnt
    nonce: Digest
    register: DigestOrNone
    is_debug: bool
    floors: Floors
    list_floors: ListFloors
    time_floor_s: Seconds
    slot_active: Slot
    attempts: tuple[Attempts, Attempts]


class Refusals(Reply, frozen=True):
    """How many requests were refused in this boot, and the first of them."""

    count: Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
    first: Annotated[tuple[Sentence, ...], Meta(max_length=REFUSALS_KEPT_MAX)]


class Der(Reply, frozen=True):
    """A public key or a certificate request."""

    der: Annotated[bytes, Meta(min_length=1, max_length=4_096)]


class Certificates(Reply, frozen=True):
    """What was stored; empty if nothing was."""

    chain: Chain


class Derived(Reply, frozen=True):
    """The next layer's secret, and the layer as the device's identity signs it."""

    secret: Digest
    layer: Layer


class Secret(Reply, frozen=True):
    """A secret to seal under."""

    secret: Digest


class Dump(Reply, frozen=True):
    """All cells. The device secret is not among them."""

    state: State


Answer = Done | Denied | Facts | Refusals | Der | Certificates | Derived | Secret | Dump
