"""Real secure elements for tests: made, powered on, brought through a factory, booted."""

from __future__ import annotations

import datetime
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from boot import element_process
from boot.element import Element
from ipc_schemas import codec
from ipc_schemas import element as shapes
from ipc_schemas.release import FORMAT

ROOT_KEY_SHA256 = hashlib.sha256(b"root key").digest()
HARDWARE_ID = b"pump rev 3"
SERIAL = b"SN-0001"
BOOTLOADER = hashlib.sha256(b"bootloader").digest()
MONITOR = hashlib.sha256(b"monitor").digest()

_PROGRAM = """
import sys
sys.path[:] = eval(sys.argv[3])
from boot.element_process import main
main(int(sys.argv[1]), sys.argv[2])
"""


@contextmanager
def powered(folder: Path) -> Iterator[socket.socket]:
    """Power: the link to a new element process over ``folder``. The power goes when the block ends."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(its.fileno()), str(folder), repr(sys.path)]
    process = subprocess.Popen(command, pass_fds=[its.fileno()], env={}, cwd=Path(__file__).parents[2])
    its.close()
    try:
        yield ours
    finally:
        ours.close()
        assert process.wait(20) == 0


@contextmanager
def booted_to(phase: shapes.Phase, folder: Path, slot: shapes.Slot = "a") -> Iterator[Element]:
    """A boot that has come to ``phase``, with everything measured as usual."""
    with powered(folder) as link:
        element = Element(link)
        bring_to(phase, element, slot)
        yield element


def bring_to(
    phase: shapes.Phase,
    element: Element,
    slot: shapes.Slot = "a",
    bootloader: bytes = BOOTLOADER,
    monitor: bytes = MONITOR,
) -> None:
    """The ordinary way of a boot."""
    step = shapes.PHASES.index(phase)
    if step >= 1:
        element.spend_attempt(slot)
        element.derive_layer("bootloader", bootloader)
    if step >= 2:
        element.measure_next(monitor)
    if step >= 3:
        element.confirm()


def make(folder: Path, lifecycle: shapes.Lifecycle) -> Path:
    """An element at that point of its life. Returns its folder."""
    element_process.make_blank(folder)
    with powered(folder) as link:
        live_to(lifecycle, Element(link))
    return folder


def live_to(lifecycle: shapes.Lifecycle, element: Element) -> None:
    """From a blank element on, the way a factory goes."""
    step = shapes.LIFECYCLES.index(lifecycle)
    if step >= 1:
        element.burn_fuse("root_key_sha256", ROOT_KEY_SHA256)
        element.burn_fuse("hardware_id", HARDWARE_ID)
        element.burn_fuse("serial", SERIAL)
        element.manufacture()
    if step >= 2:
        element.store_chain("idevid", (certificate_for(element.certificate_request()),))
    for following in shapes.LIFECYCLES[2 : step + 1]:
        element.advance(following)


def certificate_for(request_der: bytes) -> bytes:
    """A certificate by some factory over the key in a certificate request. DER."""
    request = x509.load_der_x509_csr(request_der)
    assert request.is_signature_valid
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "factory")]))
        .public_key(request.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
    )
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)


def unlock_by(
    key: Ed25519PrivateKey, nonce: bytes, serial: bytes = SERIAL, not_after_s: int = 2_000
) -> shapes.SignedUnlock:
    """A debug unlock, signed."""
    payload = codec.encode(shapes.DebugUnlock(FORMAT, serial, nonce, not_after_s))
    return shapes.SignedUnlock(payload, key.sign(shapes.UNLOCK_LABEL + payload))


def random_digest() -> bytes:
    """Some measurement."""
    return os.urandom(32)
