"""Who may sign what: hostile chains, lists and scopes, each refused by its own rule; every byte counts."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from boot.authority import Trust, key_sha256_of, require_fresh_lists, require_scope, signer_of
from boot.refusal import Refused
from boot.scope import NOTHING, SCOPE, Scope, decode_scope, encode_scope
from ipc_schemas.release import LIST_NUMBER_MAX, Manifest, Part, Release, Role, SafetyClass
from tests.support import hierarchy as h
from tests.support.hierarchy import DAY, NOW, Case, rule_against, verdict
from world.factory import certificates
from world.factory.certificates import Validity


def manifest(image: str, safety_class: SafetyClass = "A", role: Role = "partition") -> Manifest:
    """What a supplier would say of an image; only what a scope looks at differs."""
    return Manifest(
        format=1, role=role, image=image, version="1", safety_class=safety_class, hardware_id="pump-1",
        security_counter=0, image_bytes=1, image_sha256=bytes(32), sbom_sha256=bytes(32),
    )  # fmt: skip


RELEASE = Release(1, "pump", "1", "pump-1", (Part("monitor", bytes(32)),))


# What is sound


def test_the_makers_signer_may_sign_every_image_and_the_release() -> None:
    signer = verdict(h.release_case())
    assert signer.name == "CN=signer,O=Signers"
    signed = h.signing_key("signer").sign(b"manifest")
    signer.public_key.verify(signed, b"manifest")
    for subject in (manifest("therapy", "C"), manifest("bootloader", "C", "bootloader"), RELEASE):
        require_scope(signer, subject)


def test_each_authority_of_the_chain_has_a_list_that_was_consulted() -> None:
    signer = verdict(h.supplier_case())
    assert [seen.authority.partition(",")[0] for seen in signer.lists] == [
        "CN=Signing",
        "CN=Platform",
        "CN=Root",
    ]
    assert {seen.number for seen in signer.lists} == {1}


def test_the_time_zone_of_now_does_not_matter() -> None:
    case = h.release_case()
    late = Validity(NOW - DAY, NOW + timedelta(minutes=1))
    case = replace(case, leaf=h.leaf(h.the_platform(), h.CODE_LEAF, validity=late))
    far_east = timezone(timedelta(hours=14))
    verdict(case, NOW.astimezone(far_east))
    assert rule_against(case.chain, case.trust, (NOW + timedelta(minutes=2)).astimezone(far_east)) == "chain"


# Scope


@pytest.mark.parametrize(
    ("subject", "lacks"),
    [
        (manifest("therapy", "A"), "the partition therapy"),
        (manifest("therapy", "C"), "safety class C"),
        (manifest("transfer", "B"), "safety class B"),
        (manifest("monitor", "A", "monitor"), "the role monitor"),
        (manifest("transfer", "A", "design"), "the role design"),
        (RELEASE, "the role release"),
    ],
)
def test_a_transfer_supplier_signs_transfer_and_nothing_else(subject: Manifest | Release, lacks: str) -> None:
    signer = verdict(Case(h.signer(h.the_platform(), h.TRANSFER_ONLY), [h.the_platform()]))
    require_scope(signer, manifest("transfer"))
    with pytest.raises(Refused, match=f"may not vouch for {lacks}") as refused:
        require_scope(signer, subject)
    assert (refused.value.rule, refused.value.signer) == ("scope", "CN=signer,O=Signers")


def test_a_suppliers_authority_cannot_widen_what_it_was_given() -> None:
    signer = verdict(h.supplier_case())
    assert signer.scope == h.TRANSFER_ONLY
    require_scope(signer, manifest("transfer"))
    with pytest.raises(Refused, match="therapy"):
        require_scope(signer, manifest("therapy"))


def test_a_leaf_without_a_scope_vouches_for_nothing() -> None:
    for authorities in ([h.the_platform()], [h.the_supplier(), h.the_platform()]):
        signer = verdict(Case(h.signer(authorities[0], None), authorities))
        assert signer.scope == NOTHING
        for subject in (manifest("transfer"), RELEASE):
            with pytest.raises(Refused, match="may not vouch"):
                require_scope(signer, subject)


names = st.lists(st.sampled_from(["therapy", "transfer", "viewer"]), unique=True).map(tuple)
scopes = st.builds(
    Scope,
    roles=st.lists(st.sampled_from(h.EVERYTHING.roles), unique=True).map(tuple),
    partitions=names,
    safety_classes=st.lists(st.sampled_from("ABC"), unique=True).map(tuple),
    every_partition=st.booleans(),
)
subjects = st.builds(manifest, st.sampled_from(["therapy", "transfer"]), st.sampled_from("ABC"))


@given(scopes, scopes, subjects)
def test_two_scopes_together_allow_what_each_of_them_allows(
    one: Scope, other: Scope, subject: Manifest
) -> None:
    both = not one.lacks(subject) and not other.lacks(subject)
    assert both == (not one.within(other).lacks(subject)) == (not other.within(one).lacks(subject))


@given(scopes)
def test_a_scope_comes_back_from_its_one_encoding(scope: Scope) -> None:
    back = decode_scope(encode_scope(scope))
    assert encode_scope(back) == encode_scope(scope)
    assert set(back.partitions) == set(scope.partitions)


@asn1.sequence
class LooseScope:
    """A scope's encoding with anything in it."""

    roles: list[str]
    partitions: list[str]
    safety_classes: list[str]
    every_partition: bool


