"""What somebody can do who gets at a device's flash while it is off: the hands of attacks on the boot.

They may hold images of other releases, keys of their own, and keys that were given to somebody for something else. The
secure element and ROM are out of their reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from boot.scope import Scope
from faults.effects import FOREIGN_MARK
from ipc_schemas import codec, release
from ipc_schemas.release import Envelope, Signed
from monitor.design import Design
from world import devices
from world.devices import Opened, Overlay
from world.factory import development
from world.factory.development import Factory, Made, Signer

_MARKED = "marked_entry"
_SOURCE = """import sys

print({token!r}, file=sys.stderr, flush=True)
from {module} import {name}
"""


@dataclass(frozen=True, slots=True)
class Workshop:
    """One device that is off, and what its release is made of. ``victim`` is the partition whose image is aimed at."""

    opened: Opened
    design: Design
    victim: str

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
        self.factory.write_trust(self.flash, number=2, revoked=(signer,))

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
