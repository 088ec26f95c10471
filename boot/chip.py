"""The secure element's rules: one table of commands, each with when in a boot and in the device's life it is open.

The rules, in the order of a device's life:

1. A fuse is written once. A bit that is set never clears.
2. The device secret is drawn inside and never leaves; what leaves is derived from it, one way.
3. Life (``blank`` to ``decommissioned``) and boot (``rom`` to ``confirmed``) go one way. Only power begins a boot.
4. Layer secrets leave once in a boot, to ROM, for a slot of which an attempt was spent before.
5. The identity signs its own certificate request in the factory, and layers that the element derived itself: nothing
   that a caller composed.
6. Floors (of images, of revocation lists, of time) only go up, and only when what runs has been confirmed.
7. A sealing secret is handed out for the running register, or to the one successor that the register's own release
   named when it was confirmed.
8. Debugging is open before the device is locked, or by a signed unlock for this device and this boot; such a boot has
   other secrets than any ordinary one.

What is unknown, early, late or backwards is refused with a sentence, and counted.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from boot import layers
from boot.cells import SECRET_BYTES, Cells
from boot.refusal import Refused
from ipc_schemas import codec, element
from ipc_schemas.element import Answer, Denied, Done, Lifecycle, Phase
from ipc_schemas.release import COUNTER_MAX

_REQUESTS: codec.Codec[Any] = codec.Codec(element.Request)  # type: ignore[arg-type]
_SEALING = b"bulkhead sealing secret 1\0"
_WORD = re.compile(rb"[ -~]{1,120}")
_SERIAL = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_DIGEST_BYTES = 32


class Row(NamedTuple):
    """When a command is open, and what it does. ``is_debug``: only while debugging is open."""

    phases: frozenset[Phase]
    lives: frozenset[Lifecycle]
    do: Callable[[Chip, Any], Answer]
    is_debug: bool = False


class Chip:
    """One secure element from power-on to power-off. ``nonce`` was drawn for this boot.

    ``without`` are walls that an experiment leaves out; ``unlock`` is the one that is asked here.

    ``OSError`` from ``answer`` means that a change may or may not be on the disk: the element has to end.
    """

    def __init__(self, cells: Cells, nonce: bytes, without: frozenset[str] = frozenset()) -> None:
        self._cells = cells
        self._nonce = nonce
        self._without = without
        self._phase: Phase = "rom"
        self._slot: element.Slot | None = None
        self._register = b""
        self._is_unlocked = False
        self._is_prepared = False
        self._refusals: list[str] = []
        self._refusal_count = 0

    def answer(self, payload: bytes) -> bytes:
        """The encoded answer to one encoded request. Whatever comes in, there is an answer."""
        try:
            return codec.encode(self._do(payload))
        except Refused as refusal:
            return codec.encode(self._denied(refusal.sentence, refusal.remedy))

    def prepare(self) -> None:
        """Do what the first signature costs (5 ms in OpenSSL) while ROM has other things to do. Once in a boot."""
        if not self._is_prepared:
            from boot.identity import sign_as_identity

            sign_as_identity(bytes(SECRET_BYTES), b"")  # nobody's key
            self._is_prepared = True

    def _do(self, payload: bytes) -> Answer:
        if len(payload) > element.MESSAGE_BYTES_MAX:
            raise _refused(f"the request has more than {element.MESSAGE_BYTES_MAX} bytes")
        try:
            request = _REQUESTS.decode(payload)
        except codec.Refused as error:
            raise _refused(f"the request is no command of the secure element ({error.detail})") from None
        name, row = type(request).__name__, ROWS[type(request)]
        if self._phase not in row.phases:
            open_in = ", ".join(p for p in element.PHASES if p in row.phases)
            raise _refused(f"{name} is not open in phase {self._phase}, only in {open_in}")
        if self._cells.state.lifecycle not in row.lives:
            open_in = ", ".join(life for life in element.LIFECYCLES if life in row.lives)
            raise _refused(f"{name} is not open on a {self._cells.state.lifecycle} device, only {open_in}")
        if row.is_debug and not self._is_debug():
            raise _refused(f"{name} is for debugging, which is not open")
        return row.do(self, request)

    def _denied(self, sentence: str, remedy: str) -> Denied:
        self._refusal_count = min(self._refusal_count + 1, COUNTER_MAX)
        if len(self._refusals) < element.REFUSALS_KEPT_MAX:
            self._refusals.append(sentence)
        return Denied(sentence, remedy)

    def _is_debug(self) -> bool:
        return self._is_unlocked or self._cells.state.lifecycle in ("blank", "manufactured")

    def _change(self, **cells: Any) -> Done:
        self._cells.replace(msgspec.structs.replace(self._cells.state, **cells))
        return Done()

    # Reading

    def read_facts(self, _: element.ReadFacts) -> Answer:
        s = self._cells.state
        return element.Facts(
            lifecycle=s.lifecycle,
            phase=self._phase,
            root_key_sha256=s.root_key_sha256,
            hardware_id=s.hardware_id,
            serial=s.serial,
            nonce=self._nonce,
            register=self._register,
            is_debug=self._is_debug(),
            floors=s.floors,
            list_floors=s.list_floors,
            time_floor_s=s.time_floor_s,
            slot_active=s.slot_active,
            attempts=s.attempts,
        )

    def read_refusals(self, _: element.ReadRefusals) -> Answer:
        return element.Refusals(self._refusal_count, tuple(self._refusals))

    def read_chain(self, request: element.ReadChain) -> Answer:
        return element.Certificates(getattr(self._cells.state, request.issuer))

    def read_identity_key(self, _: element.ReadIdentityKey) -> Answer:
        from boot.identity import public_key_der

        return element.Der(public_key_der(self._cells.secret))

    # Factory and life

    def burn_fuse(self, request: element.BurnFuse) -> Answer:
        form = {"hardware_id": _WORD, "serial": _SERIAL}.get(request.fuse)
        is_formed = form.fullmatch(request.value) if form else len(request.value) == _DIGEST_BYTES
        if not is_formed or not any(request.value):
            raise _refused(f"{request.value.hex()} has not the form of a value for the fuse {request.fuse}")
        return self._change(
            **{request.fuse: burnt(getattr(self._cells.state, request.fuse), request.value, request.fuse)}
        )

    def manufacture(self, _: element.Manufacture) -> Answer:
        s = self._cells.state
        missing = [f for f in ("root_key_sha256", "hardware_id", "serial") if not getattr(s, f)]
        if missing:
            raise _refused(f"not all fuses are burnt: {', '.join(missing)}")
        secret = os.urandom(SECRET_BYTES)
        self._cells.keep_secret(secret)
        return self._change(lifecycle="manufactured", secret_sha256=hashlib.sha256(secret).digest())

    def request_certificate(self, _: element.RequestCertificate) -> Answer:
        from boot.identity import certificate_request

        serial = self._cells.state.serial.decode("ascii")
        return element.Der(certificate_request(self._cells.secret, serial))

    def store_chain(self, request: element.StoreChain) -> Answer:
        if request.issuer == "idevid":
            self._require_own_certificate(request.chain)
        return self._change(**{request.issuer: request.chain})

    def _require_own_certificate(self, chain: element.Chain) -> None:
        from boot.identity import leaf_public_key_der, public_key_der

        if self._cells.state.lifecycle != "manufactured":
            raise _refused(
                "the manufacturer's certificates are stored before the device is provisioned, not after"
            )
        try:
            is_own = bool(chain) and leaf_public_key_der(chain[0]) == public_key_der(self._cells.secret)
        except ValueError:
            is_own = False
        if not is_own:
            raise _refused("the first certificate is none, or is not one for this device's identity")

    def advance_lifecycle(self, request: element.AdvanceLifecycle) -> Answer:
        s = self._cells.state
        here, there = element.LIFECYCLES.index(s.lifecycle), element.LIFECYCLES.index(request.to)
        if there != here + 1 and request.to != "decommissioned":
            raise _refused(
                f"a {s.lifecycle} device does not become {request.to}: life goes one way, step by step"
            )
        if request.to == "provisioned" and not s.idevid:
            raise _refused("a device without the manufacturer's certificate is not provisioned")
        if request.to != "decommissioned":
            return self._change(lifecycle=request.to)
        self._change(lifecycle="decommissioned", secret_sha256=b"", predecessor=b"", successor=b"")
        self._cells.wipe_secret()
        return Done()

    # One boot

    def spend_attempt(self, request: element.SpendAttempt) -> Answer:
        left = self._cells.state.attempts["ab".index(request.slot)]
        if left == 0:
            raise _refused(f"slot {request.slot} has no attempt left")
        self._change(attempts=self._attempts(request.slot, left - 1))
        self._slot = request.slot
        return Done()

    def open_debug(self, request: element.OpenDebug) -> Answer:
        from boot.unlock import require_unlock

        s = self._cells.state
        now_s = max(request.now_s, s.time_floor_s)
        require_unlock(request.unlock, s.serial, self._nonce, now_s, request.key, self._without)
        self._nonce = os.urandom(_DIGEST_BYTES)  # used up
        self._is_unlocked = True
        return Done()

    def derive_layer(self, request: element.DeriveLayer) -> Answer:
        from boot.identity import sign_as_identity

        if self._slot is None:
            raise _refused("no attempt of a slot was spent in this boot")
        device_secret, is_debug = self._cells.secret, self._is_debug()
        secret = layers.next_secret(device_secret, request.measurement, is_debug=is_debug)
        layer = layers.signed_layer(
            request.layer,
            request.measurement,
            secret,
            lambda message: sign_as_identity(device_secret, message),
        )
        self._register = layers.extended(b"", request.measurement, is_debug=is_debug)
        self._phase = "bootloader"  # the latch: ROM's commands are closed until the next power-on
        return element.Derived(secret, layer)

    def measure_next(self, request: element.MeasureNext) -> Answer:
        self._register = layers.extended(self._register, request.measurement)
        self._phase = "monitor"
        return Done()

    def confirm(self, _: element.Confirm) -> Answer:
        assert self._slot is not None
        self._change(slot_active=self._slot, attempts=self._attempts(self._slot, element.ATTEMPTS_MAX))
        self._phase = "confirmed"
        return Done()

    def read_sealing_secret(self, request: element.ReadSealingSecret) -> Answer:
        s = self._cells.state
        is_own = request.register == self._register
        is_predecessors = request.register == s.predecessor and self._register == s.successor
        if not (is_own or is_predecessors):
            raise _refused("that register is not this boot's, and its release has not authorised this one")
        return element.Secret(layers.derive(self._cells.secret, request.register, _SEALING))

    # What only a confirmed release may do

    def raise_floor(self, request: element.RaiseFloor) -> Answer:
        floors = {f.image: f.counter for f in self._cells.state.floors}
        floor = floors.get(request.image, 0)
        if request.counter < floor:
            raise _refused(f"the floor of {request.image} is {floor}, and {request.counter} is below it")
        if request.image not in floors and len(floors) == element.FLOORS_MAX:
            raise _refused(f"there are floors for {element.FLOORS_MAX} images, and room for no more")
        floors[request.image] = request.counter
        return self._change(floors=tuple(element.Floor(n, c) for n, c in sorted(floors.items())))

    def raise_list_floors(self, request: element.RaiseListFloors) -> Answer:
        floors = {f.authority_key_sha256: f.number for f in self._cells.state.list_floors}
        for one in request.floors:
            floor, whose = floors.get(one.authority_key_sha256, 0), one.authority_key_sha256.hex()[:16]
            if one.number < floor:
                raise _refused(f"the floor of the lists of {whose} is {floor}, and {one.number} is below it")
            floors[one.authority_key_sha256] = one.number
        if len(floors) > element.LIST_FLOORS_MAX:
            raise _refused(
                f"there are floors for the lists of {element.LIST_FLOORS_MAX} authorities, and room for no more"
            )
        return self._change(list_floors=tuple(element.ListFloor(n, c) for n, c in sorted(floors.items())))

    def raise_time_floor(self, request: element.RaiseTimeFloor) -> Answer:
        floor_s = self._cells.state.time_floor_s
        if request.time_s < floor_s:
            raise _refused(f"it is {floor_s} s or later, and {request.time_s} s is before that")
        return self._change(time_floor_s=request.time_s)

    def arm_slot(self, request: element.ArmSlot) -> Answer:
        if request.slot == self._slot:
            raise _refused(f"slot {request.slot} is the one that runs; an update goes into the other one")
        return self._change(
            slot_active=request.slot, attempts=self._attempts(request.slot, element.ATTEMPTS_MAX)
        )

    def authorise_successor(self, request: element.AuthoriseSuccessor) -> Answer:
        return self._change(predecessor=self._register, successor=request.register)

    # Debugging

    def read_state(self, _: element.ReadState) -> Answer:
        return element.Dump(self._cells.state)

    def restore_attempts(self, request: element.RestoreAttempts) -> Answer:
        return self._change(attempts=self._attempts(request.slot, element.ATTEMPTS_MAX))

    def _attempts(self, slot: element.Slot, left: int) -> tuple[int, int]:
        a, b = self._cells.state.attempts
        return (left, b) if slot == "a" else (a, left)


def burnt(held: bytes, value: bytes, fuse: str) -> bytes:
    """What a fuse holds after ``value`` was written over ``held``. Raises ``Refused`` unless that is the same again."""
    if held and held != value:
        raise _refused(f"the fuse {fuse} is burnt, and with another value")
    return value


def _refused(sentence: str) -> Refused:
    return Refused("element", sentence, "start again, and ask for what is open in this phase and life")


_ALWAYS = frozenset(element.PHASES)
_ROM: frozenset[Phase] = frozenset({"rom"})
_CONFIRMED: frozenset[Phase] = frozenset({"confirmed"})
_ANY_LIFE = frozenset(element.LIFECYCLES)
_BLANK: frozenset[Lifecycle] = frozenset({"blank"})
_FACTORY: frozenset[Lifecycle] = frozenset({"manufactured"})
_LOCKED: frozenset[Lifecycle] = frozenset({"provisioned", "operational"})
#: Those in which there is a device secret.
_ALIVE = _FACTORY | _LOCKED

ROWS: dict[type, Row] = {
    element.ReadFacts: Row(_ALWAYS, _ANY_LIFE, Chip.read_facts),
    element.ReadRefusals: Row(_ALWAYS, _ANY_LIFE, Chip.read_refusals),
    element.ReadChain: Row(_ALWAYS, _ANY_LIFE, Chip.read_chain),
    element.ReadIdentityKey: Row(_ALWAYS, _ALIVE, Chip.read_identity_key),
    element.BurnFuse: Row(_ROM, _BLANK, Chip.burn_fuse),
    element.Manufacture: Row(_ROM, _BLANK, Chip.manufacture),
    element.RequestCertificate: Row(_ROM, _FACTORY, Chip.request_certificate),
    element.StoreChain: Row(_ROM | _CONFIRMED, _ALIVE, Chip.store_chain),
    element.AdvanceLifecycle: Row(_ROM | _CONFIRMED, _ALIVE, Chip.advance_lifecycle),
    element.SpendAttempt: Row(_ROM, _ALIVE, Chip.spend_attempt),
    element.OpenDebug: Row(_ROM, _LOCKED, Chip.open_debug),
    element.DeriveLayer: Row(_ROM, _ALIVE, Chip.derive_layer),
    element.MeasureNext: Row(frozenset({"bootloader"}), _ALIVE, Chip.measure_next),
    element.Confirm: Row(frozenset({"monitor"}), _ALIVE, Chip.confirm),
    element.ReadSealingSecret: Row(frozenset({"monitor", "confirmed"}), _ALIVE, Chip.read_sealing_secret),
    element.RaiseFloor: Row(_CONFIRMED, _ALIVE, Chip.raise_floor),
    element.RaiseListFloors: Row(_CONFIRMED, _ALIVE, Chip.raise_list_floors),
    element.RaiseTimeFloor: Row(_CONFIRMED, _ALIVE, Chip.raise_time_floor),
    element.ArmSlot: Row(_CONFIRMED, _ALIVE, Chip.arm_slot),
    element.AuthoriseSuccessor: Row(_CONFIRMED, _ALIVE, Chip.authorise_successor),
    element.ReadState: Row(_ALWAYS, _ANY_LIFE, Chip.read_state, is_debug=True),
    element.RestoreAttempts: Row(_ROM, _ALIVE, Chip.restore_attempts, is_debug=True),
}
