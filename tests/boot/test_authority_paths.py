"""Path validation by the cases of NIST PKITS and x509-limbo, made here anew with our own kinds of key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP384R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from boot import authority as under_test
from boot.refusal import Refused
from tests.support import hierarchy as h
from tests.support.hierarchy import DAY, NOW, Case, rule_against, verdict
from world.factory import certificates
from world.factory.certificates import Authority, Validity, name_of


def below(
    of: Authority, label: str, *extensions: tuple[x509.ExtensionType, bool], **more: object
) -> Authority:
    return h.authority(of, label, extensions or h.code_extensions(), **more)  # type: ignore[arg-type]


def chain_of(*authorities: Authority, extensions: certificates.Extensions = h.CODE_LEAF) -> Case:
    """A chain below the root through ``authorities``, topmost first, with a leaf."""
    issuer = authorities[-1] if authorities else h.the_root()
    return Case(h.leaf(issuer, extensions), authorities[::-1])


def of_ca(path_length: int | None = None, **changed: object) -> list[tuple[x509.ExtensionType, bool]]:
    """An authority's extensions with one of them replaced, or left out (``None``)."""
    parts: dict[str, object] = {
        "basic": (x509.BasicConstraints(ca=True, path_length=path_length), True),
        "usage": (certificates.usage_of("key_cert_sign", "crl_sign"), True),
        "purpose": h.CODE_PURPOSE,
    } | changed
    return [part for part in parts.values() if part is not None]  # type: ignore[misc]


def of_leaf(**changed: object) -> list[tuple[x509.ExtensionType, bool]]:
    parts: dict[str, object] = dict(zip(("basic", "usage", "purpose"), h.CODE_LEAF, strict=True)) | changed
    return [part for part in parts.values() if part is not None]  # type: ignore[misc]


def name_space() -> tuple[x509.ExtensionType, bool]:
    permitted = [x509.DirectoryName(name_of("Signers"))]
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), True


def excluded_space() -> tuple[x509.ExtensionType, bool]:
    excluded = [x509.DirectoryName(name_of("Signers"))]
    return x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=excluded), True


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55738.666.1"), b"\x05\x00")
PAST, FUTURE = Validity(NOW - 9 * DAY, NOW - DAY), Validity(NOW + DAY, NOW + 9 * DAY)
NO_SIGN = (certificates.usage_of("crl_sign"), True)
NO_LISTS = (certificates.usage_of("key_cert_sign"), True)
NOT_CA = (x509.BasicConstraints(ca=False, path_length=None), True)


def impostor_of(real: Authority) -> Authority:
    """The same name and another key."""
    return Authority(
        certificates.issue(
            None, real.certificate.subject, h.key("impostor").public_key(), h.YEARS, h.code_extensions(),
            own_key=h.key("impostor"),
        ),
        h.key("impostor"),
    )  # fmt: skip


def signed_by_impostor(of: Authority) -> x509.Certificate:
    """Names ``of`` as its issuer, and is signed by somebody else."""
    return h.leaf(Authority(of.certificate, h.key("impostor")), h.CODE_LEAF)


def nested(*lengths: int | None) -> Case:
    made = [h.the_root()]
    for number, length in enumerate(lengths):
        made.append(h.authority(made[-1], f"level {number}", h.code_extensions(length)))
    return chain_of(*made[1:])


def self_issued(length: int) -> Case:
    """An authority that issues itself a new certificate, which path lengths do not count."""
    first = h.authority(h.the_root(), "self", h.code_extensions(length))
    again = h.authority(first, "self again", h.code_extensions(length), subject=first.certificate.subject)
    return chain_of(first, again)


def misnamed_list() -> bytes:
    renamed = h.authority(h.the_root(), "renamed", h.code_extensions())
    return h.list_of(Authority(renamed.certificate, h.key("platform")), number=99)


