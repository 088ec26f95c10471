"""Who a device is, by its manufacturer's certificates (IDevID, IEEE 802.1AR): a path to the root, and what it says.

Path, name space, path length and revocation lists are OpenSSL's to judge; here is only what an identity has to be
beside that. The root is whatever the caller trusts.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto

from boot.authority import Trust, key_sha256_of
from world.factory.certificates import HARDWARE_MODULE_NAME, HARDWARE_TYPE
from world.factory.development import HARDWARE_ID

CERTIFICATES_MAX = 6
CERTIFICATE_BYTES_MAX = 8_192
#: Which hardware a maker means by the type in a certificate (RFC 4108, hardwareModuleName).
HARDWARE: Mapping[str, str] = {HARDWARE_TYPE.dotted_string: HARDWARE_ID}
_STRICT = crypto.X509StoreFlags.X509_STRICT
_LISTS = crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
_PARTIAL = crypto.X509StoreFlags.PARTIAL_CHAIN


class IdentityRefused(Exception):
    """These certificates are no device's identity; the sentence says why."""


class Identity(msgspec.Struct, frozen=True):
    """The device that a certificate names: its serial number and hardware, and the key that it holds (DER)."""

    serial: str
    hardware_id: str
    public_key: bytes
    #: The certificate that says so, DER: of one device there is one that its factory has kept.
    certificate: bytes


@asn1.sequence
class _HardwareModuleName:
    """RFC 4108, section 5."""

    kind: x509.ObjectIdentifier
    serial: bytes


def identity_of(
    chain: Sequence[bytes], trust: Trust, now: datetime, without: frozenset[str] = frozenset()
) -> Identity:
    """Who the first certificate of ``chain`` (DER, its issuer next, the root not among them) names.

    Rules (RFC 5280, 6.1, by OpenSSL; IEEE 802.1AR-2018, 8): the path is that of all these certificates to the root,
    every one of them is in time and on no list, all lists are there, authorities may be authorities at that place, and
    names are in their issuer's name space. The leaf is no authority, its key is on P-256 and signs, it is for clients
    of TLS, and subject and hardware module name bear one serial number. Authorities below the root are for that
    purpose, too: who may vouch for signers of code does not name devices.

    ``without`` may hold ``pathlen``, for experiments: then nobody asks how many authorities may stand below one, and
    each certificate is only judged below its issuer; and ``revocation``: then no list is read.

    Raises ``IdentityRefused``.
    """
    if not 1 <= len(chain) <= CERTIFICATES_MAX or any(len(der) > CERTIFICATE_BYTES_MAX for der in chain):
        raise IdentityRefused(f"{len(chain)} certificates, or one too large, are no device's identity")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            certificates = [x509.load_der_x509_certificate(der) for der in chain]
            root = x509.load_der_x509_certificate(trust.root)
            lists = [x509.load_der_x509_crl(der) for der in trust.lists]
            leaf = _identity(certificates[0])
            for authority in certificates[1:]:
                _require_purpose(authority)
            if key_sha256_of(root) != trust.root_key_sha256:
                raise IdentityRefused("the root is not the one that is trusted")
    except IdentityRefused:
        raise
    except Exception as error:  # libraries raise many things over hostile bytes
        raise IdentityRefused(
            f"a certificate or list cannot be read ({type(error).__name__}); ask the device again"
        ) from None
    path = [*certificates, root]
    asks_lists = "revocation" not in without
    if "pathlen" in without:
        for pair in itertools.pairwise(path):  # a path of two certificates is too short for any limit
            _verify(pair, lists, now, (crypto.X509StoreFlags.CRL_CHECK if asks_lists else 0) | _PARTIAL)
    else:
        _verify(path, lists, now, _LISTS if asks_lists else 0)
    return leaf


def _verify(
    path: Sequence[x509.Certificate],
    lists: Sequence[x509.CertificateRevocationList],
    now: datetime,
    flags: int,
) -> None:
    """OpenSSL finds the one path that is ``path``; its last certificate is trusted."""
    store = crypto.X509Store()
    store.set_time(now)
    store.set_flags(_STRICT | flags)
    try:
        leaf, *authorities, anchor = map(crypto.X509.from_cryptography, path)
        store.add_cert(anchor)
        for one in lists:
            store.add_crl(one)
        found = crypto.X509StoreContext(store, leaf, authorities).get_verified_chain()
    except crypto.X509StoreContextError as error:
        _, depth, message = error.errors
        name = path[min(depth, len(path) - 1)].subject.rfc4514_string()
        raise IdentityRefused(f"{name}: {message}") from None
    except Exception as error:
        raise IdentityRefused(f"a certificate cannot be judged ({type(error).__name__})") from None
    if [one.to_cryptography() for one in found] != list(path):
        raise IdentityRefused("the certificates are not one path to the root")


def _identity(certificate: x509.Certificate) -> Identity:
    extensions = certificate.extensions
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise IdentityRefused("the device's key is not on P-256")
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    if constraints.value.ca or usage.key_cert_sign or usage.crl_sign or not usage.digital_signature:
        raise IdentityRefused("the first certificate is an authority's, or its key does not sign")
    _require_purpose(certificate)
    (serial,) = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    module = _module(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    if module.serial.decode("ascii") != serial.value:
        raise IdentityRefused("subject and hardware module name bear two serial numbers")
    hardware_id = HARDWARE.get(module.kind.dotted_string)
    if hardware_id is None:
        raise IdentityRefused(f"nobody here knows the hardware type {module.kind.dotted_string}")
    return Identity(
        str(serial.value),
        hardware_id,
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        certificate.public_bytes(Encoding.DER),
    )


def _require_purpose(certificate: x509.Certificate) -> None:
    """Raises ``IdentityRefused``, and ``x509.ExtensionNotFound`` where no purpose is named."""
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if list(purposes) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        name = certificate.subject.rfc4514_string()
        raise IdentityRefused(
            f"{name}: its certificate is for another purpose than to be, or to name, a device"
        )


def _module(names: x509.SubjectAlternativeName) -> _HardwareModuleName:
    (name,) = names
    if not isinstance(name, x509.OtherName) or name.type_id != HARDWARE_MODULE_NAME:
        raise IdentityRefused("the first certificate names no hardware module")
    return asn1.decode_der(_HardwareModuleName, name.value)
