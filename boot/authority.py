"""Who may sign what: certificates lead to the root in the fuses, none is revoked, each limits what it vouches for.

The rules, in their order:

1. ``form``: a certificate and a revocation list are whole, canonical DER, within bounds, and readable to the end.
2. ``chain``: OpenSSL finds the one path that uses every certificate given, up to the root whose key the fuses name,
   at the given time (RFC 5280, strict). Beyond it, this room's own profile: P-256 with SHA-256 above, Ed25519 at the
   leaf, extensions that are in ``_KNOWN`` and no others, and code signing as the purpose of every certificate below the
   root, so that an authority for devices cannot vouch for code.
3. ``revocation``: OpenSSL finds no certificate on the list of its issuer, root's list included, and every list is
   there. A list past its ``nextUpdate`` still counts: a device must start that was offline for years. What must not be
   stale says so (``require_fresh_lists``). A list below its floor is refused, so that an old one cannot be put back.
4. ``scope``: a leaf vouches for the roles, partitions and safety classes that its own certificate and every
   authority above it allow; a leaf that names none, for nothing.

All bytes here are hostile. Whatever is wrong with them is a ``Refused``, and nothing else is ever raised.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import (
    CRLEntryExtensionOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
    SignatureAlgorithmOID,
)
from OpenSSL import crypto

from boot.refusal import Refused
from boot.scope import NOTHING, SCOPE, Scope, decode_scope
from ipc_schemas.release import LIST_NUMBER_MAX, Manifest, Release

CHAIN_CERTIFICATES_MAX = 6
CERTIFICATE_BYTES_MAX = 8_192
LISTS_MAX = 16
LIST_BYTES_MAX = 64 << 10
NAME_LETTERS_MAX = 200
SERIAL_BITS_MAX = 159  # RFC 5280: at most 20 octets, and positive

#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which pyOpenSSL takes but has no name for.
_NO_CHECK_TIME = 0x20_0000
_STRICT = crypto.X509StoreFlags.X509_STRICT | crypto.X509StoreFlags.CHECK_SS_SIGNATURE
_LISTS = crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL | _NO_CHECK_TIME
_KNOWN = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    SCOPE,
}
_OF_A_LIST = {ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.CRL_NUMBER}
#: OpenSSL's X509_V_ERR_CERT_REVOKED, which pyOpenSSL has no name for.
_REVOKED = 23
_ASK_SIGNER = "install an image that somebody of this device's own hierarchy has signed"
_ASK_ANOTHER = "install an image that somebody has signed whose certificate still counts"
_ASK_LIST = "bring the latest revocation list of each authority into flash"


@dataclass(frozen=True, slots=True)
class Trust:
    """What a stage believes before it has read any certificate.

    ``root_key_sha256`` comes from the fuses: of the SubjectPublicKeyInfo of the root. ``root`` (its certificate) and
    ``lists`` (revocation lists) come from flash, in DER. ``list_floors`` comes from the secure element: the least
    CRL number for an authority, by the SHA-256 of that authority's SubjectPublicKeyInfo.
    """

    root_key_sha256: bytes
    root: bytes
    lists: Sequence[bytes] = ()
    list_floors: Mapping[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListSeen:
    """A revocation list that was consulted: whose (as in ``Trust.list_floors``), its number, from when until when."""

    authority: str
    authority_key_sha256: bytes
    number: int
    issued: datetime
    fresh_until: datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody who may sign. ``name`` prints, and has at most ``NAME_LETTERS_MAX`` letters.

    ``lists`` are those that say that nobody of the chain is revoked. ``no_earlier`` is the latest time that somebody of
    the chain has signed: it is no earlier than that, whatever a clock says. Both only as far as they were validated.
    """

    name: str
    public_key: Ed25519PublicKey
    scope: Scope
    lists: tuple[ListSeen, ...] = ()
    no_earlier: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Certificate:
    """A certificate that could be read to the end."""

    parsed: x509.Certificate
    name: str
    extensions: x509.Extensions
    key: object
    key_sha256: bytes
    scope: Scope | None


