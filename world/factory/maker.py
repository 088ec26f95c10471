"""What the maker does in its folder: the root ceremony, factories, subcontractors, operators, and what is taken back.

Every function changes the ledger in one step, after the keys are made and before anything is handed out. A key that a
power cut left without a certificate bears a label that this folder alone uses, and is taken up the next time.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from boot.scope import Scope
from ipc_schemas.release import SafetyClass
from world.factory import certificates, ledger
from world.factory.certificates import Authority, Validity
from world.factory.keys import KeyFiles, KeyStore, issuing_key
from world.factory.ledger import FactoryRefused, Folder, Issuer, Ledger, SignerRow, Token

HARDWARE_ID = "emulated pump 1"
RELEASE, SERVICE = "Release", "Service"
_ALL_CLASSES: tuple[SafetyClass, ...] = ("A", "B", "C")
EVERYTHING = Scope(
    ("bootloader", "monitor", "design", "partition", "release"), (), _ALL_CLASSES, every_partition=True
)
DEBUG = Scope(("debug",))
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,38}[A-Za-z0-9])?")
_PARTITION = re.compile(r"[a-z][a-z0-9_]{0,62}")
_HOUSE_BYTES = 4
_YEAR = timedelta(days=365)
ROOT_YEARS, AUTHORITY_YEARS, SIGNER_YEARS = 30, 20, 5
LIST_FRESH = _YEAR
YEARS_MAX = 100


@dataclass
class Maker:
    """The folder, the time, and the keys. A token is opened when the first key in it is asked for."""

    folder: Folder
    now: datetime
    ask_pin: Callable[[Token], str]
    _opened: list[KeyStore] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        """A finished one. Raises ``FactoryRefused`` where the root ceremony was cut short."""
        found = self.folder.ledger
        if found.root is None or found.platform is None:
            raise FactoryRefused(
                f"{self.folder.path}: the root ceremony of {found.maker} was cut short; run provision root again, "
                "and it goes on"
            )
        return found

    @property
    def files(self) -> KeyFiles:
        """The keys that lie in files: those that sign manifests, and where there is no token all others."""
        return KeyFiles(self.folder.path / ledger.KEYS)

    def keys(self) -> KeyStore:
        """Where the authorities' keys are. Raises ``KeyRefused``."""
        return self.keys_in(self.folder.ledger.token)

    def keys_in(self, token: Token | None) -> KeyStore:
        """The token's, or those in files. Raises ``KeyRefused``."""
        if not self._opened:
            if token is None:
                self._opened.append(self.files)
            else:
                from world.factory.keys import KeyToken

                self._opened.append(KeyToken(Path(token.module), token.label, self.ask_pin(token)))
        return self._opened[0]

    def close(self) -> None:
        """Log out of the token, if it was opened."""
        for store in self._opened:
            if not isinstance(store, KeyFiles):
                store.close()  # type: ignore[attr-defined]
        self._opened.clear()

    def authority(self, issuer: Issuer | None) -> Authority:
        """Somebody who issues, with the key. Raises ``KeyRefused``."""
        assert issuer is not None
        return Authority(issuer.parsed, issuing_key(self.keys(), issuer.key))

    def years(self, years: int, below: Issuer | None = None) -> Validity:
        """From now on, for so many years, and no longer than who vouches for it. Raises ``FactoryRefused``."""
        return self.until(self.now + years * _YEAR, below, cuts=True)

    def until(self, end: datetime, below: Issuer | None, *, cuts: bool = False) -> Validity:
        """From now to ``end``. Raises ``FactoryRefused`` if that is over, or after the end of who vouches for it."""
        if below is not None and end > below.parsed.not_valid_after_utc:
            latest = below.parsed.not_valid_after_utc
            if not cuts:
                raise FactoryRefused(
                    f"{end:%Y-%m-%d} is after the end of who vouches for it; choose {latest:%Y-%m-%d} or earlier"
                )
            end = latest
        if end <= self.now:
            raise FactoryRefused(
                f"{end:%Y-%m-%d} is over, and a certificate until then never counts; choose a later day"
            )
        return Validity(self.now, end)


def checked_name(maker: Maker, name: str) -> str:
    """A name that nobody has yet. Raises ``FactoryRefused``."""
    if _NAME.fullmatch(name) is None:
        raise FactoryRefused(
            f"{name!a} cannot be a name; use up to 40 letters, digits, spaces and . _ -, a letter or digit at both ends"
        )
    if name in maker.ledger.names():
        raise FactoryRefused(f"{name}: this name is taken, and names are never given twice; choose another")
    return name


