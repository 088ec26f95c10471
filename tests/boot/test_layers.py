"""Layers: what is measured makes the keys, from the changed layer on; and every layer is vouched for by the last."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from boot import identity, layers
from boot.refusal import Refused
from ipc_schemas.release import Layer

SECRET = hashlib.sha256(b"a device").digest()
digests = st.binary(min_size=32, max_size=32)
measurements = st.lists(digests, min_size=1, max_size=layers.LAYERS_MAX)


def chain(measured: list[bytes], secret: bytes = SECRET) -> tuple[list[bytes], list[Layer]]:
    """The secrets and the signed layers of a boot."""
    following = layers.next_secret(secret, measured[0])
    first = layers.signed_layer(
        "layer_0", measured[0], following, lambda message: identity.sign_as_identity(secret, message)
    )
    secrets, signed = [following], [first]
    for n, measurement in enumerate(measured[1:], 1):
        following, layer = layers.certify_next(secrets[-1], f"layer_{n}", measurement)
        secrets.append(following)
        signed.append(layer)
    return secrets, signed


def is_equal_prefix(one: list[bytes], other: list[bytes], length: int) -> bool:
    """Whether the two agree in the first ``length`` places and in none after them."""
    same = [a == b for a, b in zip(one, other, strict=True)]
    return same == [True] * length + [False] * (len(same) - length)


@given(measurements, st.data())
def test_a_changed_measurement_changes_every_secret_and_key_from_there_on_and_none_before(
    measured: list[bytes], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(measured) - 1))
    changed = list(measured)
    changed[place] = data.draw(digests.filter(lambda d: d != measured[place]))
    (secrets, signed), (other_secrets, other_signed) = chain(measured), chain(changed)
    assert is_equal_prefix(secrets, other_secrets, place)
    assert is_equal_prefix([s.public_key for s in signed], [s.public_key for s in other_signed], place)


@given(measurements, digests.filter(lambda d: d != SECRET))
def test_another_device_has_other_secrets_and_keys_throughout(measured: list[bytes], other: bytes) -> None:
    (secrets, signed), (other_secrets, other_signed) = chain(measured), chain(measured, other)
    assert is_equal_prefix(secrets, other_secrets, 0)
    assert is_equal_prefix([s.public_key for s in signed], [s.public_key for s in other_signed], 0)


@given(measurements)
def test_the_layers_of_a_device_verify_under_its_identity(measured: list[bytes]) -> None:
    secrets, signed = chain(measured)
    last = layers.verify_layers(identity.public_key_der(SECRET), signed)
    assert last == layers.layer_key(secrets[-1]).public_key().public_bytes_raw()


@given(st.lists(digests, min_size=2, max_size=5), st.data())
def test_a_layer_in_which_anything_was_changed_is_refused(measured: list[bytes], data: st.DataObject) -> None:
    _, signed = chain(measured)
    place = data.draw(st.integers(0, len(signed) - 1))
    bit = data.draw(st.integers(0, 255))

    def flipped(value: bytes) -> bytes:
        return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(len(value), "big")

    s = signed[place]
    signed[place] = data.draw(
        st.sampled_from(
            [
                Layer("another", s.measurement, s.public_key, s.signature),
                Layer(s.layer, flipped(s.measurement), s.public_key, s.signature),
                Layer(s.layer, s.measurement, flipped(s.public_key), s.signature),
                Layer(s.layer, s.measurement, s.public_key, flipped(s.signature)),
                Layer(s.layer, s.measurement, s.public_key, b""),
                Layer(s.layer, s.measurement, s.public_key, s.signature[:-1]),
            ]
        )
    )
    with pytest.raises(Refused, match="is not signed by"):
        layers.verify_layers(identity.public_key_der(SECRET), signed)


def test_layers_left_out_or_swapped_or_too_many_are_refused() -> None:
    _, signed = chain([hashlib.sha256(bytes([n])).digest() for n in range(4)])
    root = identity.public_key_der(SECRET)
    for wrong in (signed[1:], [signed[0], *signed[2:]], [signed[0], signed[2], signed[1]]):
        with pytest.raises(Refused, match="is not signed by"):
            layers.verify_layers(root, wrong)
    for count, wrong in ((0, []), (layers.LAYERS_MAX + 1, [signed[0]] * (layers.LAYERS_MAX + 1))):
        with pytest.raises(Refused, match=f"there are {count} layers"):
            layers.verify_layers(root, wrong)


def test_another_devices_identity_or_another_kind_of_key_is_refused() -> None:
    _, signed = chain([SECRET])
    other_curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    ed25519 = Ed25519PrivateKey.generate().public_key()
    ders = [k.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for k in (other_curve, ed25519)]
    for root in (identity.public_key_der(bytes(32)), *ders, b"no key"):
        with pytest.raises(Refused, match="is not signed by the device's identity"):
            layers.verify_layers(root, signed)


def test_the_derivation_is_hkdf_by_the_standard() -> None:
    salt, info = b"\1" * 32, b"info"
    extracted = hmac.digest(salt, SECRET, "sha256")
    assert layers.derive(SECRET, salt, info) == hmac.digest(extracted, info + b"\1", "sha256")


def test_an_identity_is_the_same_for_the_same_device_and_within_the_curve() -> None:
    numbers = identity.identity_key(SECRET).private_numbers()
    assert numbers == identity.identity_key(SECRET).private_numbers()
    assert 0 < numbers.private_value < identity._ORDER


@given(measurements, measurements, st.booleans(), st.booleans())
def test_registers_are_equal_only_for_equal_boots(
    one: list[bytes], other: list[bytes], is_debug: bool, is_other_debug: bool
) -> None:
    is_same = layers.register_of(one, is_debug=is_debug) == layers.register_of(other, is_debug=is_other_debug)
    assert is_same == ((one, is_debug) == (other, is_other_debug))