ACCEPTED: dict[str, Callable[[], Case]] = {
    "PKITS 4.1.1 / limbo rfc5280::ca-and-leaf: valid signatures": h.release_case,
    "PKITS 4.2.8: notAfter as GeneralizedTime": lambda: chain_of(
        below(h.the_root(), "long", validity=Validity(h.YEARS.begin, certificates.FOREVER))
    ),
    "PKITS 4.4.16: long serial numbers": h.supplier_case,
    "PKITS 4.6.4: basic constraints": lambda: chain_of(below(h.the_root(), "plain")),
    "PKITS 4.6.7: pathLen 0, leaf below": lambda: nested(0),
    "PKITS 4.6.13: pathLen 2, 1, 0": lambda: nested(2, 1, 0),
    "PKITS 4.6.15: pathLen 0 and a self-issued authority": lambda: self_issued(0),
    "PKITS 4.13.1: a name within the permitted space": lambda: chain_of(
        below(h.the_root(), "space", *of_ca(), name_space())
    ),
    "limbo rfc5280::crl::certificate-not-on-crl": lambda: h.release_case().with_lists(
        h.list_of(h.the_platform(), h.signer(h.the_supplier(), None)), h.list_of(h.the_root())
    ),
    "a later list with the platform's key but another name lies beside": lambda: h.release_case().with_lists(
        h.list_of(h.the_platform()), h.list_of(h.the_root()), misnamed_list()
    ),
    "limbo rfc5280::crl::certificate-serial-on-crl-different-issuer": lambda: h.release_case().with_lists(
        h.list_of(h.the_platform()),
        h.list_of(h.the_root()),
        h.list_of(h.the_supplier(), h.release_case().leaf),
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_path_that_rfc_5280_allows_is_accepted(name: str) -> None:
    """Cases named after NIST PKITS (sections) or x509-limbo (namespaces)."""
    verdict(ACCEPTED[name]())


def space() -> Authority:
    return below(h.the_root(), "space", *of_ca(), name_space())


def outside_space() -> x509.Certificate:
    return certificates.issue(
        space(), name_of("Others", common="x"), h.signing_key("signer").public_key(), h.YEARS, h.CODE_LEAF
    )


def expired_root() -> Case:
    old = certificates.root(h.MAKER, h.key("old root"), PAST)
    return Case(h.leaf(below(old, "p"), h.CODE_LEAF), [below(old, "p")], root=old)


def odd_root(extensions: certificates.Extensions) -> Case:
    own = h.key("odd root")
    subject = name_of(h.MAKER, common="Odd Root")
    odd = Authority(
        certificates.issue(None, subject, own.public_key(), h.YEARS, extensions, own_key=own), own
    )
    child = below(odd, "child of odd")
    return Case(h.leaf(child, h.CODE_LEAF), [child], root=odd)


def built(
    of: Authority,
    extensions: certificates.Extensions,
    hashed: SHA256 | SHA384,
    key_identifiers: tuple[str, ...],
) -> Case:
    """A leaf with only those key identifiers that are named, its signature over that hash."""
    public = h.signing_key("signer").public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of("Signers"))
        .issuer_name(of.certificate.subject)
        .public_key(public)
        .serial_number(7)
        .not_valid_before(h.YEARS.begin)
        .not_valid_after(h.YEARS.end)
    )
    if "own" in key_identifiers:
        extensions = [*extensions, (x509.SubjectKeyIdentifier.from_public_key(public), False)]
    if "issuer" in key_identifiers:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(of.key.public_key())
        extensions = [*extensions, (issuer, False)]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Case(builder.sign(of.key, hashed), [of])


def without_identifier(is_root: bool) -> Case:
    """An authority without a key identifier of its own, or a root without one."""
    own = h.key("nameless")
    above = Authority(h.the_root().certificate, h.key("root"))
    subject = name_of(h.MAKER, common="Nameless")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if is_root else above.certificate.subject)
        .public_key(own.public_key())
        .serial_number(8)
        .not_valid_before(h.YEARS.begin)
        .not_valid_after(h.YEARS.end)
    )
    signing = own if is_root else above.key
    of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    for extension, critical in [*h.code_extensions(), (of_issuer, False)]:
        builder = builder.add_extension(extension, critical)
    nameless = Authority(builder.sign(signing, SHA256()), own)
    if is_root:
        child = below(nameless, "child of nameless")
        return Case(h.leaf(child, h.CODE_LEAF), [child], root=nameless)
    return chain_of(nameless)


def pathlen_after_self_issued() -> Case:
    first = h.authority(h.the_root(), "self", h.code_extensions(0))
    again = h.authority(first, "self again", h.code_extensions(0), subject=first.certificate.subject)
    return chain_of(first, again, below(again, "one too many"))