def signer_of(
    chain: Sequence[bytes], trust: Trust, now: datetime, without: frozenset[str] = frozenset()
) -> Signer:
    """The signer whose certificate (DER) comes first in ``chain``, its issuer next, and the root not in it.

    ``without`` leaves out rules, for experiments: without ``chain`` the first certificate is believed as it is, and
    lists then only tell which serial numbers are revoked, because there is no authority to have signed them (floors are
    those of the keys that the chain claims); without ``revocation`` no list is read. Raises ``Refused`` (``form``,
    ``chain``, ``revocation``).
    """
    if not 1 <= len(chain) <= CHAIN_CERTIFICATES_MAX:
        _refuse(
            "form",
            f"a chain of {len(chain)} certificates; at most {CHAIN_CERTIFICATES_MAX} may be",
            _ASK_SIGNER,
        )
    certificates = [_read_certificate(der) for der in chain]
    leaf = certificates[0]
    now = now.astimezone(UTC)
    lists: tuple[ListSeen, ...] = ()
    signed_at: list[datetime] = []
    try:
        if not isinstance(leaf.key, Ed25519PublicKey):
            _refuse(
                "form",
                f"{leaf.name}: what signs manifests is an Ed25519 key, and this is another",
                _ASK_SIGNER,
            )
        if "chain" not in without:
            root = _root_of(trust)
            _check_path(certificates, root, now)
            signed_at = [one.parsed.not_valid_before_utc for one in (*certificates, root)]
            if "revocation" not in without:
                lists = _check_lists(certificates, root, trust, now)
                signed_at += [seen.issued for seen in lists]
        elif "revocation" not in without:
            _check_serials(certificates, trust)
    except Refused as refused:
        refused.signer = leaf.name
        raise
    except Exception as error:
        # The libraries read some parts only when they are asked for, and OpenSSL is stricter than what read first.
        sentence = f"{leaf.name}: a certificate or a list cannot be read to its end"
        raise Refused("form", sentence, _ASK_SIGNER, signer=leaf.name) from error
    return Signer(leaf.name, leaf.key, _scope_along(certificates), lists, max(signed_at, default=None))


def names_of(signers: Sequence[Signer]) -> str:
    """As they are logged and told."""
    return ", ".join(signer.name for signer in signers)


def require_scope(signer: Signer, subject: Manifest | Release) -> None:
    """Raises ``Refused`` (``scope``) unless ``signer`` may vouch for the image, or put together the release."""
    lacks = signer.scope.lacks(subject)
    if lacks:
        raise Refused(
            "scope",
            f"{signer.name} may not vouch for {lacks}",
            "install an image that somebody has signed who may vouch for it",
            image=subject.image if isinstance(subject, Manifest) else "",
            signer=signer.name,
        )


def require_fresh_lists(signer: Signer, now: datetime) -> None:
    """Raises ``Refused`` (``revocation``) when a list that was consulted is past its date.

    For whoever takes in something new (an update), and not for a start: what was installed must go on.
    """
    for seen in signer.lists:
        if seen.fresh_until < now.astimezone(UTC):
            sentence = (
                f"the revocation list of {seen.authority} was to be replaced by {seen.fresh_until:%Y-%m-%d}"
            )
            raise Refused("revocation", sentence, _ASK_LIST, signer=signer.name)


def _scope_along(certificates: Sequence[_Certificate]) -> Scope:
    """What the leaf and every authority that limits its subordinates allow."""
    scope = certificates[0].scope or NOTHING
    for authority in certificates[1:]:
        scope = scope if authority.scope is None else scope.within(authority.scope)
    return scope


def _refuse(rule: str, sentence: str, remedy: str) -> NoReturn:
    raise Refused(rule, sentence, remedy)


def _read_certificate(der: bytes) -> _Certificate:
    """Everything of a certificate that is looked at later. Raises ``Refused`` (``form``)."""
    if not 1 <= len(der) <= CERTIFICATE_BYTES_MAX:
        _refuse(
            "form", f"a certificate of {len(der)} bytes; at most {CERTIFICATE_BYTES_MAX} may be", _ASK_SIGNER
        )
    try:
        with warnings.catch_warnings():
            # A library that only warns of what it reads has read something that is against the standard.
            warnings.simplefilter("error")
            return _look_into(der)
    except Exception:
        # Libraries raise many things over hostile bytes, and all of them mean the same here.
        _refuse("form", "a certificate is not whole, or not in its one encoding", _ASK_SIGNER)


