"""What a factory's folder holds, as values: who issues and signs, how far and how long, and every device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from boot.authority import key_sha256_of
from boot.refusal import Refused
from boot.scope import SCOPE, Scope, decode_scope
from world.factory import manufacture
from world.factory.ledger import Folder, Issuer, Ledger
from world.factory.maker import serial_of

#: Of the parts of a name for which RFC 4514 has no short word.
_NAMES = {NameOID.SERIAL_NUMBER: "serialNumber"}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who issues certificates or signs images. ``revoked`` is a day, empty when it was not."""

    name: str
    role: str
    scope: str
    valid_until: str
    revoked: str
    list_number: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For ``docs/json.md``."""
        return asdict(self) | {"revoked": self.revoked or None}


@dataclass(frozen=True, slots=True)
class DeviceSeen:
    """A device. ``life`` is what its element says, or why it says nothing."""

    serial: str
    life: str
    idevid: str
    factory: str
    operator: str
    revoked: str
    attempts: tuple[int, int] | None

    def as_json(self) -> dict[str, Any]:
        """For ``docs/json.md``."""
        return asdict(self) | {"revoked": self.revoked or None, "operator": self.operator or None}


def people_of(held: Ledger) -> list[Person]:
    """Everybody, authorities first."""
    assert held.root is not None
    assert held.platform is not None
    found = [
        _issuer("root", "root", "everything", held.root, None),
        _issuer("platform", "authority for signers", "signers", held.platform, held.root),
    ]
    for name, issuer in held.factories.items():
        found.append(_issuer(name, "factory", f"devices of O={held.maker}, OU={name}", issuer, held.root))
    for name, row in held.signers.items():
        certificate = row.chain[0]
        scope = _scope_of(x509.load_der_x509_certificate(certificate))
        role = "signer of the maker" if row.key else "subcontractor"
        found.append(
            Person(name, role, _said(scope), until_of(certificate), _revoked(held.platform, certificate))
        )
    for name, issuer in held.operators.items():
        found.append(_issuer(name, "operator", "LDevIDs of its devices", issuer, None))
    return found


def _issuer(name: str, role: str, scope: str, issuer: Issuer, above: Issuer | None) -> Person:
    revoked = _revoked(above, issuer.certificate) if above is not None else ""
    return Person(name, role, scope, until_of(issuer.certificate), revoked, issuer.list_number)


def _revoked(issuer: Issuer, certificate: bytes) -> str:
    when = issuer.revoked.get(serial_of(certificate))
    return f"{when:%Y-%m-%d}" if when is not None else ""


def _scope_of(certificate: x509.Certificate) -> Scope:
    return next(
        (decode_scope(e.value.public_bytes()) for e in certificate.extensions if e.oid == SCOPE), Scope()
    )


def _said(scope: Scope) -> str:
    """``partition therapy, class C``."""
    if scope.every_partition:
        return "every image, and releases"
    if "debug" in scope.roles:
        return "debug unlocks"
    return f"{', '.join(scope.partitions)}; class {', '.join(scope.safety_classes)}"


def until_of(certificate: bytes) -> str:
    """The last day, or ``no end``."""
    end = x509.load_der_x509_certificate(certificate).not_valid_after_utc
    return "no end" if end.year == 9999 else f"{end:%Y-%m-%d}"


def root_key_sha256(held: Ledger) -> str:
    """What the fuses of this maker's devices hold, in hex."""
    assert held.root is not None
    return key_sha256_of(held.root.parsed).hex()


def devices_of(folder: Folder) -> list[DeviceSeen]:
    """Every device. Each element is switched on to be asked."""
    held = folder.ledger
    found = []
    for serial, row in sorted(held.devices.items()):
        subject = x509.load_der_x509_certificate(row.idevid).subject.rfc4514_string(
            {NameOID.SERIAL_NUMBER: "serialNumber"}
        )
        revoked = _revoked(held.factories[row.factory], row.idevid)
        try:
            seen = manufacture.seen(folder.device(serial))
        except Refused as refused:
            life, attempts = f"unknown: {refused.sentence}", None
        else:
            life, attempts = seen.life, seen.attempts
        found.append(DeviceSeen(serial, life, subject, row.factory, row.operator, revoked, attempts))
    return found