def the_factory() -> Authority:
    return certificates.factory_authority(h.the_root(), "Signers", "North", h.key("factory"), h.YEARS)


def two_roots() -> Case:
    twin = certificates.root(h.MAKER, h.key("twin root"), h.YEARS)
    assert twin.certificate.subject == h.the_root().certificate.subject
    child = below(twin, "child of twin")
    return Case(h.leaf(child, h.CODE_LEAF), [child], root=h.the_root())


def on_another_curve() -> Case:
    other = generate_private_key(SECP384R1())
    made = certificates.issue(h.the_root(), name_of("P384"), other.public_key(), h.YEARS, h.code_extensions())
    return chain_of(Authority(made, other))


REFUSED_CHAINS: dict[str, Callable[[], Case]] = {
    "PKITS 4.1.2: authority signed by another key": lambda: chain_of(
        below(Authority(h.the_root().certificate, h.key("impostor")), "bad signature")
    ),
    "PKITS 4.1.3: leaf signed by another key": lambda: Case(
        signed_by_impostor(h.the_platform()), [h.the_platform()]
    ),
    "PKITS 4.2.1: authority not yet valid": lambda: chain_of(below(h.the_root(), "early", validity=FUTURE)),
    "PKITS 4.2.2: leaf not yet valid": lambda: Case(
        h.leaf(h.the_platform(), h.CODE_LEAF, validity=FUTURE), [h.the_platform()]
    ),
    "PKITS 4.2.5 / limbo validity::expired-intermediate": lambda: chain_of(
        below(h.the_root(), "expired", validity=PAST)
    ),
    "PKITS 4.2.6 / limbo validity::expired-leaf": lambda: Case(
        h.leaf(h.the_platform(), h.CODE_LEAF, validity=PAST), [h.the_platform()]
    ),
    "limbo validity::expired-root": expired_root,
    "PKITS 4.3.1: the issuer's name does not chain": lambda: Case(
        h.leaf(Authority(h.the_supplier().certificate, h.key("platform")), h.CODE_LEAF), [h.the_platform()]
    ),
    "PKITS 4.6.1 / limbo intermediate-ca-missing-basic-constraints": lambda: chain_of(
        below(h.the_root(), "none", *of_ca(basic=None))
    ),
    "PKITS 4.6.2 / limbo intermediate-ca-without-ca-bit": lambda: chain_of(
        below(h.the_root(), "no ca", *of_ca(basic=NOT_CA))
    ),
    "PKITS 4.6.3: cA false, not critical": lambda: chain_of(
        below(h.the_root(), "no ca 2", *of_ca(basic=(NOT_CA[0], False)))
    ),
    "PKITS 4.6.5 / limbo pathlen::intermediate-violates-pathlen-0": lambda: nested(0, None),
    "PKITS 4.6.9: pathLen 1, two below": lambda: nested(1, 1, 1),
    "PKITS 4.6.11: pathLen 2, 3 allowed below, three below": lambda: nested(2, 3, 3, 3),
    "PKITS 4.6.16: pathLen 0, self-issued, then another": pathlen_after_self_issued,
    "PKITS 4.7.1 / limbo ica-ku-keycertsign: keyCertSign not set": lambda: chain_of(
        below(h.the_root(), "no sign", *of_ca(usage=NO_SIGN))
    ),
    "PKITS 4.7.2: keyCertSign not set, not critical": lambda: chain_of(
        below(h.the_root(), "no sign 2", *of_ca(usage=(NO_SIGN[0], False)))
    ),
    "PKITS 4.13.2: a name outside the permitted space": lambda: Case(outside_space(), [space()]),
    "PKITS 4.13.7: a name in the excluded space": lambda: chain_of(
        below(h.the_root(), "excluded", *of_ca(), excluded_space())
    ),
    "PKITS 4.13.20-like: an authority below leaves the space": lambda: chain_of(
        space(), below(space(), "outsider")
    ),
    "PKITS 4.16.2 / limbo unknown-critical-extension-ee": lambda: chain_of(
        h.the_platform(), extensions=[*h.CODE_LEAF, (UNKNOWN, True)]
    ),
    "limbo unknown-critical-extension-intermediate": lambda: chain_of(
        below(h.the_root(), "critical", *of_ca(), (UNKNOWN, True))
    ),
    "limbo unknown-critical-extension-root": lambda: odd_root([*h.code_extensions(), (UNKNOWN, True)]),
    "PKITS 4.16.1, stricter here: an unknown extension that is not critical": lambda: chain_of(
        h.the_platform(), extensions=[*h.CODE_LEAF, (UNKNOWN, False)]
    ),
    "PKITS 4.8, stricter here: certificate policies": lambda: chain_of(
        h.the_platform(),
        extensions=[
            *h.CODE_LEAF,
            (
                x509.CertificatePolicies(
                    [x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)]
                ),
                False,
            ),
        ],
    ),
    "limbo root-missing-basic-constraints": lambda: odd_root(of_ca(basic=None)),
    "limbo root-non-critical-basic-constraints": lambda: odd_root(
        of_ca(basic=(x509.BasicConstraints(ca=True, path_length=None), False))
    ),
    "limbo root-inconsistent-ca-extensions": lambda: odd_root(of_ca(usage=NO_SIGN)),
    "limbo leaf-ku-keycertsign": lambda: chain_of(
        h.the_platform(),
        extensions=of_leaf(usage=(certificates.usage_of("digital_signature", "key_cert_sign"), True)),
    ),
    "limbo eku::ee-without-eku: the leaf has no purpose": lambda: chain_of(
        h.the_platform(), extensions=of_leaf(purpose=None)
    ),
    "limbo webpki::eku::ee-anyeku: any purpose is none": lambda: chain_of(
        h.the_platform(),
        extensions=of_leaf(
            purpose=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)
        ),
    ),
    "limbo eku::ee-wrong-eku: for TLS": lambda: chain_of(
        h.the_platform(),
        extensions=of_leaf(purpose=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)),
    ),
    "an authority without the purpose": lambda: chain_of(
        below(h.the_root(), "aimless", *of_ca(purpose=None))
    ),
    "limbo no-keyusage, stricter here": lambda: chain_of(h.the_platform(), extensions=of_leaf(usage=None)),
    "limbo no-basicconstraints, stricter here": lambda: chain_of(
        h.the_platform(), extensions=of_leaf(basic=None)
    ),
    "limbo pathlen::ee-with-intermediate: a leaf that is an authority": lambda: chain_of(
        h.the_platform(), extensions=[*h.code_extensions(0)]
    ),
    "limbo pathlen::ee-with-intermediate: a leaf that is an authority by name only": lambda: chain_of(
        h.the_platform(), extensions=of_leaf(basic=(x509.BasicConstraints(ca=True, path_length=0), True))
    ),
    "a leaf whose key is not for signatures": lambda: chain_of(
        h.the_platform(), extensions=of_leaf(usage=(certificates.usage_of("content_commitment"), True))
    ),
    "a leaf whose key also signs lists": lambda: chain_of(
        h.the_platform(),
        extensions=of_leaf(usage=(certificates.usage_of("digital_signature", "crl_sign"), True)),
    ),
    "limbo webpki::forbidden-signature-algorithm-in-leaf: another hash": lambda: built(
        h.the_platform(), h.CODE_LEAF, SHA384(), ("own", "issuer")
    ),
    "limbo aki::leaf-missing-aki": lambda: built(h.the_platform(), h.CODE_LEAF, SHA256(), ("own",)),
    "limbo ski::intermediate-missing-ski": lambda: without_identifier(is_root=False),
    "limbo ski::root-missing-ski": lambda: without_identifier(is_root=True),
    "a factory signs code": lambda: chain_of(the_factory()),
    "limbo chain-untrusted-root: two roots with one name": two_roots,
    "the root itself is in the chain": lambda: Case(
        h.signer(h.the_platform()), [h.the_platform(), h.the_root()]
    ),
    "a certificate that leads nowhere": lambda: Case(
        h.signer(h.the_platform()), [h.the_platform(), h.the_supplier()]
    ),
    "an authority is missing": lambda: Case(h.signer(h.the_supplier()), [h.the_supplier()]),
    "limbo webpki::forbidden-p384-like: an authority on another curve": on_another_curve,
}


