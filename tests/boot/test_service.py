"""A permission to debug is brought to the service connector: it counts for this device and boot, or changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from boot.scope import Scope
from ipc_schemas import codec, element, release
from tests.boot import chains
from tests.boot.chains import Device
from world.factory.development import Factory, Signer, now_utc

SERIAL = b"SN-0001"
Made = tuple[Factory, Device]


@pytest.fixture(scope="module")
def images() -> tuple[Factory, bytes, bytes, bytes]:
    return *chains.made(), chains.probe()


@pytest.fixture
def made(images: tuple[Factory, bytes, bytes, bytes], tmp_path: Path) -> Made:
    factory, rom, bootloader, monitor = images
    device = Device(tmp_path, factory, rom)
    factory.write_release(device.flash, "a", chains.parts(monitor, bootloader))
    return factory, device


def permission_of(
    signer: Signer, until_s: int = 1 << 39, serial: bytes = SERIAL, nonce: bytes = b""
) -> Callable[[bytes], bytes]:
    """What ``signer`` permits, for the boot whose nonce comes, or for the given one."""

    def service(drawn: bytes) -> bytes:
        payload = codec.encode(element.DebugUnlock(release.FORMAT, serial, nonce or drawn, until_s))
        signed = signer.sign(element.UNLOCK_LABEL, payload)
        return codec.encode(element.Permission(element.SignedUnlock(payload, signed.signature), signed.chain))

    return service


def test_a_permission_of_the_maker_opens_debugging_in_this_boot_and_no_other(made: Made) -> None:
    factory, device = made
    ordinary = device.start().reached
    outcome = device.start(service=permission_of(factory.service))
    assert outcome.reached["is_debug"]
    assert outcome.reached["permission"] == 0
    assert outcome.reached["secret"] != ordinary["secret"]
    (note,) = outcome.of_kind("debug")
    assert note.text == "debugging is open in this boot, by CN=Service,O=Development"
    later = device.start().reached
    assert not later["is_debug"]
    assert later["secret"] == ordinary["secret"]


def stranger(_: Factory) -> Callable[[bytes], bytes]:
    return permission_of(Factory(now_utc()).service)


def supplier(factory: Factory) -> Callable[[bytes], bytes]:
    return permission_of(factory.signer("Supplier", Scope(("partition",), ("transfer",), ("A",))))


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (stranger, "CN=Platform,O=Development"),
        (supplier, "CN=Supplier,O=Development may not unlock a device for debugging"),
        (lambda f: permission_of(f.maker), "CN=Release,O=Development may not unlock a device for debugging"),
        (
            lambda f: permission_of(f.service, serial=b"SN-0666"),
            "is for device 'SN-0666', and this is 'SN-0001'",
        ),
        (lambda f: permission_of(f.service, nonce=bytes(32)), "for another boot, or was used before"),
        (lambda f: permission_of(f.service, until_s=1), "ended at 1 s"),
        (lambda _: lambda _: b"nothing of the kind", "debugging stays closed: schema"),
    ],
)
def test_what_does_not_count_is_told_and_the_device_starts_as_ever(
    made: Made, service: Callable[[Factory], Callable[[bytes], bytes]], said: str
) -> None:
    factory, device = made
    outcome = device.start(service=service(factory))
    (note,) = outcome.of_kind("debug")
    assert note.text.startswith("debugging stays closed")
    assert said in note.text
    assert outcome.reached
    assert not outcome.reached["is_debug"]
    assert outcome.status == 0
