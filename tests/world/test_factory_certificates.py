"""What the factory issues: device identities in its own name space, limited signers, lists; and nothing on request."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import crypto

from boot.scope import SCOPE
from tests.support import hierarchy as h
from tests.support.hierarchy import DAY, MAKER, NOW, Case, rule_against, verdict
from world.factory import certificates
from world.factory.certificates import Authority, RequestRefused, Validity, name_of

SERIAL = "BH-000042"


@functools.cache
def factory() -> Authority:
    return certificates.factory_authority(h.the_root(), MAKER, "North", h.key("factory"), h.YEARS)


def request(*extensions: tuple[x509.ExtensionType, bool], subject: str = "anything") -> bytes:
    """A request of the device for its own key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name_of(subject))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(h.key("device"), SHA256()).public_bytes(Encoding.DER)


def openssl_says(
    leaf: x509.Certificate,
    *authorities: Authority,
    root: Authority | None = None,
    lists: tuple[bytes, ...] | None = None,
) -> str:
    """What whoever meets the device finds out (a cloud, with lists): ``ok``, or what is wrong."""
    above = root or h.the_root()
    flags = crypto.X509StoreFlags
    store = crypto.X509Store()
    store.set_time(NOW)
    store.set_flags(flags.X509_STRICT | (0 if lists is None else flags.CRL_CHECK | flags.CRL_CHECK_ALL))
    store.add_cert(crypto.X509.from_cryptography(above.certificate))
    for one in lists or ():
        store.add_crl(x509.load_der_x509_crl(one))
    chain = [crypto.X509.from_cryptography(a.certificate) for a in authorities]
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), chain).verify_certificate()
    except crypto.X509StoreContextError as error:
        return str(error)
    return "ok"


# Identities of devices


def test_a_device_gets_an_identity_without_an_end_in_its_factorys_name_space() -> None:
    identity = certificates.device_identity(factory(), request(), SERIAL, NOW - DAY)
    assert identity.subject == name_of(MAKER, "North", serial=SERIAL)
    assert b"99991231235959Z" in h.der(identity)
    assert identity.public_key() == h.key("device").public_key()
    lists = (h.list_of(factory()), h.list_of(h.the_root()))
    assert openssl_says(identity, factory(), lists=lists) == "ok"


def test_an_identity_names_the_hardware_as_rfc_4108_does() -> None:
    @asn1.sequence
    class Module:
        kind: x509.ObjectIdentifier
        serial: bytes

    identity = certificates.device_identity(factory(), request(), SERIAL, NOW)
    (name,) = identity.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert isinstance(name, x509.OtherName)
    assert name.type_id.dotted_string == "1.3.6.1.5.5.7.8.4"
    module = asn1.decode_der(Module, name.value)
    assert (module.kind, module.serial) == (certificates.HARDWARE_TYPE, SERIAL.encode())


def test_a_request_for_an_authority_gets_a_leaf() -> None:
    asked = request(
        (x509.BasicConstraints(ca=True, path_length=9), True),
        (certificates.usage_of("key_cert_sign", "crl_sign"), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), True),
        (x509.SubjectAlternativeName([x509.DNSName("everywhere.example")]), True),
        certificates.scope_extension(h.EVERYTHING),
        subject="Somebody Else",
    )
    for identity in (
        certificates.device_identity(factory(), asked, SERIAL, NOW - DAY),
        certificates.operator_identity(hospital(), asked, "St. Elsewhere", SERIAL, h.YEARS),
    ):
        extensions = {e.oid: e.value for e in identity.extensions}
        assert extensions[x509.BasicConstraints.oid] == x509.BasicConstraints(ca=False, path_length=None)
        assert extensions[x509.KeyUsage.oid] == certificates.usage_of("digital_signature")
        assert list(extensions[x509.ExtendedKeyUsage.oid]) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        assert SCOPE not in extensions
        assert b"Somebody Else" not in h.der(identity)
        assert b"everywhere" not in h.der(identity)


def test_what_a_request_asks_for_changes_nothing_in_the_certificate() -> None:
    plain = certificates.device_identity(factory(), request(), SERIAL, NOW)
    asked = certificates.device_identity(
        factory(), request((x509.BasicConstraints(ca=True, path_length=None), True)), SERIAL, NOW
    )
    assert list(plain.extensions) == list(asked.extensions)
    assert plain.subject == asked.subject


def test_a_request_that_is_not_signed_with_its_own_key_is_refused() -> None:
    made = bytearray(request())
    made[-1] ^= 1
    with pytest.raises(RequestRefused, match=r"not signed with the key in it|cannot be read"):
        certificates.key_in_request(bytes(made))


def test_a_request_with_any_one_bit_changed_is_refused() -> None:
    """All bits of a request whose signature ends in a zero bit: of some, the count of unused bits is not signed."""
    made = next(made for made in iter(request, None) if made[-1] & 1 == 0)
    accepted = []
    for bit in range(len(made) * 8):
        changed = bytearray(made)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            certificates.key_in_request(bytes(changed))
        except RequestRefused:
            continue
        accepted.append(bit)
    assert accepted == []