def hold_root_ceremony(maker: Maker, name: str, token: Token | None = None) -> Ledger:
    """The maker's root and platform authority, and two signers of its own: for releases, and for debug unlocks.

    Raises ``FactoryRefused`` where there is a factory already, and ``KeyRefused``.
    """
    folder = maker.folder
    if folder.is_new:
        if _NAME.fullmatch(name) is None:
            raise FactoryRefused(
                f"{name!a} cannot be a maker's name; use up to 40 letters, digits, spaces and . _ -"
            )
        maker.keys_in(token)  # what cannot be opened begins nothing
        folder.keep(Ledger(name, secrets.token_hex(_HOUSE_BYTES), HARDWARE_ID, token=token))
    begun = folder.ledger
    if begun.root is not None:
        raise FactoryRefused(
            f"{folder.path}: here is the factory of {begun.maker} already; name another folder for another maker"
        )
    if (begun.maker, begun.token) != (name, token):
        kept = f" with the token {begun.token.label}" if begun.token else ""
        raise FactoryRefused(
            f"{folder.path}: a root ceremony of {begun.maker}{kept} was cut short here; go on with that one, or "
            "remove the folder"
        )
    validity = maker.years(ROOT_YEARS)
    maker.keys().provide(_label(begun, "root"), "p256")
    root = certificates.root(begun.maker, issuing_key(maker.keys(), _label(begun, "root")), validity)
    above = _listed(maker, root, Issuer(_der(root.certificate), _label(begun, "root")))
    maker.keys().provide(_label(begun, "platform"), "p256")
    platform = certificates.code_authority(
        root,
        certificates.name_of(begun.maker, common="Platform"),
        issuing_key(maker.keys(), _label(begun, "platform")),
        maker.years(AUTHORITY_YEARS, above),
        1,
    )
    below = _listed(maker, platform, Issuer(_der(platform.certificate), _label(begun, "platform")))
    signers = {}
    for who, scope in ((RELEASE, EVERYTHING), (SERVICE, DEBUG)):
        key = maker.files.provide_signing_key(_label(begun, who.lower()))
        subject = certificates.name_of(begun.maker, common=who)
        found = certificates.code_signer(platform, subject, key, maker.years(AUTHORITY_YEARS, below), scope)
        signers[who] = SignerRow((_der(found), below.certificate), _label(begun, who.lower()))
    return folder.change(root=above, platform=below, signers=signers)


def open_factory(maker: Maker, name: str, years: int = AUTHORITY_YEARS) -> Issuer:
    """A factory with a name space of its own. Raises ``FactoryRefused`` and ``KeyRefused``."""
    held = maker.ledger
    checked_name(maker, name)
    label = _label(held, f"factory-{len(held.factories) + 1}")
    maker.keys().provide(label, "p256")
    authority = certificates.factory_authority(
        maker.authority(held.root),
        held.maker,
        name,
        issuing_key(maker.keys(), label),
        maker.years(years, held.root),
    )
    found = _listed(maker, authority, Issuer(_der(authority.certificate), label))
    maker.folder.change(factories={**held.factories, name: found})
    return found


def enrol_operator(maker: Maker, name: str, years: int = AUTHORITY_YEARS) -> Issuer:
    """An operator's own root, which gives devices their LDevID. Raises ``FactoryRefused`` and ``KeyRefused``."""
    held = maker.ledger
    checked_name(maker, name)
    label = _label(held, f"operator-{len(held.operators) + 1}")
    maker.keys().provide(label, "p256")
    authority = certificates.root(name, issuing_key(maker.keys(), label), maker.years(years))
    found = _listed(maker, authority, Issuer(_der(authority.certificate), label))
    maker.folder.change(operators={**held.operators, name: found})
    return found


def enrol_subcontractor(
    maker: Maker, name: str, public_key: Ed25519PublicKey, scope: Scope, validity: Validity
) -> SignerRow:
    """A subcontractor who may sign as far as ``scope`` goes, by a key of which only the public half is here.

    Raises ``FactoryRefused`` and ``KeyRefused``.
    """
    held = maker.ledger
    checked_name(maker, name)
    checked_scope(name, scope)
    subject = certificates.name_of(held.maker, common=name)
    issuer = maker.authority(held.platform)
    found = SignerRow(
        (
            _der(certificates.code_signer(issuer, subject, public_key, validity, scope)),
            _der(issuer.certificate),
        )
    )
    maker.folder.change(signers={**held.signers, name: found})
    return found


def checked_scope(name: str, scope: Scope) -> None:
    """Raises ``FactoryRefused`` unless ``scope`` names partitions, and safety classes."""
    if not scope.partitions or not scope.safety_classes:
        raise FactoryRefused(
            f"{name}: a subcontractor signs for somebody; name a partition and a safety class"
        )
    for partition in scope.partitions:
        if _PARTITION.fullmatch(partition) is None:
            raise FactoryRefused(f"{partition!a} is no partition's name; use a-z, 0-9 and _, a letter first")


