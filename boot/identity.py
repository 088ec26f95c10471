"""The device's identity: a P-256 key that follows from the device secret, and what it signs.

P-256 because its certificates are X.509 (IDevID, IEEE 802.1AR), which common verifiers accept with ECDSA and not with
Ed25519. The key is computed when it is needed and kept nowhere.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_INFO = b"bulkhead device identity 1\0"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF_BYTES = 32


def identity_key(device_secret: bytes) -> ec.EllipticCurvePrivateKey:
    """The identity of the device that has this secret (FIPS 186-5, A.2.1: with 128 bits to spare)."""
    wide = HKDF(algorithm=SHA256(), length=48, salt=b"", info=_INFO).derive(device_secret)
    scalar = int.from_bytes(wide, "big") % (_ORDER - 1) + 1
    return ec.derive_private_key(scalar, ec.SECP256R1())


def sign_as_identity(device_secret: bytes, message: bytes) -> bytes:
    """ECDSA with SHA-256, as ``r`` and ``s`` of 32 bytes each."""
    r, s = decode_dss_signature(identity_key(device_secret).sign(message, ec.ECDSA(SHA256())))
    return r.to_bytes(_HALF_BYTES, "big") + s.to_bytes(_HALF_BYTES, "big")


def verify_identity(public_key_der: bytes, signature: bytes, message: bytes) -> None:
    """Raises ``InvalidSignature``, or ``ValueError`` when the key or the signature has not the form of one."""
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    key = load_der_public_key(public_key_der)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("a device's identity is a P-256 key")
    if len(signature) != 2 * _HALF_BYTES:
        raise ValueError(f"{len(signature)} bytes are no signature of a device's identity")
    r, s = signature[:_HALF_BYTES], signature[_HALF_BYTES:]
    der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    key.verify(der, message, ec.ECDSA(SHA256()))


def public_key_der(device_secret: bytes) -> bytes:
    """The identity's SubjectPublicKeyInfo."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = identity_key(device_secret).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certificate_request(device_secret: bytes, serial: str) -> bytes:
    """A PKCS#10 request with the serial number as its subject, signed by the identity. DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, serial)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(identity_key(device_secret), SHA256()).public_bytes(Encoding.DER)


def leaf_public_key_der(certificate_der: bytes) -> bytes:
    """The SubjectPublicKeyInfo in a certificate. Raises ``ValueError`` when it is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate_der).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
