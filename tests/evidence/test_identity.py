"""Whose certificates are a device's identity, and whose are not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from boot.authority import Trust, key_sha256_of
from evidence.identity import Identity, IdentityRefused, identity_of
from world.factory import certificates
from world.factory.certificates import Authority, Validity
from world.factory.development import FACTORY, HARDWARE_ID, MAKER, Factory, now_utc

NOW = now_utc()
FACTORY_HOUSE = Factory(NOW)
SERIAL = "SN-0042"


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def request_of(key: EllipticCurvePrivateKey) -> bytes:
    subject = certificates.name_of("", serial=SERIAL)
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


KEY = generate_private_key(SECP256R1())
NAMED = certificates.device_identity(FACTORY_HOUSE.plant, request_of(KEY), SERIAL, NOW)
PLANT = FACTORY_HOUSE.plant.certificate


def trust(
    house: Factory = FACTORY_HOUSE,
    lists: tuple[bytes, ...] | None = None,
    root: x509.Certificate | None = None,
) -> Trust:
    own = house.root.certificate
    return Trust(key_sha256_of(own), der(root or own), house.lists() if lists is None else lists)


def test_a_device_that_the_factory_has_named_is_who_its_certificate_says() -> None:
    public = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert identity_of((der(NAMED), der(PLANT)), trust(), NOW) == Identity(
        SERIAL, HARDWARE_ID, public, der(NAMED)
    )


def issued(
    subject: x509.Name | None = None,
    extensions: list[tuple[x509.ExtensionType, bool]] | None = None,
    key: Ed25519PrivateKey | None = None,
    end: timedelta | None = None,
) -> x509.Certificate:
    """A certificate that the factory's key has signed carelessly."""
    usual = [(one.value, one.critical) for one in NAMED.extensions][2:]
    validity = Validity(NOW - timedelta(days=2), NOW + end if end else certificates.FOREVER)
    public = key.public_key() if key else KEY.public_key()
    return certificates.issue(
        FACTORY_HOUSE.plant, subject or NAMED.subject, public, validity, extensions or usual
    )


def changed(*, without: type[x509.ExtensionType], more: tuple[x509.ExtensionType, bool]) -> x509.Certificate:
    kept = [(one.value, one.critical) for one in NAMED.extensions][2:]
    return issued(extensions=[*(one for one in kept if not isinstance(one[0], without)), more])


class Case(NamedTuple):
    what: str
    made: Callable[[], tuple[tuple[bytes, ...], Trust]]
    said: str


def below_a_device() -> tuple[tuple[bytes, ...], Trust]:
    """A device that names another with its own key, as if it were an authority."""
    own = Authority(NAMED, KEY)
    other = certificates.device_identity(own, request_of(generate_private_key(SECP256R1())), "SN-0043", NOW)
    return (der(other), der(NAMED), der(PLANT)), trust()


def revoked_factory() -> tuple[tuple[bytes, ...], Trust]:
    until = NOW + timedelta(days=1)
    on_it = {PLANT.serial_number: NOW}
    of_root = certificates.revocation_list(FACTORY_HOUSE.root, on_it, 2, NOW, until).public_bytes(
        Encoding.DER
    )
    return (der(NAMED), der(PLANT)), trust(lists=(of_root, *FACTORY_HOUSE.lists()[1:]))