def _look_into(der: bytes) -> _Certificate:
    certificate = x509.load_der_x509_certificate(der)
    extensions = certificate.extensions
    name = certificate.subject.rfc4514_string()
    limits = [e.value for e in extensions if e.oid == SCOPE]
    is_plain = name.isascii() and name.isprintable() and 1 <= len(name) <= NAME_LETTERS_MAX
    if not is_plain or not 0 < certificate.serial_number.bit_length() <= SERIAL_BITS_MAX:
        raise ValueError(name)
    return _Certificate(
        certificate, name, extensions, certificate.public_key(), key_sha256_of(certificate),
        decode_scope(limits[0].public_bytes()) if limits else None,
    )  # fmt: skip


def key_sha256_of(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo: how fuses and floors name a key."""
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).digest()


def _root_of(trust: Trust) -> _Certificate:
    """The root's certificate, which counts only if its key is the one in the fuses."""
    root = _read_certificate(trust.root)
    if root.key_sha256 != trust.root_key_sha256:
        _refuse(
            "chain",
            f"the root {root.name} in flash has not the key in the fuses",
            "put back the maker's own root",
        )
    return root


def _check_path(certificates: Sequence[_Certificate], root: _Certificate, now: datetime) -> None:
    """Rule ``chain``. Our own profile first: OpenSSL is shown only what has the expected kinds of key."""
    for authority in (*certificates[1:], root):
        _check_profile(authority, is_authority=True, is_root=authority is root)
    _check_profile(certificates[0], is_authority=False, is_root=False)
    store = crypto.X509Store()
    store.set_time(now)
    store.set_flags(_STRICT)
    _have_openssl_verify(store, certificates, root, [], "chain", _ASK_SIGNER)


def _check_profile(certificate: _Certificate, is_authority: bool, is_root: bool) -> None:
    wrong = _wrong_in_profile(certificate, is_authority, is_root)
    if wrong:
        _refuse("chain", f"{certificate.name}: {wrong}", _ASK_SIGNER)


def _wrong_in_profile(certificate: _Certificate, is_authority: bool, is_root: bool) -> str:
    """What a certificate lacks for its place in the chain; nothing when it is sound."""
    known = {e.oid: e for e in certificate.extensions}
    constraints = known.get(ExtensionOID.BASIC_CONSTRAINTS)
    usage = known.get(ExtensionOID.KEY_USAGE)
    purpose = known.get(ExtensionOID.EXTENDED_KEY_USAGE)
    is_p256 = isinstance(certificate.key, EllipticCurvePublicKey) and isinstance(
        certificate.key.curve, SECP256R1
    )
    if not known.keys() <= _KNOWN:
        return "it has an extension that is not known here"
    if certificate.parsed.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        return "it is not signed by ECDSA with SHA-256"
    if is_authority and not is_p256:
        return "an authority's key is on P-256, and this is another"
    if constraints is None or not constraints.critical or constraints.value.ca is not is_authority:
        return f"it does not say that it is {'an' if is_authority else 'no'} authority"
    if usage is None or usage.value.key_cert_sign is not is_authority:
        return "its key usage does not fit its place in the chain"
    if not is_authority and (not usage.value.digital_signature or usage.value.crl_sign):
        return "its key is not for signatures alone"
    if not is_root and (purpose is None or list(purpose.value) != [ExtendedKeyUsageOID.CODE_SIGNING]):
        return "it is not for signing code"
    return ""


def _have_openssl_verify(
    store: crypto.X509Store,
    certificates: Sequence[_Certificate],
    root: _Certificate,
    lists: Sequence[x509.CertificateRevocationList],
    rule: str,
    remedy: str,
) -> None:
    """Raises ``Refused`` (``rule``) unless the one path is the root and all ``certificates``, none left over."""
    expected = [*(c.parsed for c in certificates), root.parsed]
    try:
        leaf, *authorities, anchor = map(crypto.X509.from_cryptography, expected)
        store.add_cert(anchor)
        for one in lists:
            store.add_crl(one)
        path = crypto.X509StoreContext(store, leaf, authorities).get_verified_chain()
        is_whole = [c.to_cryptography() for c in path] == expected
    except crypto.X509StoreContextError as error:
        code, depth, message = error.errors
        remedy = _ASK_ANOTHER if code == _REVOKED else remedy
        _refuse(rule, f"{(*certificates, root)[depth].name}: {message}", remedy)
    if not is_whole:
        _refuse(rule, "the chain has a certificate that does not lead to the root", remedy)


def _read_list(der: bytes) -> x509.CertificateRevocationList:
    """A list that is whole and plain: a number, its authority's key, and nothing that is not known here."""
    if not 1 <= len(der) <= LIST_BYTES_MAX:
        _refuse("form", f"a revocation list of {len(der)} bytes; at most {LIST_BYTES_MAX} may be", _ASK_LIST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read = x509.load_der_x509_crl(der)
            of_entries = {e.oid for entry in read for e in entry.extensions}
            if (
                {e.oid for e in read.extensions} != _OF_A_LIST
                or any(e.critical for e in read.extensions)
                or not of_entries <= {CRLEntryExtensionOID.CRL_REASON}
                or read.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256
                or read.next_update_utc is None
                or _number_of(read) > LIST_NUMBER_MAX
            ):
                raise ValueError("not of our profile")
            return read
    except Exception:
        _refuse("form", "a revocation list is not whole, or not of the plain kind", _ASK_LIST)


def _number_of(read: x509.CertificateRevocationList) -> int:
    return read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _lists_of(trust: Trust) -> list[x509.CertificateRevocationList]:
    if len(trust.lists) > LISTS_MAX:
        _refuse("form", f"{len(trust.lists)} revocation lists; at most {LISTS_MAX} may be", _ASK_LIST)
    return [_read_list(der) for der in trust.lists]


def _check_lists(
    certificates: Sequence[_Certificate], root: _Certificate, trust: Trust, now: datetime
) -> tuple[ListSeen, ...]:
    """Rule ``revocation``, after rule ``chain`` held."""
    lists = _lists_of(trust)
    consulted, seen = [], []
    for authority in (*certificates[1:], root):
        fitting = _lists_by(authority, lists)
        if not fitting:
            _refuse("revocation", f"there is no revocation list of {authority.name}", _ASK_LIST)
        latest = _latest_of(authority, fitting, trust)
        if latest.last_update_utc > now:
            sentence = f"the revocation list of {authority.name} is from after now, {now:%Y-%m-%d %H:%M}"
            _refuse("revocation", sentence, "set the device's clock")
        assert latest.next_update_utc is not None  # _read_list refuses such a list
        consulted.append(latest)
        seen.append(
            ListSeen(
                authority.name,
                authority.key_sha256,
                _number_of(latest),
                latest.last_update_utc,
                latest.next_update_utc,
            )
        )
    store = crypto.X509Store()
    store.set_flags(_STRICT | _LISTS)
    _have_openssl_verify(store, certificates, root, consulted, "revocation", _ASK_LIST)
    return tuple(seen)


def _lists_by(
    authority: _Certificate, lists: Sequence[x509.CertificateRevocationList]
) -> list[x509.CertificateRevocationList]:
    """Those that say that they are of ``authority``'s name and key."""
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return [
        read
        for read in lists
        if read.issuer == authority.parsed.subject
        and read.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == own
    ]


def _latest_of(
    authority: _Certificate, fitting: Sequence[x509.CertificateRevocationList], trust: Trust
) -> x509.CertificateRevocationList:
    """The one with the highest number. Raises ``Refused`` (``revocation``) when it is below its floor all the same."""
    latest = max(fitting, key=_number_of)
    floor = trust.list_floors.get(authority.key_sha256, 0)
    if _number_of(latest) < floor:
        sentence = f"the revocation list of {authority.name} has number {_number_of(latest)}, below {floor}"
        _refuse("revocation", sentence, _ASK_LIST)
    return latest


def _check_serials(certificates: Sequence[_Certificate], trust: Trust) -> None:
    """What is left of rule ``revocation`` without a chain: whoever claims to be an authority is taken for it."""
    lists = _lists_of(trust)
    for claimed in certificates[1:]:
        fitting = _lists_by(claimed, lists)
        if fitting:
            _latest_of(claimed, fitting, trust)
    for read in lists:
        for certificate in certificates:
            listed = read.get_revoked_certificate_by_serial_number(certificate.parsed.serial_number)
            if listed is not None and read.issuer == certificate.parsed.issuer:
                _refuse("revocation", f"{certificate.name} is revoked", _ASK_ANOTHER)