#: Where OpenSSL and the profile would both refuse: the profile speaks first, and so is seen to be there.
IN_OUR_WORDS = {
    "PKITS 4.6.2 / limbo intermediate-ca-without-ca-bit": "does not say that it is an authority",
    "PKITS 4.7.1 / limbo ica-ku-keycertsign: keyCertSign not set": "its key usage does not fit",
    "limbo leaf-ku-keycertsign": "its key usage does not fit",
    "limbo pathlen::ee-with-intermediate: a leaf that is an authority by name only": "does not say that it is no",
}


@pytest.mark.parametrize("name", REFUSED_CHAINS)
def test_a_path_that_rfc_5280_or_the_profile_forbids_is_refused(name: str) -> None:
    """Cases named after NIST PKITS (sections) or x509-limbo (namespaces); made here, with our own kinds of key."""
    case = REFUSED_CHAINS[name]()
    with pytest.raises(Refused, match=IN_OUR_WORDS.get(name)):
        verdict(case)
    assert rule_against(case.chain, case.trust) == "chain"
    # And it is this rule alone that keeps it out.
    verdict(case, without=frozenset({"chain", "revocation"}))


def test_a_root_whose_key_is_not_the_one_in_the_fuses_is_refused() -> None:
    case = two_roots()
    other = der_of(certificates.root(h.MAKER, h.key("twin root"), h.YEARS))
    assert rule_against(case.chain, replace(case.trust, root=other)) == "chain"


