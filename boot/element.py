"""Speaks to the secure element: one request, one answer, one asker at a time."""

from __future__ import annotations

import socket
from typing import Any, TypeVar

from boot.forgetting import read_once
from boot.refusal import Refused
from ipc_schemas import codec, element
from ipc_schemas.release import Layer

#: An element that is silent for so long is broken. Its slowest answer synchronises a few files.
ANSWER_S_MAX = 10.0
_ANSWERS: codec.Codec[Any] = codec.Codec(element.Answer)  # type: ignore[arg-type]
A = TypeVar("A", bound=element.Reply)


class Element:
    """One end of the SEQPACKET socket to the element. A stage makes its own of the descriptor it inherited.

    Each method raises ``Refused`` (``element``): with the element's own sentence when it denied the request, and
    when it is gone, silent or answers something else. After one of the latter three the link is closed, because
    a late answer would be taken for the next one's.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        link.settimeout(ANSWER_S_MAX)

    def close(self) -> None:
        """Let go of the socket."""
        self._link.close()

    def facts(self) -> element.Facts:
        """What a stage needs to know: fuses, floors, slots, the nonce and the phase of this boot."""
        return self._ask(element.ReadFacts(), element.Facts)

    def refusals(self) -> element.Refusals:
        """What was refused in this boot."""
        return self._ask(element.ReadRefusals(), element.Refusals)

    def burn_fuse(self, fuse: element.Fuse, value: bytes) -> None:
        """Write a fuse, for good. On a blank element."""
        self._ask(element.BurnFuse(fuse, value), element.Done)

    def manufacture(self) -> None:
        """Draw the device secret. On a blank element whose fuses are burnt."""
        self._ask(element.Manufacture(), element.Done)

    def certificate_request(self) -> bytes:
        """PKCS#10, DER, for the identity. On a manufactured element, before it is provisioned."""
        return self._ask(element.RequestCertificate(), element.Der).der

    def store_chain(self, issuer: element.Issuer, chain: tuple[bytes, ...]) -> None:
        """Keep certificates (DER), the device's own first. The manufacturer's only before provisioning."""
        self._ask(element.StoreChain(issuer, chain), element.Done)

    def chain(self, issuer: element.Issuer) -> tuple[bytes, ...]:
        """The certificates that were stored; none if none were."""
        return self._ask(element.ReadChain(issuer), element.Certificates).chain

    def advance(self, to: element.Lifecycle) -> None:
        """Take the next step of the device's life, or the last, which wipes the device secret."""
        self._ask(element.AdvanceLifecycle(to), element.Done)

    def identity_public_key(self) -> bytes:
        """The identity's SubjectPublicKeyInfo (P-256), DER."""
        return self._ask(element.ReadIdentityKey(), element.Der).der

    def spend_attempt(self, slot: element.Slot) -> None:
        """This boot tries ``slot``. ROM only; refused when the slot has no attempt left."""
        self._ask(element.SpendAttempt(slot), element.Done)

    def open_debug(self, unlock: element.SignedUnlock, key: bytes, now_s: int) -> None:
        """Open debugging in this boot. ROM only, which has validated ``key`` (Ed25519) up to the root in the fuses."""
        self._ask(element.OpenDebug(unlock, key, now_s), element.Done)

    def derive_layer(self, layer: str, measurement: bytes) -> tuple[bytes, Layer]:
        """The first layer's secret, and that layer signed by the identity. ROM only, once in a boot."""
        derived = self._ask(element.DeriveLayer(layer, measurement), element.Derived)
        return derived.secret, derived.layer

    def measure_next(self, measurement: bytes) -> None:
        """What the bootloader is about to run. Bootloader only, once in a boot."""
        self._ask(element.MeasureNext(measurement), element.Done)

    def confirm(self) -> None:
        """What runs has proven itself. Monitor only, once in a boot."""
        self._ask(element.Confirm(), element.Done)

    def sealing_secret(self, register: bytes) -> bytes:
        """The secret of the release with this register: the running one, or one that authorised it. From monitor on."""
        return self._ask(element.ReadSealingSecret(register), element.Secret).secret

    def raise_floor(self, image: str, counter: int) -> None:
        """Confirmed only, and only up."""
        self._ask(element.RaiseFloor(image, counter), element.Done)

    def raise_list_floors(self, floors: tuple[element.ListFloor, ...]) -> None:
        """Confirmed only, and only up; all of them or none."""
        self._ask(element.RaiseListFloors(floors), element.Done)

    def raise_time_floor(self, time_s: int) -> None:
        """Confirmed only, and only up. Seconds since 1970."""
        self._ask(element.RaiseTimeFloor(time_s), element.Done)

    def arm_slot(self, slot: element.Slot) -> None:
        """The other slot is tried at the next boot. Confirmed only."""
        self._ask(element.ArmSlot(slot), element.Done)

    def authorise_successor(self, register: bytes) -> None:
        """The release with this register may open what the running one sealed. Confirmed only; replaces the last."""
        self._ask(element.AuthoriseSuccessor(register), element.Done)

    def debug_state(self) -> element.State:
        """All cells but the device secret. Debugging only."""
        return self._ask(element.ReadState(), element.Dump).state

    def debug_restore_attempts(self, slot: element.Slot) -> None:
        """A slot has all its attempts again. Debugging only, in ROM."""
        self._ask(element.RestoreAttempts(slot), element.Done)

    def _ask(self, request: element.Command, kind: type[A]) -> A:
        try:
            self._link.send(codec.encode(request))
            answer = read_once(_ANSWERS, self._link.recv(element.MESSAGE_BYTES_MAX + 1))
        except (OSError, codec.Refused) as error:
            self._link.close()
            raise Refused("element", f"the secure element does not answer ({error})", "start again") from None
        if isinstance(answer, element.Denied):
            raise Refused("element", answer.sentence, answer.remedy)
        if not isinstance(answer, kind):
            self._link.close()
            raise Refused(
                "element", "the secure element answered something that was not asked", "start again"
            )
        return answer
