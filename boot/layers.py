"""Layered identity: each layer's secret and key follow from the layer below and from what was measured.

After DICE (TCG, Layering Architecture 1.0), with the derivations of the Open Profile for DICE: the next secret is
HKDF-SHA256 of the present one with the measurement as salt and a fixed label, the key pair's seed is HKDF of the
secret with another label. So a changed stage changes its own secret and key and every one after it, and no layer can
compute the secret of the one below it, or of the one that a different measurement would have given.

The root is the device's identity, the P-256 key of its certificate from the manufacturer (IDevID): one key, so that
the chain of certificates and the chain of layers meet without a document in between. Its signature under a layer is
``r`` and ``s``, 32 bytes each; all later ones are Ed25519.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from boot.forgetting import forget
from boot.refusal import Refused
from ipc_schemas import codec
from ipc_schemas.release import LAYER_LABEL, Layer

LAYERS_MAX = 8
_SECRET_BYTES = 32
_NEXT_SECRET = b"bulkhead next layer's secret 1\0"
_KEY_SEED = b"bulkhead layer's key 1\0"
_REGISTER = b"bulkhead measurement register 1\0"
_DEBUG = b"with debugging open\0"


def derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869), 32 bytes."""
    return HKDF(algorithm=SHA256(), length=_SECRET_BYTES, salt=salt, info=info).derive(secret)


def next_secret(secret: bytes, measurement: bytes, *, is_debug: bool = False) -> bytes:
    """The secret of the layer that was measured. ``is_debug`` only counts, and only differs, at the root."""
    return derive(secret, measurement, _NEXT_SECRET + (_DEBUG if is_debug else b""))


def layer_key(secret: bytes) -> Ed25519PrivateKey:
    """The key pair of the layer that has ``secret``."""
    seed = derive(secret, b"", _KEY_SEED)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    forget(seed)
    return key


def signed_layer(layer: str, measurement: bytes, secret: bytes, sign: Callable[[bytes], bytes]) -> Layer:
    """What the present layer says of the one that has ``secret``. ``sign`` is the present layer's signature."""
    unsigned = Layer(layer, measurement, layer_key(secret).public_key().public_bytes_raw())
    return Layer(layer, measurement, unsigned.public_key, sign(layer_message(unsigned)))


def certify_next(secret: bytes, layer: str, measurement: bytes) -> tuple[bytes, Layer]:
    """The secret of the next layer, and that layer as the one that has ``secret`` signs it."""
    following = next_secret(secret, measurement)
    return following, signed_layer(layer, measurement, following, layer_key(secret).sign)


def layer_message(layer: Layer) -> bytes:
    """What is signed of a layer: everything but the signature, with the label in front."""
    return LAYER_LABEL + codec.encode(Layer(layer.layer, layer.measurement, layer.public_key))


def verify_layers(identity_public_key: bytes, layers: Sequence[Layer]) -> bytes:
    """The public key of the last layer. ``identity_public_key`` is the device's, as SubjectPublicKeyInfo (P-256).

    Raises ``Refused`` (``layer``) when a layer is not signed by the one before it, and when there is none or there
    are more than ``LAYERS_MAX``. Whether the measurements are the expected ones is for the caller to say.
    """
    from boot.identity import verify_identity

    if not 1 <= len(layers) <= LAYERS_MAX:
        raise _refused(f"there are {len(layers)} layers, and a device has 1 to {LAYERS_MAX}")
    key = b""
    for index, layer in enumerate(layers):
        message = layer_message(layer)
        try:
            if index == 0:
                verify_identity(identity_public_key, layer.signature, message)
            else:
                Ed25519PublicKey.from_public_bytes(key).verify(layer.signature, message)
        except (InvalidSignature, ValueError):
            signer = layers[index - 1].layer if index else "the device's identity"
            raise _refused(f"layer {index} ({layer.layer}) is not signed by {signer}") from None
        key = layer.public_key
    return key


def extended(register: bytes, measurement: bytes, *, is_debug: bool = False) -> bytes:
    """The register of measurements (empty before the first one) after one more. There is no way back.

    ``is_debug`` goes into the first value: a boot with debugging open measures as another one altogether.
    """
    mode = _DEBUG if is_debug and not register else b""
    return hashlib.sha256(_REGISTER + mode + register + measurement).digest()


def register_of(measurements: Iterable[bytes], *, is_debug: bool = False) -> bytes:
    """The register after all ``measurements``: what a release's will read, computed before it has run."""
    register = b""
    for measurement in measurements:
        register = extended(register, measurement, is_debug=is_debug)
    return register


def _refused(sentence: str) -> Refused:
    return Refused("layer", sentence, "do not believe what this device says of itself; start it again")