def test_the_order_of_the_chain_is_its_own() -> None:
    case = h.supplier_case()
    leaf, supplier, platform = case.chain
    assert rule_against([leaf, platform, supplier], case.trust) == "chain"
    assert rule_against([leaf, leaf, supplier, platform], case.trust) == "chain"


def test_a_leaf_with_a_key_of_another_kind_is_refused() -> None:
    made = certificates.issue(
        h.the_platform(), name_of("Signers"), h.key("p256 leaf").public_key(), h.YEARS, h.CODE_LEAF
    )
    case = Case(made, [h.the_platform()])
    assert rule_against(case.chain, case.trust) == "form"


def der_of(authority: Authority) -> bytes:
    return h.der(authority.certificate)


def revoking(what: str) -> Case:
    case = h.supplier_case()
    gone = {
        "leaf": case.leaf,
        "supplier": h.the_supplier().certificate,
        "platform": h.the_platform().certificate,
    }[what]
    return case.with_lists(*(h.list_of(a, gone) for a in (*case.authorities, case.root)))


def odd_list(of: Authority, **changed: object) -> bytes:
    """A list with one thing about it that is not plain."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(of.certificate.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
    )
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(of.key.public_key())
    parts: dict[str, object] = {"number": (x509.CRLNumber(1), False), "key": (identifier, False)} | {
        name: value for name, value in changed.items() if name != "entry"
    }
    for part in parts.values():
        if part is not None:
            builder = builder.add_extension(*part)  # type: ignore[misc]
    entry = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(NOW - DAY)
    if "entry" in changed:
        entry = entry.add_extension(*changed["entry"])  # type: ignore[misc]
    return builder.add_revoked_certificate(entry.build()).sign(of.key, SHA256()).public_bytes(Encoding.DER)


def platform_list(**changed: object) -> Case:
    return h.release_case().with_lists(odd_list(h.the_platform(), **changed), h.list_of(h.the_root()))


def signed_with_sha384() -> Case:
    made = certificates.revocation_list(h.the_platform(), {}, 1, NOW - DAY, NOW + DAY)
    builder = x509.CertificateRevocationListBuilder(
        made.issuer, made.last_update_utc, made.next_update_utc, list(made.extensions), []
    )
    return h.release_case().with_lists(
        builder.sign(h.key("platform"), SHA384()).public_bytes(Encoding.DER), h.list_of(h.the_root())
    )


DISTRIBUTION = x509.IssuingDistributionPoint(
    full_name=None, relative_name=None, only_contains_user_certs=False, only_contains_ca_certs=True,
    only_some_reasons=None, indirect_crl=False, only_contains_attribute_certs=False,
)  # fmt: skip


def forged_list(of: Authority, wrong: EllipticCurvePrivateKey) -> bytes:
    """Says that it is of the authority's name and key, and is signed by another."""
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(of.key.public_key())
    builder = x509.CertificateRevocationListBuilder(
        of.certificate.subject, NOW - DAY, NOW + DAY
    ).add_extension(x509.CRLNumber(1), critical=False)
    signed = builder.add_extension(identifier, critical=False).sign(wrong, SHA256())
    return signed.public_bytes(Encoding.DER)


