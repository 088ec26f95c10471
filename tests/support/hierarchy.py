"""A small hierarchy of certificates for tests: made once, every key thrown away, each link replaceable."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from boot.authority import Signer, Trust, key_sha256_of, signer_of
from boot.refusal import Refused
from boot.scope import Scope
from world.factory import certificates
from world.factory.certificates import Authority, Extensions, Validity, name_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
YEARS = Validity(NOW - 365 * DAY, NOW + 3650 * DAY)
MAKER = "Bulkhead Devices"
EVERYTHING = Scope(
    roles=("bootloader", "design", "monitor", "partition", "release"),
    safety_classes=("A", "B", "C"),
    every_partition=True,
)
TRANSFER_ONLY = Scope(roles=("partition",), partitions=("transfer",), safety_classes=("A",))


@functools.cache
def key(label: str) -> EllipticCurvePrivateKey:
    """A P-256 key, the same for the same label in one test process."""
    assert label
    return generate_private_key(SECP256R1())


@functools.cache
def signing_key(label: str) -> Ed25519PrivateKey:
    """An Ed25519 key, the same for the same label in one test process."""
    assert label
    return Ed25519PrivateKey.generate()


@functools.cache
def the_root() -> Authority:
    return certificates.root(MAKER, key("root"), YEARS)


@functools.cache
def the_platform() -> Authority:
    return certificates.code_authority(
        the_root(), name_of(MAKER, common="Platform"), key("platform"), YEARS, 1
    )


@functools.cache
def the_supplier() -> Authority:
    """A supplier with an authority of its own, limited to the partition ``transfer``."""
    subject = name_of("Courier Software", common="Signing")
    return certificates.code_authority(the_platform(), subject, key("supplier"), YEARS, 0, TRANSFER_ONLY)


@functools.cache
def signer(of: Authority, scope: Scope | None = EVERYTHING, label: str = "signer") -> x509.Certificate:
    """A sound signer's certificate; ``scope=None`` leaves the extension out."""
    if scope is None:
        return leaf(of, CODE_LEAF, label)
    return certificates.code_signer(
        of, name_of("Signers", common=label), signing_key(label).public_key(), YEARS, scope
    )


CODE_LEAF = certificates.leaf_extensions(ExtendedKeyUsageOID.CODE_SIGNING)
CODE_PURPOSE = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)


def leaf(
    of: Authority,
    extensions: Extensions,
    label: str = "signer",
    validity: Validity = YEARS,
    public: Ed25519PublicKey | None = None,
) -> x509.Certificate:
    """Whatever a careless or hostile authority would issue to a signer."""
    return certificates.issue(
        of, name_of("Signers", common=label), public or signing_key(label).public_key(), validity, extensions
    )


def authority(
    of: Authority,
    label: str,
    extensions: Extensions,
    validity: Validity = YEARS,
    subject: x509.Name | None = None,
) -> Authority:
    """Whatever a careless or hostile authority would issue to another authority."""
    own = key(label)
    name = name_of(MAKER, common=label) if subject is None else subject
    return Authority(certificates.issue(of, name, own.public_key(), validity, extensions), own)


def code_extensions(path_length: int | None = None) -> list[tuple[x509.ExtensionType, bool]]:
    """Of a sound authority for signers."""
    return [*certificates.authority_extensions(path_length), CODE_PURPOSE]


def list_of(
    of: Authority,
    *revoked: x509.Certificate,
    number: int = 1,
    issued: datetime = NOW - DAY,
    fresh_until: datetime = NOW + 30 * DAY,
) -> bytes:
    """A revocation list, in DER."""
    serials = {certificate.serial_number: NOW - 2 * DAY for certificate in revoked}
    made = certificates.revocation_list(of, serials, number, issued, fresh_until)
    return made.public_bytes(Encoding.DER)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Case:
    """What a device is shown: a chain, and what it trusts. Without ``lists``, an empty one of each authority."""

    leaf: x509.Certificate
    authorities: Sequence[Authority]
    root: Authority = field(default_factory=the_root)
    lists: Sequence[bytes] | None = None
    floors: Mapping[bytes, int] = field(default_factory=dict)

    @property
    def chain(self) -> list[bytes]:
        return [der(self.leaf), *(der(a.certificate) for a in self.authorities)]

    @property
    def trust(self) -> Trust:
        lists = self.lists
        if lists is None:
            lists = [list_of(a) for a in (*self.authorities, self.root)]
        fused = key_sha256_of(self.root.certificate)
        return Trust(fused, der(self.root.certificate), lists, self.floors)

    def with_lists(self, *lists: bytes) -> Case:
        return replace(self, lists=lists)


def release_case() -> Case:
    """The maker's own signer: root, platform, leaf."""
    return Case(signer(the_platform()), [the_platform()])


def supplier_case() -> Case:
    """A supplier's signer, whose own certificate claims everything: root, platform, supplier, leaf."""
    return Case(signer(the_supplier()), [the_supplier(), the_platform()])


def verdict(case: Case, now: datetime = NOW, without: frozenset[str] = frozenset()) -> Signer:
    """Who the signer is. Raises ``Refused``."""
    return signer_of(case.chain, case.trust, now, without)


def rule_against(
    chain: list[bytes], trust: Trust, now: datetime = NOW, without: frozenset[str] = frozenset()
) -> str:
    """The rule by which a chain is refused; anything but a refusal fails the test."""
    with pytest.raises(Refused) as refused:
        signer_of(chain, trust, now, without)
    assert refused.value.sentence.isprintable()
    assert refused.value.remedy
    return refused.value.rule
