"""Where the private keys of the factory's side lie: in files, or in a token that never gives them out (PKCS#11).

Certificates are built by ``cryptography``, whose builders take a private-key object and call its ``sign``. They accept
any subclass of ``EllipticCurvePrivateKey``, so ``issuing_key`` hands them one that asks the key store for each
signature: what is signed is made by the library, and the key stays where it is. Tokens offer ECDSA on P-256 only,
which is what signs certificates and lists; the Ed25519 keys of signers lie in files.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    EllipticCurveSignatureAlgorithm,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

Kind = Literal["p256", "ed25519"]
PublicKey = EllipticCurvePublicKey | Ed25519PublicKey
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_COORDINATE_BYTES = 32
_DRAFT = ".draft-"


class KeyRefused(Exception):
    """A key that cannot be made or used; the sentence names the label and the remedy."""


class KeyStore(Protocol):
    """Makes keys by label, and signs with them. Every method raises ``KeyRefused``."""

    def generate(self, label: str, kind: Kind) -> PublicKey:
        """A new key. A label that is taken is refused: a key is never replaced in silence."""

    def provide(self, label: str, kind: Kind) -> PublicKey:
        """The key with that label, made if it is not there, or only half. For a label that nobody else draws."""

    def public_key(self, label: str) -> PublicKey:
        """The public half of the key with that label."""

    def sign(self, label: str, message: bytes) -> bytes:
        """Ed25519 over ``message``, or ECDSA with SHA-256 in DER, as the key is."""


class KeyFiles:
    """Keys as PEM files in one folder, each for its owner's eyes only. For development and tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def generate(self, label: str, kind: Kind) -> PublicKey:
        """As ``KeyStore.generate``. After a power cut there is the whole file, or none."""
        path = self._path(label)
        key = generate_private_key(SECP256R1()) if kind == "p256" else Ed25519PrivateKey.generate()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=_DRAFT, dir=self._folder)  # mode 0600 from the first byte on
        try:
            with open(handle, "wb") as out:
                out.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
                out.flush()
                os.fsync(out.fileno())
            # A link, and not a rename: it does not replace a file that is there.
            os.link(draft, path)
        except FileExistsError:
            _refuse_taken(label)
        finally:
            os.unlink(draft)
        self._sync_folder()
        return key.public_key()

    def provide(self, label: str, kind: Kind) -> PublicKey:
        """As ``KeyStore.provide``."""
        return self.public_key(label) if self._path(label).exists() else self.generate(label, kind)

    def public_key(self, label: str) -> PublicKey:
        """As ``KeyStore.public_key``."""
        return self._load(label).public_key()

    def sign(self, label: str, message: bytes) -> bytes:
        """As ``KeyStore.sign``."""
        key = self._load(label)
        return key.sign(message) if isinstance(key, Ed25519PrivateKey) else key.sign(message, ECDSA(SHA256()))

    def provide_signing_key(self, label: str) -> Ed25519PublicKey:
        """The public half of a signer's key, which is made if it is not there. Raises ``KeyRefused``."""
        self.provide(label, "ed25519")
        return self.signing_key(label).public_key()

    def signing_key(self, label: str) -> Ed25519PrivateKey:
        """The key itself, of a signer of manifests. Raises ``KeyRefused``."""
        key = self._load(label)
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyRefused(
                f"{label}: manifests are signed by Ed25519 keys, and this is another; make a new one"
            )
        return key

    def remove_drafts(self) -> None:
        """Remove what a power cut left of keys that never got their name."""
        for draft in self._folder.glob(f"{_DRAFT}*"):
            draft.unlink()

    def _path(self, label: str) -> Path:
        return self._folder / f"{_checked(label)}.pem"

    def _load(self, label: str) -> EllipticCurvePrivateKey | Ed25519PrivateKey:
        path = self._path(label)
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            _refuse_missing(label)
        except (OSError, ValueError, TypeError) as error:
            raise KeyRefused(f"{path}: cannot be read as a key ({error}); put the right file there") from None
        if path.stat().st_mode & 0o077:
            raise KeyRefused(f"{path}: others may read this key; chmod 600 it, or better make a new one")
        if not isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey):
            raise KeyRefused(f"{path}: is neither a P-256 nor an Ed25519 key; put the right file there")
        return key

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_pair(path: Path) -> str:
    """A new Ed25519 key in ``path``, for its owner's eyes only, and its public half in ``path.pub``, both as PEM.

    Returns the text of the latter.

    Raises ``KeyRefused`` when one of them is there, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, content, mode in ((path, private, 0o600), (Path(f"{path}.pub"), public, 0o644)):
        try:
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
                out.write(content)
        except FileExistsError:
            raise KeyRefused(
                f"{name}: this file is there already, and a key is never replaced; name another"
            ) from None
        except OSError as error:
            raise KeyRefused(f"{name}: cannot be written ({error.strerror}); name another file") from None
    return public.decode()


class KeyToken:
    """P-256 keys in a token behind PKCS#11, which signs and never gives a private key out."""

    def __init__(self, module: Path, token_label: str, pin: str) -> None:
        """``module`` is the token's library. Raises ``KeyRefused`` when there is no such token, or the PIN is wrong."""
        try:
            import pkcs11
        except ImportError:
            raise KeyRefused("keys in a token need the package python-pkcs11; install it") from None
        self._pkcs11 = pkcs11
        self._name = token_label
        try:
            token = pkcs11.lib(str(module)).get_token(token_label=token_label)
            self._session = token.open(rw=True, user_pin=pin)
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            sentence = f"the token {token_label} behind {module} cannot be opened ({type(error).__name__})"
            raise KeyRefused(f"{sentence}; check library, label and PIN") from None

    @contextmanager
    def _spoken(self, label: str) -> Iterator[None]:
        """Whatever the token has against it becomes a sentence."""
        try:
            yield
        except (
            self._pkcs11.PKCS11Error,
            AttributeError,
        ) as error:  # a key that may not sign has no such method
            raise KeyRefused(
                f"{label}: the token {self._name} refuses ({type(error).__name__}); see what it allows"
            ) from None

    def close(self) -> None:
        """Log out. A key store that is closed signs no more."""
        self._session.close()

    def generate(self, label: str, kind: Kind) -> PublicKey:
        """As ``KeyStore.generate``, inside the token, in a form that cannot be taken out."""
        if kind != "p256":
            raise KeyRefused(f"{label}: a token here holds P-256 keys only; keep {kind} keys in files")
        if self._objects(_checked(label)):
            _refuse_taken(label)
        p, curve = self._pkcs11, self._pkcs11.util.ec.encode_named_curve_parameters("secp256r1")
        kept = {p.Attribute.SENSITIVE: True, p.Attribute.EXTRACTABLE: False}
        with self._spoken(label):
            parameters = self._session.create_domain_parameters(
                p.KeyType.EC, {p.Attribute.EC_PARAMS: curve}, local=True
            )
            parameters.generate_keypair(label=label, store=True, private_template=kept)
        return self.public_key(label)

    def provide(self, label: str, kind: Kind) -> PublicKey:
        """As ``KeyStore.provide``. A pair is two objects in the token, and one alone is of no use."""
        halves = self._objects(_checked(label))
        if len(halves) == 2:
            return self.public_key(label)
        for half in halves:
            half.destroy()
        return self.generate(label, kind)

    def public_key(self, label: str) -> PublicKey:
        """As ``KeyStore.public_key``."""
        info = self._pkcs11.util.ec.encode_ec_public_key(self._find(_checked(label), "PUBLIC_KEY"))
        key = load_der_public_key(info)
        assert isinstance(key, EllipticCurvePublicKey)
        return key

    def sign(self, label: str, message: bytes) -> bytes:
        """As ``KeyStore.sign``. The token is given the digest, because not all of them can hash."""
        digest = hashlib.sha256(message).digest()
        with self._spoken(label):
            key = self._find(_checked(label), "PRIVATE_KEY")
            pair = key.sign(digest, mechanism=self._pkcs11.Mechanism.ECDSA)
        r, s = (int.from_bytes(half) for half in (pair[:_COORDINATE_BYTES], pair[_COORDINATE_BYTES:]))
        return encode_dss_signature(r, s)

    def _objects(self, label: str) -> list[Any]:
        """Private and public half, as far as they are there."""
        p = self._pkcs11
        kinds = (p.ObjectClass.PRIVATE_KEY, p.ObjectClass.PUBLIC_KEY)
        wanted = [{p.Attribute.CLASS: kind, p.Attribute.LABEL: label} for kind in kinds]
        with self._spoken(label):
            return [found for one in wanted for found in self._session.get_objects(one)]

    def _find(self, label: str, kind: str) -> Any:
        try:
            return self._session.get_key(object_class=self._pkcs11.ObjectClass[kind], label=label)
        except self._pkcs11.NoSuchKey:
            _refuse_missing(label)