REFUSED_LISTS: dict[str, tuple[str, Callable[[], Case]]] = {
    "PKITS 4.4.1: no list at all": ("revocation", lambda: h.release_case().with_lists()),
    "PKITS 4.4.1: the platform's list is missing": (
        "revocation",
        lambda: h.release_case().with_lists(h.list_of(h.the_root())),
    ),
    "PKITS 4.4.1: the root's list is missing": (
        "revocation",
        lambda: h.release_case().with_lists(h.list_of(h.the_platform())),
    ),
    "PKITS 4.4.2: an authority is revoked": ("revocation", lambda: revoking("supplier")),
    "PKITS 4.4.2: the platform is revoked": ("revocation", lambda: revoking("platform")),
    "PKITS 4.4.3 / limbo crl::revoked-certificate-with-crl": ("revocation", lambda: revoking("leaf")),
    "PKITS 4.4.4 / limbo crl::crl-wrong-signing-key": (
        "revocation",
        lambda: h.release_case().with_lists(
            forged_list(h.the_platform(), h.key("impostor")), h.list_of(h.the_root())
        ),
    ),
    "PKITS 4.4.5: the list names another issuer": (
        "revocation",
        lambda: h.release_case().with_lists(h.list_of(h.the_supplier()), h.list_of(h.the_root())),
    ),
    "PKITS 4.4.6: the list of the root for everybody": (
        "revocation",
        lambda: h.release_case().with_lists(h.list_of(h.the_root()), h.list_of(h.the_root())),
    ),
    "a list of another authority with the same name": (
        "revocation",
        lambda: h.release_case().with_lists(
            h.list_of(impostor_of(h.the_platform())), h.list_of(h.the_root())
        ),
    ),
    "limbo crl::issuer-missing-crlsign": (
        "revocation",
        lambda: chain_of(below(h.the_root(), "no lists", *of_ca(usage=NO_LISTS))),
    ),
    "PKITS 4.4.8: an unknown extension of an entry": ("form", lambda: platform_list(entry=(UNKNOWN, True))),
    "PKITS 4.4.9: an unknown critical extension of a list": (
        "form",
        lambda: platform_list(more=(UNKNOWN, True)),
    ),
    "PKITS 4.14, stricter here: a list for some certificates only": (
        "form",
        lambda: platform_list(more=(DISTRIBUTION, True)),
    ),
    "stricter here: an unknown extension of a list that is not critical": (
        "form",
        lambda: platform_list(more=(UNKNOWN, False)),
    ),
    "PKITS 4.15: a delta list": ("form", lambda: platform_list(more=(x509.DeltaCRLIndicator(1), True))),
    "limbo crl::crlnumber-missing": ("form", lambda: platform_list(number=None)),
    "limbo crl::crlnumber-critical": ("form", lambda: platform_list(number=(x509.CRLNumber(1), True))),
    "a list without its authority's key": ("form", lambda: platform_list(key=None)),
    "a list signed with another hash": ("form", signed_with_sha384),
}


@pytest.mark.parametrize("name", REFUSED_LISTS)
def test_a_list_that_revokes_or_cannot_be_believed_is_refused(name: str) -> None:
    """Cases named after NIST PKITS (sections) or x509-limbo (namespaces); made here, with our own kinds of key."""
    rule, make = REFUSED_LISTS[name]
    case = make()
    assert rule_against(case.chain, case.trust) == rule
    verdict(case, without=frozenset({"revocation"}))


def test_the_refusal_names_the_signer_and_the_certificate() -> None:
    case = revoking("supplier")
    with pytest.raises(Refused) as refused:
        verdict(case)
    assert refused.value.signer == "CN=signer,O=Signers"
    assert refused.value.sentence == "CN=Signing,O=Courier Software: certificate revoked"


def test_bounds_of_the_shape_in_flash_are_bounds_here() -> None:
    assert (under_test.CHAIN_CERTIFICATES_MAX, under_test.CERTIFICATE_BYTES_MAX) == (6, 8_192)
