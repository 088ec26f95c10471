"""The token: readable by a library that is not ours, signed by the last layer, bounded, free until it is asked for."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import cbor2
import cwt
import pytest
from cryptography.exceptions import InvalidSignature

from boot import attestation, measured
from boot.refusal import Refused
from ipc_schemas import codec
from ipc_schemas.element import LIFECYCLES
from ipc_schemas.release import Layer, Measurement
from tests.support.attested import HARDWARE, NOW_S, Bench, digest, published, token

RELEASE = published()
BENCH = Bench()
BOOTED = BENCH.boot(RELEASE)
NONCE = digest("nonce")


def read_by_another_library(signed: bytes) -> dict[int, Any]:
    """The claims, as the independent libraries ``cwt`` (signature) and ``cbor2`` (values) read them."""
    public = BOOTED.key.public_key().public_bytes_raw()
    key = cwt.COSEKey.new({1: 1, 3: -8, 4: [2], -1: 6, -2: public})
    claims: dict[int, Any] = cbor2.loads(cwt.COSE.new().decode(signed, key))
    return claims


def test_a_library_that_is_not_ours_verifies_the_token_and_reads_every_claim() -> None:
    claims = read_by_another_library(token(BOOTED, NONCE, BENCH.about(RELEASE)))
    assert claims[6] == NOW_S
    assert claims[10] == NONCE
    assert claims[256] == attestation.ueid("pump-0001")
    assert len(claims[258]) == 16
    assert claims[259] == HARDWARE.encode()
    assert claims[263] == 3
    assert claims[265] == attestation.PROFILE
    assert (claims[270], claims[271]) == ("insulin_pump", ["1.2.0"])
    assert claims[-70_002] == "operational"
    ((content_format, lines),) = claims[273]
    assert content_format == 65_000
    assert tuple(codec.Codec(Measurement).decode_batch(lines)) == BOOTED.log.lines
    assert tuple(codec.Codec(Layer).decode_batch(claims[-70_001])) == BOOTED.layers


def test_the_same_token_comes_of_the_same_facts() -> None:
    device = BENCH.about(RELEASE)
    assert token(BOOTED, NONCE, device) == token(BOOTED, NONCE, device)


def test_another_key_does_not_verify_it() -> None:
    signed = token(BOOTED, NONCE, BENCH.about(RELEASE))
    other = BENCH.boot(RELEASE, {"monitor": digest("another")})
    assert other.key.public_key() != BOOTED.key.public_key()
    message = cbor2.loads(signed).value
    with pytest.raises(InvalidSignature):
        other.key.public_key().verify(message[3], attestation.signed_bytes(message[0], message[2]))


@pytest.mark.parametrize("size_bytes", [0, 7, 65, 1_000])
def test_a_nonce_out_of_bounds_is_not_answered(size_bytes: int) -> None:
    with pytest.raises(Refused, match=f"a nonce of {size_bytes} bytes"):
        token(BOOTED, bytes(size_bytes), BENCH.about(RELEASE))


@pytest.mark.parametrize("size_bytes", [8, 64])
def test_a_nonce_at_the_bounds_is_answered(size_bytes: int) -> None:
    claims = read_by_another_library(token(BOOTED, bytes(size_bytes), BENCH.about(RELEASE)))
    assert claims[10] == bytes(size_bytes)


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
@pytest.mark.parametrize("is_debug", [False, True])
def test_debugging_is_said_to_be_closed_only_where_the_manufacturer_alone_can_open_it(
    lifecycle: str, is_debug: bool
) -> None:
    device = BENCH.about(RELEASE, lifecycle=lifecycle, is_debug=is_debug)
    said = read_by_another_library(token(BOOTED, NONCE, device))[263]
    assert said == (0 if is_debug or lifecycle in {"blank", "manufactured"} else 3)


def test_a_long_hardware_name_fits_its_claim() -> None:
    assert len(attestation.hwmodel("x" * 120)) == 32
    assert attestation.hwmodel("x" * 32) == b"x" * 32


def test_the_longest_log_fits_a_token() -> None:
    log = measured.Log()
    for number in range(measured.LINES_MAX):
        name = f"{number:0120}"
        log = log.appended("rom", "platform", name, "v" * 120, digest(name), "s" * 200)
    signed = attestation.token(BOOTED.key, NONCE, log, BOOTED.layers, BENCH.about(RELEASE), NOW_S)
    assert len(signed) <= attestation.TOKEN_BYTES_MAX


def test_a_token_out_of_bounds_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attestation, "TOKEN_BYTES_MAX", 1_000)
    with pytest.raises(Refused, match="more than 1000"):
        token(BOOTED, NONCE, BENCH.about(RELEASE))


def test_a_boot_that_nobody_asks_does_not_load_the_libraries_for_tokens() -> None:
    program = (
        "import sys, boot.attestation, boot.measured;"
        "print([name for name in ('cbor2', 'cwt', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