def key_in_file(path: Path) -> Ed25519PublicKey:
    """The public half of a subcontractor's key, as PEM. Raises ``FactoryRefused``."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise FactoryRefused(f"{path}: {error.strerror}; name the file with the public key") from None
    except Exception:  # the library raises many things over files that hold something else
        raise FactoryRefused(
            f"{path}: this is no public key in PEM; ask the subcontractor for the .pub file that provision key wrote"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise FactoryRefused(
            f"{path}: manifests are signed by Ed25519 keys, and this is another; make one with provision key"
        )
    return key


def revoke(maker: Maker, name: str) -> tuple[str, int]:
    """Take back a signer, a factory or a device: whose list says so from now on, and that list's new number.

    Raises ``FactoryRefused`` when there is nobody of that name, or it was done before, and ``KeyRefused``.
    """
    held = maker.ledger
    if name in held.signers:
        return _take_back(maker, "platform", held.signers[name].chain[0], name)
    if name in held.factories:
        return _take_back(maker, "root", held.factories[name].certificate, name)
    if name in held.devices:
        return _take_back(maker, held.devices[name].factory, held.devices[name].idevid, name)
    if name in held.operators:
        raise FactoryRefused(f"{name!a}: is its own root, and nobody stands above it who could take it back")
    known = ", ".join(sorted({*held.signers, *held.factories, *held.devices}))
    raise FactoryRefused(f"{name!a}: nobody here has this name (there are: {known})")


def issuer_named(held: Ledger, name: str) -> Issuer:
    """``root``, ``platform`` or a factory."""
    found = {"root": held.root, "platform": held.platform, **held.factories}[name]
    assert found is not None
    return found


def with_issuer(held: Ledger, name: str, issuer: Issuer) -> dict[str, object]:
    """The fields of the ledger in which this issuer stands, with it replaced."""
    if name in ("root", "platform"):
        return {name: issuer}
    return {"factories": {**held.factories, name: issuer}}


def taken_back(maker: Maker, issuer: Issuer, certificate: bytes) -> Issuer:
    """The issuer with one certificate more on its list, whose number goes up by one. Raises ``KeyRefused``."""
    serial = serial_of(certificate)
    revoked = {**issuer.revoked, serial: maker.now}
    return _listed(maker, maker.authority(issuer), msgspec.structs.replace(issuer, revoked=revoked))


def _take_back(maker: Maker, issuer_name: str, certificate: bytes, name: str) -> tuple[str, int]:
    held = maker.ledger
    issuer = issuer_named(held, issuer_name)
    if serial_of(certificate) in issuer.revoked:
        when = issuer.revoked[serial_of(certificate)]
        raise FactoryRefused(
            f"{name}: it was revoked on {when:%Y-%m-%d} already; there is nothing left to do"
        )
    changed = taken_back(maker, issuer, certificate)
    maker.folder.change(**with_issuer(held, issuer_name, changed))
    return issuer_name, changed.list_number


def _listed(maker: Maker, authority: Authority, issuer: Issuer) -> Issuer:
    """With a new list, of the next number."""
    revoked = {int(serial, 16): when for serial, when in issuer.revoked.items()}
    number = issuer.list_number + 1
    found = certificates.revocation_list(authority, revoked, number, maker.now, maker.now + LIST_FRESH)
    return msgspec.structs.replace(issuer, list_number=number, list_der=found.public_bytes(Encoding.DER))


def serial_of(certificate: bytes) -> str:
    """A certificate's serial number, as the ledger writes it."""
    return f"{x509.load_der_x509_certificate(certificate).serial_number:x}"


def certificate_of(row: SignerRow) -> x509.Certificate:
    """A signer's own certificate."""
    return x509.load_der_x509_certificate(row.chain[0])


def lists_of(held: Ledger) -> dict[str, bytes]:
    """The latest list of each who issues, by name."""
    assert held.root is not None
    assert held.platform is not None
    found = {"root": held.root, "platform": held.platform} | held.factories | held.operators
    return {name: issuer.list_der for name, issuer in found.items()}


def publish_lists(folder: Folder) -> None:
    """Bring ``lists/`` up to what the ledger has."""
    target = folder.path / ledger.LISTS
    for name, content in lists_of(folder.ledger).items():
        path = target / f"{name}.crl"
        if not path.is_file() or path.read_bytes() != content:
            target.mkdir(mode=0o755, exist_ok=True)
            ledger.replace_file(path, content, mode=0o644)


def write_trust(held: Ledger, flash: Path) -> None:
    """What a device's stages believe: the root, and the latest lists of who vouches for signers."""
    assert held.root is not None
    assert held.platform is not None
    target = flash / "trust"
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    ledger.replace_file(target / "root.der", held.root.certificate, mode=0o644)
    for name, issuer in (("root", held.root), ("platform", held.platform)):
        ledger.replace_file(target / f"{name}.crl", issuer.list_der, mode=0o644)


def _label(held: Ledger, role: str) -> str:
    return f"bh{held.house}-{role}"


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
