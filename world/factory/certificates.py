"""Issues what boot and cloud check: the root, authorities below it, signers of code, identities of devices, and lists.

```
root (offline)
 ├─ platform authority ── release signer (every image, the release)
 │   ├─ signer of a subcontractor (named partitions and safety classes)
 │   └─ authority of a supplier (limited likewise) ── its signers
 └─ factory authority (no authority below it, its own name space) ── IDevID of each device
operator's root ── LDevID of each device
```

Everything X.509 is ECDSA on P-256 with SHA-256; keys that sign manifests are Ed25519. Dates are arguments. Serial
numbers are random, of 159 bits. ``issue`` signs whatever it is told, so that tests can play a careless or hostile
authority; the other functions say what a proper one issues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from boot.scope import SCOPE, Scope, encode_scope

#: RFC 5280, 4.1.2.5: of a certificate that has no good end. 802.1AR asks for it in an IDevID.
FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
#: RFC 4108: id-on-hardwareModuleName.
HARDWARE_MODULE_NAME = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4")
#: Under the same example arc as the scope: the kind of hardware that an IDevID is for.
HARDWARE_TYPE = x509.ObjectIdentifier("1.3.6.1.4.1.99999.2.1")
REQUEST_BYTES_MAX = 4_096

Extensions = Sequence[tuple[x509.ExtensionType, bool]]  # and whether it is critical


class RequestRefused(Exception):
    """A certificate signing request that is not answered; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate holds, both included."""

    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """Somebody who issues certificates: its own, and the key that belongs to it."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


@asn1.sequence
class _HardwareModuleName:
    """RFC 4108, section 5."""

    kind: x509.ObjectIdentifier
    serial: bytes


def name_of(organization: str, unit: str = "", common: str = "", serial: str = "") -> x509.Name:
    """A distinguished name; what is empty is left out."""
    parts = (
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.COMMON_NAME, common),
        (NameOID.SERIAL_NUMBER, serial),
    )
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts if text])


def issue(
    issuer: Authority | None,
    subject: x509.Name,
    key: EllipticCurvePublicKey | Ed25519PublicKey,
    validity: Validity,
    extensions: Extensions,
    own_key: EllipticCurvePrivateKey | None = None,
) -> x509.Certificate:
    """A certificate, signed by ``issuer``, or by ``own_key`` when there is no issuer.

    Key identifiers are added; nothing is checked, not even that the issuer's key is the one in its certificate.
    """
    signing = issuer.key if issuer is not None else own_key
    if signing is None:
        raise ValueError("a certificate has an issuer or is signed by its own key")
    above = issuer.certificate.public_key() if issuer is not None else signing.public_key()
    assert isinstance(above, EllipticCurvePublicKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begin)
        .not_valid_after(validity.end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signing, SHA256())


def usage_of(*bits: str) -> x509.KeyUsage:
    """A key usage with the named bits set."""
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{bit: bit in bits for bit in every})


def authority_extensions(path_length: int | None) -> list[tuple[x509.ExtensionType, bool]]:
    """Of everybody who issues certificates and lists."""
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (usage_of("key_cert_sign", "crl_sign"), True),
    ]


def leaf_extensions(*purposes: x509.ObjectIdentifier) -> list[tuple[x509.ExtensionType, bool]]:
    """Of everybody who does not."""
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage_of("digital_signature"), True),
        (x509.ExtendedKeyUsage(purposes), False),
    ]


def scope_extension(scope: Scope) -> tuple[x509.ExtensionType, bool]:
    """The limit that the device reads out of a signer's certificate."""
    return x509.UnrecognizedExtension(SCOPE, encode_scope(scope)), False


def root(organization: str, key: EllipticCurvePrivateKey, validity: Validity) -> Authority:
    """The root ceremony: a certificate that the root signs for itself. Its key then goes back into the safe."""
    subject = name_of(organization, common="Root")
    extensions = authority_extensions(path_length=None)
    return Authority(issue(None, subject, key.public_key(), validity, extensions, own_key=key), key)