class _IssuingKey(EllipticCurvePrivateKey):
    """A private key that is somewhere else: it signs, and cannot be read."""

    def __init__(self, store: KeyStore, label: str, public: EllipticCurvePublicKey) -> None:
        self._store, self._label, self._public = store, label, public

    def sign(self, data: bytes, signature_algorithm: EllipticCurveSignatureAlgorithm) -> bytes:  # type: ignore[override]
        if not isinstance(signature_algorithm.algorithm, SHA256):
            raise KeyRefused(f"{self._label}: signs with SHA-256 only; ask for that")
        return self._store.sign(self._label, data)

    def public_key(self) -> EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, *_: Any) -> NoReturn:
        self._refuse()

    def private_numbers(self) -> NoReturn:
        self._refuse()

    def private_bytes(self, *_: Any) -> NoReturn:
        self._refuse()

    def __copy__(self) -> _IssuingKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _IssuingKey:
        return self

    def _refuse(self) -> NoReturn:
        raise KeyRefused(f"{self._label}: this key only signs; it stays in its store")


def issuing_key(store: KeyStore, label: str) -> EllipticCurvePrivateKey:
    """The P-256 key with that label, to build certificates and lists with. Raises ``KeyRefused``."""
    public = store.public_key(label)
    if not isinstance(public, EllipticCurvePublicKey):
        raise KeyRefused(
            f"{label}: certificates are signed by a P-256 key, and this is another; make a new one"
        )
    return _IssuingKey(store, label, public)


def _checked(label: str) -> str:
    if _LABEL.fullmatch(label) is None:
        raise KeyRefused(
            f"{label!r} cannot be a key's label; use up to 63 of a-z, 0-9, - and _, a letter first"
        )
    return label


def _refuse_taken(label: str) -> NoReturn:
    raise KeyRefused(f"{label}: there is such a key; choose another label, or remove the old key first")


def _refuse_missing(label: str) -> NoReturn:
    raise KeyRefused(f"{label}: there is no such key; make it first")