def loose(roles: list[str], partitions: list[str], classes: list[str]) -> bytes:
    return asn1.encode_der(
        LooseScope(roles=roles, partitions=partitions, safety_classes=classes, every_partition=False)
    )


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x05\x00",
        b"\x30" * 4000,
        encode_scope(h.TRANSFER_ONLY) + b"\0",
        encode_scope(h.TRANSFER_ONLY)[:-1] + b"\x01",  # a BOOLEAN that is neither 0 nor 255
        loose(["king"], [], []),
        loose(["release", "partition"], [], []),
        loose(["partition", "partition"], [], []),
        loose(["partition"], ["../therapy"], ["A"]),
        loose(["partition"], ["p" * 64], ["A"]),
        loose(["partition"], [f"p{n:03}" for n in range(65)], ["A"]),
        loose(["partition"], ["transfer"], ["D"]),
    ],
)
def test_a_scope_that_is_not_the_one_encoding_of_a_scope_is_refused(value: bytes) -> None:
    extensions = [*h.CODE_LEAF, (x509.UnrecognizedExtension(SCOPE, value), False)]
    case = Case(h.leaf(h.the_platform(), extensions), [h.the_platform()])
    assert rule_against(case.chain, case.trust) == "form"


# Every byte counts


def flips(original: bytes) -> list[bytes]:
    """``original`` with one bit changed, each in turn."""
    changed = []
    for bit in range(len(original) * 8):
        copy = bytearray(original)
        copy[bit // 8] ^= 1 << bit % 8
        changed.append(bytes(copy))
    return changed


def test_a_certificate_with_any_one_bit_changed_is_refused() -> None:
    """All bits of all certificates of a chain, the root's too."""
    case = h.release_case()
    chain, trust = case.chain, case.trust
    assert is_accepted(chain, trust)
    leaf, platform = chain
    accepted = [changed for changed in flips(leaf) if is_accepted([changed, platform], trust)]
    accepted += [changed for changed in flips(platform) if is_accepted([leaf, changed], trust)]
    accepted += [changed for changed in flips(trust.root) if is_accepted(chain, replace(trust, root=changed))]
    assert accepted == []


def test_a_revocation_list_with_any_one_bit_changed_is_refused() -> None:
    """All bits of both lists that a chain needs; one of them revokes somebody else."""
    of_platform = h.list_of(h.the_platform(), h.signer(h.the_supplier(), None))
    of_root = h.list_of(h.the_root())
    case = h.release_case().with_lists(of_platform, of_root)
    chain, trust = case.chain, case.trust
    assert is_accepted(chain, trust)
    shown = [(changed, of_root) for changed in flips(of_platform)]
    shown += [(of_platform, changed) for changed in flips(of_root)]
    assert [lists for lists in shown if is_accepted(chain, replace(trust, lists=lists))] == []


def test_one_bit_changed_raises_nothing_but_a_refusal_when_the_chain_is_left_out() -> None:
    case = h.release_case()
    (leaf, platform), trust = case.chain, case.trust
    alone = frozenset({"chain"})
    for changed in flips(leaf):
        is_accepted([changed, platform], trust, alone)
    for changed in flips(trust.lists[0]):
        is_accepted([leaf, platform], replace(trust, lists=[changed]), alone)


def test_the_count_of_unused_bits_before_a_signature_is_not_free() -> None:
    """It is not signed; where the signature ends in a zero bit, a lax reader would let a 1 pass for the 0."""
    fresh = iter(lambda: h.leaf(h.the_platform(), h.CODE_LEAF), None)
    leaf = next(made for made in fresh if made.signature[-1] & 1 == 0)
    case = Case(leaf, [h.the_platform()])
    assert is_accepted(case.chain, case.trust)
    assert not is_accepted([with_an_unused_bit(case.chain[0], leaf.signature), case.chain[1]], case.trust)
    lists = iter(lambda: h.list_of(h.the_platform()), None)
    even = next(made for made in lists if made[-1] & 1 == 0)
    signature = x509.load_der_x509_crl(even).signature
    shown = case.with_lists(with_an_unused_bit(even, signature), h.list_of(h.the_root()))
    assert not is_accepted(shown.chain, shown.trust)


def with_an_unused_bit(der: bytes, signature: bytes) -> bytes:
    """``der``, its signature said to end one bit earlier."""
    assert der.endswith(b"\0" + signature)
    return der[: -len(signature) - 1] + b"\1" + signature


def is_accepted(chain: list[bytes], trust: Trust, without: frozenset[str] = frozenset()) -> bool:
    """Whether there is a signer. Anything raised that is no refusal ends the test."""
    try:
        signer_of(chain, trust, NOW, without)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("end", [0, 1, 4, 100, -1])
def test_a_certificate_or_list_that_is_cut_short_is_refused(end: int) -> None:
    case = h.release_case()
    chain, trust = case.chain, case.trust
    assert rule_against([chain[0][:end], chain[1]], trust) == "form"
    assert rule_against([chain[0], chain[1][:end]], trust) == "form"
    assert rule_against(chain, replace(trust, root=trust.root[:end])) == "form"
    assert rule_against(chain, replace(trust, lists=[trust.lists[0][:end], *trust.lists[1:]])) == "form"


@pytest.mark.parametrize("more", [b"\0", b"\x30\x00"])
def test_bytes_after_the_end_are_refused(more: bytes) -> None:
    case = h.release_case()
    chain, trust = case.chain, case.trust
    assert rule_against([chain[0] + more, chain[1]], trust) == "form"
    assert rule_against(chain, replace(trust, lists=[trust.lists[0] + more, *trust.lists[1:]])) == "form"


def test_too_many_or_too_large_are_refused_before_they_are_read() -> None:
    case = h.release_case()
    chain, trust = case.chain, case.trust
    began = time.monotonic()
    assert rule_against([], trust) == "form"
    assert rule_against([*chain, *chain[1:] * 5], trust) == "form"
    assert rule_against([b"\x30\x83" + bytes(1 << 24)], trust) == "form"
    assert rule_against(chain, replace(trust, root=b"\x30" * (1 << 24))) == "form"
    assert rule_against(chain, replace(trust, lists=list(trust.lists) * 9)) == "form"
    assert rule_against(chain, replace(trust, lists=[b"\x30" * (1 << 24)])) == "form"
    assert time.monotonic() - began < 5


def test_what_is_sound_but_too_large_is_refused_for_its_size() -> None:
    padding = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.9"), bytes(9_000))
    large = Case(h.leaf(h.the_platform(), [*h.CODE_LEAF, (padding, False)]), [h.the_platform()])
    assert rule_against(large.chain, large.trust) == "form"
    revoked = dict.fromkeys(range(1, 4000), NOW - DAY)
    long_list = certificates.revocation_list(h.the_platform(), revoked, 1, NOW - DAY, NOW + DAY)
    case = h.release_case().with_lists(long_list.public_bytes(Encoding.DER), h.list_of(h.the_root()))
    assert rule_against(case.chain, case.trust) == "form"


def reissued(version_and_serial: bytes) -> bytes:
    """A sound leaf, its version and serial number replaced by other bytes and signed anew."""
    content = h.leaf(h.the_platform(), h.CODE_LEAF).tbs_certificate_bytes[4:]  # after tag and length
    serial_bytes = content[6]
    return signed_anew(version_and_serial + content[7 + serial_bytes :])


def signed_anew(content: bytes) -> bytes:
    """A certificate or list with this content, signed by the platform."""
    signed = sequence(content)
    signature = h.key("platform").sign(signed, ECDSA(SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    return sequence(signed + algorithm + b"\x03" + bytes((len(signature) + 1, 0)) + signature)


def sequence(content: bytes) -> bytes:
    """DER of a SEQUENCE."""
    count = len(content)
    length = bytes((count,)) if count < 0x80 else b"\x81" + bytes((count,)) if count < 0x100 else b""
    return b"\x30" + (length or b"\x82" + count.to_bytes(2)) + content


V3 = bytes.fromhex("a003020102")


HEADS = {
    "sound": (V3 + b"\x02\x01\x05", True),
    "PKITS 4.4.16: 20 octets": (V3 + b"\x02\x14\x7f" + bytes(19), True),
    "limbo serial::too-long: 21 octets": (V3 + b"\x02\x15\x01" + bytes(20), False),
    "limbo serial::zero": (V3 + b"\x02\x01\x00", False),
    "PKITS 4.4.14 / limbo serial::negative": (V3 + b"\x02\x01\x85", False),
    "version 1 with extensions": (b"\x02\x01\x05", False),
    "version 2 with extensions": (bytes.fromhex("a003020101") + b"\x02\x01\x05", False),
    "a serial number that is not minimal": (V3 + b"\x02\x02\x00\x05", False),
}


@pytest.mark.parametrize("name", HEADS)
def test_serial_numbers_and_versions_are_of_the_standard(name: str) -> None:
    """Warnings are let pass here, as a stage would: what a library only warns of has to be refused all the same."""
    head, accepted = HEADS[name]
    case = h.release_case()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert is_accepted([reissued(head), case.chain[1]], case.trust) == accepted


def test_a_list_that_does_not_say_when_the_next_one_comes_is_refused() -> None:
    made = x509.load_der_x509_crl(h.list_of(h.the_platform()))
    time_bytes = 15  # of a UTCTime, tag and length included
    at = made.tbs_certlist_bytes.index(b"\x17\x0d") + time_bytes
    content = made.tbs_certlist_bytes[3 if made.tbs_certlist_bytes[1] == 0x81 else 2 :]
    at -= len(made.tbs_certlist_bytes) - len(content)
    assert content[at : at + 2] == b"\x17\x0d"
    endless = signed_anew(content[:at] + content[at + time_bytes :])
    case = h.release_case()
    assert is_accepted(case.chain, replace(case.trust, lists=[signed_anew(content), h.list_of(h.the_root())]))
    assert rule_against(case.chain, replace(case.trust, lists=[endless, h.list_of(h.the_root())])) == "form"


def test_what_a_library_only_warns_of_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = x509.NameAttribute(NameOID.COUNTRY_NAME, "Utopia", _validate=False)
        key = h.signing_key("signer").public_key()
        leaf = certificates.issue(h.the_platform(), x509.Name([odd]), key, h.YEARS, h.CODE_LEAF)
        case = Case(leaf, [h.the_platform()])
        assert rule_against(case.chain, case.trust) == "form"


@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(0, 3))
@settings(max_examples=200)
def test_arbitrary_bytes_are_refused_and_raise_nothing_else(noise: bytes, more: bytes, place: int) -> None:
    case = h.release_case()
    chain, trust = case.chain, case.trust
    spliced = chain[0][: len(noise)] + noise + chain[0][len(noise) * 2 :]
    shown = [
        ([noise, *chain[1:]], trust),
        ([chain[0], noise], trust),
        ([spliced, *chain[1:]], trust),
        (chain, replace(trust, lists=[noise, more, *trust.lists])),
    ][place]
    assert spliced == chain[0] or not is_accepted(*shown)


@pytest.mark.parametrize("label", ["", "x" * 61 + ",y", "zeile\nzwei", "\x1b[31m", "Zoë", "a\u202eb"])
def test_a_signers_name_that_does_not_print_or_fit_is_refused(label: str) -> None:
    subject = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, text) for text in [label] * 4] if label else []
    )
    made = certificates.issue(
        h.the_platform(), subject, h.signing_key("signer").public_key(), h.YEARS, h.CODE_LEAF
    )
    case = Case(made, [h.the_platform()])
    assert rule_against(case.chain, case.trust) == "form"