def code_authority(
    issuer: Authority,
    subject: x509.Name,
    key: EllipticCurvePrivateKey,
    validity: Validity,
    path_length: int,
    scope: Scope | None = None,
) -> Authority:
    """An authority for signers of code: the maker's platform (no ``scope``, path length 1), or a supplier's (0)."""
    extensions = authority_extensions(path_length)
    extensions.append((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False))
    if scope is not None:
        extensions.append(scope_extension(scope))
    return Authority(issue(issuer, subject, key.public_key(), validity, extensions), key)


def factory_authority(
    issuer: Authority, organization: str, factory: str, key: EllipticCurvePrivateKey, validity: Validity
) -> Authority:
    """A factory: it names devices below ``O=organization, OU=factory`` and nothing else, and no authority."""
    extensions = authority_extensions(path_length=0)
    # Device identities only: the device itself asks every certificate of a signer's chain for code signing.
    extensions.append((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False))
    space = x509.DirectoryName(name_of(organization, factory))
    extensions.append((x509.NameConstraints(permitted_subtrees=[space], excluded_subtrees=None), True))
    subject = name_of(organization, factory, "Factory")
    return Authority(issue(issuer, subject, key.public_key(), validity, extensions), key)


def code_signer(
    issuer: Authority, subject: x509.Name, key: Ed25519PublicKey, validity: Validity, scope: Scope
) -> x509.Certificate:
    """A signer of manifests: of the maker, or of a subcontractor, as far as ``scope`` goes."""
    extensions = [*leaf_extensions(ExtendedKeyUsageOID.CODE_SIGNING), scope_extension(scope)]
    return issue(issuer, subject, key, validity, extensions)


def key_in_request(request_der: bytes) -> EllipticCurvePublicKey:
    """The key that a certificate signing request proves to hold: all that is ever taken from it.

    Subject, extensions and whatever else the request asks for are not looked at. Raises ``RequestRefused``.
    """
    if not 1 <= len(request_der) <= REQUEST_BYTES_MAX:
        raise RequestRefused(f"a request of {len(request_der)} bytes; at most {REQUEST_BYTES_MAX} may be")
    try:
        request = x509.load_der_x509_csr(request_der)
        key, holds_key = request.public_key(), request.is_signature_valid
        # The library passes over the count of unused bits in front of the signature, which nothing signs.
        is_plain = request_der.endswith(b"\0" + request.signature)
    except Exception:  # libraries raise many things over hostile bytes
        raise RequestRefused("a request that cannot be read; make a new one on the device") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise RequestRefused("the key in the request is not on P-256; make one that is")
    if not (holds_key and is_plain):
        raise RequestRefused(
            "the request is not signed with the key in it; whoever sent it may not hold that key"
        )
    return key


def device_identity(factory: Authority, request_der: bytes, serial: str, begin: datetime) -> x509.Certificate:
    """The IDevID (802.1AR) of the device with that serial number, in the factory's name space, without an end.

    Raises ``RequestRefused``.
    """
    key = key_in_request(request_der)
    of_factory = factory.certificate.subject
    (organization,), (unit,) = (
        of_factory.get_attributes_for_oid(oid)
        for oid in (NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
    )
    subject = name_of(str(organization.value), str(unit.value), serial=serial)
    module = asn1.encode_der(_HardwareModuleName(kind=HARDWARE_TYPE, serial=serial.encode()))
    extensions = leaf_extensions(ExtendedKeyUsageOID.CLIENT_AUTH)
    extensions.append((x509.SubjectAlternativeName([x509.OtherName(HARDWARE_MODULE_NAME, module)]), False))
    return issue(factory, subject, key, Validity(begin, FOREVER), extensions)


def operator_identity(
    operator: Authority, request_der: bytes, organization: str, device: str, validity: Validity
) -> x509.Certificate:
    """The LDevID (802.1AR) that an operator, a hospital say, gives a device for its own network.

    Raises ``RequestRefused``.
    """
    key = key_in_request(request_der)
    extensions = leaf_extensions(ExtendedKeyUsageOID.CLIENT_AUTH)
    return issue(operator, name_of(organization, serial=device), key, validity, extensions)


def revocation_list(
    issuer: Authority, revoked: Mapping[int, datetime], number: int, issued: datetime, fresh_until: datetime
) -> x509.CertificateRevocationList:
    """The list of ``issuer``: serial number -> when it was revoked. ``number`` must be higher than ever before."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(issued)
        .next_update(fresh_until)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
    )
    for serial, when in sorted(revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, SHA256())