STRANGER = Factory(NOW)
CHAIN = (der(NAMED), der(PLANT))
LISTS = FACTORY_HOUSE.lists()
OTHER_ROOT = STRANGER.root.certificate
BESIDE = der(FACTORY_HOUSE.platform.certificate)
OTHER_KEY = Ed25519PrivateKey.generate()
NO_LIST = "unable to get certificate CRL"
CASES = [
    Case("nothing", lambda: ((), trust()), "no device's identity"),
    Case("too many", lambda: ((der(NAMED),) * 7, trust()), "no device's identity"),
    Case("no certificate", lambda: ((b"\x30\x03abc", der(PLANT)), trust()), "cannot be read"),
    Case("another root", lambda: (CHAIN, trust(STRANGER)), "unable to get"),
    Case(
        "a root in the place of the trusted one",
        lambda: (CHAIN, trust(root=OTHER_ROOT)),
        "not the one",
    ),
    Case("a missing factory", lambda: ((der(NAMED),), trust()), "unable to get"),
    Case(
        "a certificate too many",
        lambda: ((*CHAIN, BESIDE), trust()),
        "for another purpose than to be, or to name, a device",
    ),
    Case("a revoked device", lambda: (CHAIN, trust(lists=FACTORY_HOUSE.lists((NAMED,), 2))), "revoked"),
    Case("a revoked factory", revoked_factory, "revoked"),
    Case("no lists", lambda: (CHAIN, trust(lists=())), NO_LIST),
    Case(
        "no list of the factory",
        lambda: (CHAIN, trust(lists=FACTORY_HOUSE.lists()[:2])),
        "unable to get certificate CRL",
    ),
    Case("below a device", below_a_device, "invalid CA certificate"),
    Case("an authority", lambda: ((der(PLANT),), trust()), "an authority's"),
    Case("expired", lambda: ((der(issued(end=timedelta(days=-1))), der(PLANT)), trust()), "expired"),
    Case(
        "beyond the factory's name space",
        lambda: (
            (der(issued(certificates.name_of("Elsewhere", FACTORY, serial=SERIAL))), der(PLANT)),
            trust(),
        ),
        "permitted subtree",
    ),
    Case(
        "two serial numbers",
        lambda: ((der(issued(certificates.name_of(MAKER, FACTORY, serial="SN-0001"))), der(PLANT)), trust()),
        "two serial numbers",
    ),
    Case(
        "for signing code",
        lambda: (
            (
                der(
                    changed(
                        without=x509.ExtendedKeyUsage,
                        more=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
                    )
                ),
                der(PLANT),
            ),
            trust(),
        ),
        "another purpose",
    ),
    Case(
        "no hardware module",
        lambda: (
            (
                der(
                    changed(
                        without=x509.SubjectAlternativeName,
                        more=(x509.SubjectAlternativeName([x509.DNSName("pump.example")]), False),
                    )
                ),
                der(PLANT),
            ),
            trust(),
        ),
        "no hardware module",
    ),
    Case(
        "another kind of key",
        lambda: ((der(issued(key=OTHER_KEY)), der(PLANT)), trust()),
        "P-256",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_what_is_no_identity_is_refused_in_a_sentence(case: Case) -> None:
    chain, believed = case.made()
    with pytest.raises(IdentityRefused, match=case.said):
        identity_of(chain, believed, NOW)


def test_every_byte_of_an_identity_counts() -> None:
    content = der(NAMED)
    for at in range(len(content)):
        other = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(IdentityRefused):
            identity_of((other, der(PLANT)), trust(), NOW)


def test_without_path_length_and_lists_an_authority_below_a_factory_passes_and_with_either_it_does_not() -> (
    None
):
    """What an experiment leaves out is left out, and nothing else: whoever is no authority still names nobody."""
    key = generate_private_key(SECP256R1())
    begin = Validity(NOW - timedelta(days=1), certificates.FOREVER)
    subject = certificates.name_of(MAKER, FACTORY, serial="SN-0666")
    purpose = (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), False)
    wanted = [*certificates.authority_extensions(None), purpose]
    intruder = certificates.issue(FACTORY_HOUSE.plant, subject, key.public_key(), begin, wanted)
    named = certificates.device_identity(Authority(intruder, key), request_of(KEY), SERIAL, NOW)
    chain = (der(named), der(intruder), der(PLANT))
    both = frozenset({"pathlen", "revocation"})
    assert identity_of(chain, trust(), NOW, both).serial == SERIAL
    for one, said in (
        ("pathlen", "unable to get certificate CRL"),
        ("revocation", "path length constraint exceeded"),
    ):
        with pytest.raises(IdentityRefused, match=said):
            identity_of(chain, trust(), NOW, frozenset({one}))
    with pytest.raises(IdentityRefused, match="invalid CA certificate"):
        identity_of(below_a_device()[0], trust(), NOW, both)


def test_an_authority_for_signers_of_code_names_no_device() -> None:
    """Seen: the platform authority, and a supplier's, named a counterfeit that was affirmed."""
    authority = FACTORY_HOUSE.platform
    usual = [(one.value, one.critical) for one in NAMED.extensions][2:]
    validity = Validity(NOW - timedelta(days=2), certificates.FOREVER)
    named = certificates.issue(authority, NAMED.subject, KEY.public_key(), validity, usual)
    with pytest.raises(
        IdentityRefused, match=r"CN=Platform.*for another purpose than to be, or to name, a device"
    ):
        identity_of((der(named), der(authority.certificate)), trust(), NOW)