def test_a_request_for_a_key_of_another_kind_is_refused() -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name_of("x"))
    for made in (
        builder.sign(generate_private_key(SECP384R1()), SHA256()),
        builder.sign(h.signing_key("device"), None),
    ):
        with pytest.raises(RequestRefused, match="not on P-256"):
            certificates.key_in_request(made.public_bytes(Encoding.DER))


@given(st.binary(max_size=200))
def test_a_request_of_arbitrary_bytes_is_refused_and_raises_nothing_else(noise: bytes) -> None:
    with pytest.raises(RequestRefused):
        certificates.key_in_request(noise)


def test_too_long_a_request_is_refused() -> None:
    with pytest.raises(RequestRefused, match="at most"):
        certificates.key_in_request(b"\x30" * 5_000)


@functools.cache
def hospital() -> Authority:
    return certificates.root("St. Elsewhere", h.key("hospital"), h.YEARS)


def test_an_operator_gives_a_device_an_identity_of_its_own() -> None:
    identity = certificates.operator_identity(hospital(), request(), "St. Elsewhere", SERIAL, h.YEARS)
    assert openssl_says(identity, root=hospital()) == "ok"
    assert openssl_says(identity) != "ok"
    (serial,) = identity.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    assert serial.value == SERIAL


# A factory's bounds


@pytest.mark.parametrize(
    "subject",
    [
        name_of(MAKER, "South", serial=SERIAL),
        name_of(MAKER, serial=SERIAL),
        name_of("Others", "North", serial=SERIAL),
        x509.Name(list(name_of(MAKER, "North", serial=SERIAL))[::-1]),
    ],
)
def test_a_factory_that_names_a_device_outside_its_space_is_found_out(subject: x509.Name) -> None:
    extensions = certificates.leaf_extensions(ExtendedKeyUsageOID.CLIENT_AUTH)
    stray = certificates.issue(factory(), subject, h.key("device").public_key(), h.YEARS, extensions)
    assert openssl_says(stray, factory()) == "permitted subtree violation"


def test_a_factory_that_makes_an_authority_is_found_out() -> None:
    extensions = certificates.authority_extensions(None)
    own = h.key("annex")
    annex = Authority(
        certificates.issue(
            factory(), name_of(MAKER, "North", "Annex"), own.public_key(), h.YEARS, extensions
        ),
        own,
    )
    identity = certificates.device_identity(annex, request(), SERIAL, NOW - DAY)
    assert openssl_says(identity, annex, factory()) == "path length constraint exceeded"


def test_a_revoked_device_and_a_revoked_factory_are_found_out() -> None:
    identity = certificates.device_identity(factory(), request(), SERIAL, NOW - DAY)
    of_root, of_factory = h.list_of(h.the_root()), h.list_of(factory())
    assert (
        openssl_says(identity, factory(), lists=(h.list_of(factory(), identity), of_root))
        == "certificate revoked"
    )
    no_factory = h.list_of(h.the_root(), factory().certificate)
    assert openssl_says(identity, factory(), lists=(of_factory, no_factory)) == "certificate revoked"
    assert openssl_says(identity, factory(), lists=(of_root,)) == "unable to get certificate CRL"


def test_a_factory_cannot_vouch_for_code_even_in_its_own_name_space() -> None:
    subject = name_of(MAKER, "North", "signer")
    key = h.signing_key("signer").public_key()
    stray = certificates.code_signer(factory(), subject, key, h.YEARS, h.EVERYTHING)
    assert openssl_says(stray, factory()) == "ok"  # a reader that asks for no purpose would have taken it
    case = Case(stray, [factory()])
    assert rule_against(case.chain, case.trust) == "chain"


# Dates, serial numbers, lists


def test_serial_numbers_are_long_and_differ() -> None:
    serials = [h.leaf(h.the_platform(), h.CODE_LEAF).serial_number for _ in range(50)]
    assert len(set(serials)) == 50
    assert max(serials).bit_length() > 140
    assert max(serials).bit_length() <= 159


def test_both_ends_of_a_validity_are_included_to_the_second() -> None:
    validity = Validity(NOW, NOW + timedelta(hours=1))
    case = Case(h.leaf(h.the_platform(), h.CODE_LEAF, validity=validity), [h.the_platform()])
    second = timedelta(seconds=1)
    for inside in (validity.begin, validity.end):
        verdict(case, inside)
    for outside in (validity.begin - second, validity.end + second):
        assert rule_against(case.chain, case.trust, outside) == "chain"


def test_a_certificate_that_is_revoked_is_on_the_list_with_its_date() -> None:
    gone = h.signer(h.the_platform())
    made = certificates.revocation_list(
        h.the_platform(), {gone.serial_number: NOW - DAY}, 7, NOW, NOW + 30 * DAY
    )
    entry = made.get_revoked_certificate_by_serial_number(gone.serial_number)
    assert entry is not None
    assert entry.revocation_date_utc == NOW - DAY
    assert made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    case = h.release_case().with_lists(made.public_bytes(Encoding.DER), h.list_of(h.the_root()))
    assert rule_against(case.chain, case.trust) == "revocation"
    verdict(replace(case, leaf=h.signer(h.the_platform(), label="successor")))


def test_without_an_issuer_or_a_key_nothing_is_signed() -> None:
    with pytest.raises(ValueError, match="has an issuer"):
        certificates.issue(None, name_of("x"), h.key("x").public_key(), h.YEARS, [])