# Lists, old and new


def test_a_device_that_was_offline_for_years_still_starts_but_takes_in_nothing_new() -> None:
    case, later = h.release_case(), NOW + 1000 * DAY
    signer = verdict(case, later)
    require_fresh_lists(verdict(case), NOW)
    with pytest.raises(Refused, match="was to be replaced by 2026-07-01") as refused:
        require_fresh_lists(signer, later)
    assert refused.value.rule == "revocation"


def test_a_list_that_is_stale_still_revokes() -> None:
    case = h.release_case()
    case = case.with_lists(h.list_of(h.the_platform(), case.leaf), h.list_of(h.the_root()))
    assert rule_against(case.chain, case.trust, NOW + 1000 * DAY) == "revocation"


def test_an_old_list_put_back_is_below_its_floor() -> None:
    case = h.release_case()
    floors = {key_sha256_of(h.the_platform().certificate): 2}
    assert rule_against(case.chain, replace(case, floors=floors).trust) == "revocation"
    newer = case.with_lists(h.list_of(h.the_platform(), number=2), h.list_of(h.the_root()))
    seen = verdict(replace(newer, floors=floors)).lists
    assert {s.authority_key_sha256: s.number for s in seen} == floors | {
        key_sha256_of(h.the_root().certificate): 1
    }


