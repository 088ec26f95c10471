"""Where the factory's keys lie: files that only their owner reads, and a token that gives nothing out."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support import hierarchy as h
from tests.support.hierarchy import NOW, Case, verdict
from tests.support.softhsm import PIN, TOKEN, token_in_software
from world.factory import certificates
from world.factory.certificates import name_of
from world.factory.keys import KeyFiles, KeyRefused, KeyStore, KeyToken, issuing_key


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with token_in_software(tmp_path_factory.mktemp("softhsm")) as module:
        yield module


@pytest.fixture(scope="module")
def token(softhsm: Path) -> Iterator[KeyToken]:
    opened = KeyToken(softhsm, TOKEN, PIN)
    yield opened
    opened.close()


@pytest.fixture(params=["files", "token"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> KeyStore:
    """Each kind of store. The token is shared by the tests of this module: labels in it are taken once."""
    if request.param == "files":
        return KeyFiles(tmp_path / "keys")
    shared: KeyStore = request.getfixturevalue("token")
    return shared


def test_a_key_signs_and_its_public_half_agrees(store: KeyStore) -> None:
    key = store.generate("signs", "p256")
    assert isinstance(key, EllipticCurvePublicKey)
    assert store.public_key("signs") == key
    for message in (b"", b"one", bytes(100_000)):
        key.verify(store.sign("signs", message), message, ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        key.verify(store.sign("signs", b"one"), b"other", ECDSA(SHA256()))


def test_a_whole_hierarchy_is_issued_with_keys_that_stay_in_their_store(store: KeyStore) -> None:
    for label in ("root", "platform"):
        store.generate(label, "p256")
    root = certificates.root(h.MAKER, issuing_key(store, "root"), h.YEARS)
    subject = name_of(h.MAKER, common="Platform")
    platform = certificates.code_authority(root, subject, issuing_key(store, "platform"), h.YEARS, 1)
    signer = verdict(Case(h.signer(platform), [platform], root=root), NOW)
    assert signer.scope == h.EVERYTHING


def test_a_key_is_never_replaced_in_silence(store: KeyStore) -> None:
    key = store.generate("taken", "p256")
    with pytest.raises(KeyRefused, match="there is such a key"):
        store.generate("taken", "p256")
    assert store.public_key("taken") == key


def test_a_key_that_is_not_there_is_named(store: KeyStore) -> None:
    for use in (lambda: store.public_key("missing"), lambda: store.sign("missing", b"x")):
        with pytest.raises(KeyRefused, match="missing: there is no such key"):
            use()


@pytest.mark.parametrize("label", ["", "../root", "a/b", "Root", ".hidden", "a" * 64, "a\n", "a.pem"])
def test_a_label_that_leads_elsewhere_is_refused(store: KeyStore, label: str) -> None:
    for use in (
        lambda: store.generate(label, "p256"),
        lambda: store.public_key(label),
        lambda: store.sign(label, b"x"),
    ):
        with pytest.raises(KeyRefused, match="cannot be a key's label"):
            use()


def test_an_issuing_key_only_signs(store: KeyStore) -> None:
    store.generate("issues", "p256")
    key = issuing_key(store, "issues")
    assert (key.curve.name, key.key_size) == ("secp256r1", 256)
    for use in (
        key.private_numbers,
        lambda: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        lambda: key.exchange(ECDH(), generate_private_key(SECP256R1()).public_key()),
    ):
        with pytest.raises(KeyRefused, match="this key only signs"):
            use()
    with pytest.raises(KeyRefused, match="SHA-256 only"):
        key.sign(b"x", ECDSA(SHA384()))


def test_signers_keys_are_ed25519_in_files(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path)
    key = files.generate("signer", "ed25519")
    assert isinstance(key, Ed25519PublicKey)
    key.verify(files.sign("signer", b"manifest"), b"manifest")
    with pytest.raises(KeyRefused, match="P-256 key, and this is another"):
        issuing_key(files, "signer")


def test_a_key_file_is_for_its_owner_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path / "keys")
    files.generate("root", "p256")
    (path,) = (tmp_path / "keys").iterdir()
    assert path.name == "root.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(KeyRefused, match="there is such a key"):
        files.generate("root", "p256")
    assert list((tmp_path / "keys").iterdir()) == [path]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path)
    files.generate("root", "p256")
    (tmp_path / "root.pem").chmod(0o640)
    with pytest.raises(KeyRefused, match="others may read this key"):
        files.sign("root", b"x")


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "root.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyRefused, match="cannot be read as a key"):
        KeyFiles(tmp_path).public_key("root")


def test_keys_outlive_the_store_that_made_them(tmp_path: Path, softhsm: Path, token: KeyToken) -> None:
    made = KeyFiles(tmp_path).generate("again", "p256")
    assert KeyFiles(tmp_path).public_key("again") == made
    in_token = token.generate("again", "p256")
    assert token.public_key("again") == in_token
    assert softhsm.exists()


def test_a_key_that_is_provided_is_made_once(store: KeyStore) -> None:
    made = store.provide("provided", "p256")
    assert store.provide("provided", "p256") == made


def test_half_a_pair_in_the_token_is_made_anew(token: KeyToken) -> None:
    old = token.generate("half", "p256")
    token._find("half", "PUBLIC_KEY").destroy()
    new = token.provide("half", "p256")
    assert new != old
    assert isinstance(new, EllipticCurvePublicKey)
    new.verify(token.sign("half", b"x"), b"x", ECDSA(SHA256()))


def test_what_a_token_does_not_allow_is_told_in_a_sentence(token: KeyToken) -> None:
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    parameters = token._session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
    parameters.generate_keypair(label="mute", store=True, private_template={pkcs11.Attribute.SIGN: False})
    with pytest.raises(KeyRefused, match=f"mute: the token {TOKEN} refuses"):
        token.sign("mute", b"x")


def test_a_private_key_does_not_come_out_of_the_token(token: KeyToken) -> None:
    import pkcs11

    token.generate("stays", "p256")
    private = token._find("stays", "PRIVATE_KEY")
    with pytest.raises(pkcs11.PKCS11Error):
        private[pkcs11.Attribute.VALUE]
    with pytest.raises(KeyRefused, match="P-256 keys only"):
        token.generate("other", "ed25519")


@pytest.mark.parametrize(("label", "pin"), [(TOKEN, "0000"), ("elsewhere", PIN)])
def test_a_token_that_cannot_be_opened_is_refused(softhsm: Path, label: str, pin: str) -> None:
    with pytest.raises(KeyRefused, match="check library, label and PIN"):
        KeyToken(softhsm, label, pin)


def test_a_library_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyRefused, match="check library, label and PIN"):
        KeyToken(tmp_path / "none.so", TOKEN, PIN)