def test_a_renewed_authority_keeps_the_floor_of_its_lists_and_one_with_another_key_has_none_yet() -> None:
    floors = {key_sha256_of(h.the_platform().certificate): 2}
    renewed = h.authority(
        h.the_root(), "platform", h.code_extensions(1), subject=h.the_platform().certificate.subject
    )
    assert renewed.certificate != h.the_platform().certificate
    case = Case(h.signer(renewed), [renewed], floors=floors)
    assert rule_against(case.chain, case.trust) == "revocation"
    replaced = h.authority(h.the_root(), "platform two", h.code_extensions(1))
    assert verdict(Case(h.signer(replaced), [replaced], floors=floors)).lists


def test_a_list_number_beyond_what_the_element_counts_is_refused() -> None:
    """A floor could not be raised to it. RFC 5280 (5.2.3) would allow 20 octets."""
    case = h.release_case()
    for number, rule in ((LIST_NUMBER_MAX, ""), (LIST_NUMBER_MAX + 1, "form"), (1 << 159, "form")):
        shown = case.with_lists(h.list_of(h.the_platform(), number=number), h.list_of(h.the_root()))
        if rule:
            assert rule_against(shown.chain, shown.trust) == rule
        else:
            assert max(seen.number for seen in verdict(shown).lists) == number


def test_of_two_lists_of_one_authority_the_higher_number_counts_wherever_it_lies() -> None:
    case = h.release_case()
    lists = [
        h.list_of(h.the_platform()),
        h.list_of(h.the_platform(), case.leaf, number=2),
        h.list_of(h.the_root()),
    ]
    for order in (lists, lists[::-1]):
        shown = case.with_lists(*order)
        assert rule_against(shown.chain, shown.trust) == "revocation"


def test_a_list_from_the_future_is_refused() -> None:
    case = h.release_case().with_lists(h.list_of(h.the_platform(), issued=NOW + DAY), h.list_of(h.the_root()))
    assert rule_against(case.chain, case.trust) == "revocation"
    verdict(case, NOW + 2 * DAY)


# Experiments: a rule left out


def test_without_the_chain_rule_a_stranger_is_believed() -> None:
    stranger = certificates.root("Stranger", h.key("stranger"), h.YEARS)
    case = replace(Case(h.signer(stranger), [stranger]), lists=[])
    assert rule_against(case.chain, case.trust) == "chain"
    assert verdict(case, without=frozenset({"chain"})).scope == h.EVERYTHING
    assert rule_against([b"junk"], case.trust, without=frozenset({"chain", "revocation"})) == "form"


def test_without_the_revocation_rule_no_list_is_read() -> None:
    case = h.release_case()
    for lists in ([], [b"junk"], [h.list_of(h.the_platform(), case.leaf), h.list_of(h.the_root())]):
        shown = case.with_lists(*lists)
        assert rule_against(shown.chain, shown.trust) in {"revocation", "form"}
        assert verdict(shown, without=frozenset({"revocation"})).lists == ()


def test_without_the_chain_rule_a_serial_number_on_the_list_of_another_authority_is_fine() -> None:
    case = h.release_case()
    verdict(case.with_lists(h.list_of(h.the_root(), case.leaf)), without=frozenset({"chain"}))


def test_without_the_chain_rule_an_old_list_put_back_is_still_below_its_floor() -> None:
    case = replace(h.release_case(), floors={key_sha256_of(h.the_platform().certificate): 2})
    assert rule_against(case.chain, case.trust, without=frozenset({"chain"})) == "revocation"
    newer = case.with_lists(h.list_of(h.the_platform(), number=2))
    assert verdict(newer, without=frozenset({"chain"})).lists == ()


def test_without_the_chain_rule_a_revoked_serial_number_is_still_refused() -> None:
    case = h.release_case()
    case = case.with_lists(h.list_of(h.the_platform(), case.leaf), h.list_of(h.the_root()))
    assert rule_against(case.chain, case.trust, without=frozenset({"chain"})) == "revocation"
    verdict(case, without=frozenset({"chain", "revocation"}))
