"""Sealed data opens in the release that sealed it and in the successor that it authorised, and nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boot import cells, layers, sealing
from boot.cells import Cells, Disk
from boot.chip import Chip
from boot.element import Element
from boot.refusal import Refused
from ipc_schemas import codec, element
from tests.boot import elements
from tests.boot.elements import BOOTLOADER, MONITOR, bring_to, make, powered

secrets = st.binary(min_size=32, max_size=32)
purposes = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=120)
data = st.binary(max_size=200)
UPDATED = hashlib.sha256(b"monitor of the next release").digest()
THIRD = hashlib.sha256(b"monitor of the release after that").digest()


@given(secrets, purposes, data)
def test_what_was_sealed_opens_again(secret: bytes, purpose: str, content: bytes) -> None:
    box = sealing.seal(secret, purpose, content)
    assert sealing.unseal(secret, purpose, box) == content
    assert box != sealing.seal(secret, purpose, content)


@given(secrets, secrets, purposes, purposes, data)
def test_another_secret_or_purpose_does_not_open_it(
    secret: bytes, other: bytes, purpose: str, another: str, content: bytes
) -> None:
    box = sealing.seal(secret, purpose, content)
    for wrong_secret, wrong_purpose in ((other, purpose), (secret, another)):
        if (wrong_secret, wrong_purpose) != (secret, purpose):
            with pytest.raises(Refused, match="was changed, or was sealed by another release"):
                sealing.unseal(wrong_secret, wrong_purpose, box)


@given(secrets, data)
@settings(max_examples=10)
def test_a_flipped_bit_anywhere_refuses(secret: bytes, content: bytes) -> None:
    box = sealing.seal(secret, "prescription", content)
    for bit in range(len(box) * 8):
        changed = bytearray(box)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refused):
            sealing.unseal(secret, "prescription", bytes(changed))


@given(secrets, data)
@settings(max_examples=20)
def test_a_box_that_is_cut_or_longer_refuses(secret: bytes, content: bytes) -> None:
    box = sealing.seal(secret, "prescription", content)
    for length in range(len(box)):
        with pytest.raises(Refused):
            sealing.unseal(secret, "prescription", box[:length])
    with pytest.raises(Refused):
        sealing.unseal(secret, "prescription", box + b"\0")


def test_too_much_data_and_a_purpose_that_is_no_word_are_refused() -> None:
    with pytest.raises(Refused, match="more than the"):
        sealing.seal(bytes(32), "log", bytes(sealing.DATA_BYTES_MAX + 1))
    with pytest.raises(Refused, match="cut or is no sealed data"):
        sealing.unseal(
            bytes(32), "log", sealing.seal(bytes(32), "log", b"") + bytes(sealing.DATA_BYTES_MAX + 1)
        )
    for purpose in ("", "x" * 121, "a\nb", "é"):
        with pytest.raises(Refused, match="a purpose is"):
            sealing.seal(bytes(32), purpose, b"")


def chip_with(state: element.State, tmp: Path) -> Chip:
    """An element's rules in this process, at the start of a boot."""
    disk = Disk(tmp)
    held = Cells.__new__(Cells)
    held.__dict__.update(_disk=disk, state=state, secret=b"\7" * cells.SECRET_BYTES)
    held.__dict__["replace"] = lambda new: held.__dict__.update(state=new)
    disk.close()
    return Chip(held, bytes(32))


def sealing_secret(chip: Chip, register: bytes) -> bytes | None:
    """The secret, or None when it was denied."""
    said = chip.answer(codec.encode(element.ReadSealingSecret(register)))
    return None if b"denied" in said else codec.Codec(element.Secret).decode(said).secret


def boot_chip(chip: Chip, bootloader: bytes, monitor: bytes) -> bytes:
    """Bring it to ``monitor``. Returns the register."""
    for request in (
        element.SpendAttempt("a"),
        element.DeriveLayer("bootloader", bootloader),
        element.MeasureNext(monitor),
    ):
        assert b"denied" not in chip.answer(codec.encode(request))
    return layers.register_of((bootloader, monitor))


@given(st.lists(st.tuples(secrets, secrets), min_size=3, max_size=3, unique=True))
@settings(max_examples=25)
def test_of_any_three_releases_only_the_named_successor_gets_anothers_secret(
    tmp_path_factory: pytest.TempPathFactory, releases: list[tuple[bytes, bytes]]
) -> None:
    tmp = tmp_path_factory.getbasetemp()
    first, second, third = (layers.register_of(release) for release in releases)
    state = element.State(lifecycle="operational", predecessor=first, successor=second)
    allowed = {}
    for release, register in zip(releases, (first, second, third), strict=True):
        chip = chip_with(state, tmp)
        assert boot_chip(chip, *release) == register
        allowed[register] = {r for r in (first, second, third) if sealing_secret(chip, r)}
    assert allowed == {first: {first}, second: {first, second}, third: {third}}


def sealed_by(folder: Path, monitor: bytes, content: bytes, authorises: bytes | None = None) -> bytes:
    """What the release with this monitor seals; it is confirmed, and may name a successor's monitor."""
    with powered(folder) as link:
        e = Element(link)
        bring_to("confirmed", e, monitor=monitor)
        box = sealing.seal(e.sealing_secret(e.facts().register), "prescription", content)
        if authorises is not None:
            e.authorise_successor(layers.register_of((BOOTLOADER, authorises)))
        return box


def opened_by(
    folder: Path, monitor: bytes, box: bytes, sealer: bytes, bootloader: bytes = BOOTLOADER
) -> bytes:
    """What the unconfirmed release with this monitor finds in the box of another."""
    with powered(folder) as link:
        e = Element(link)
        bring_to("monitor", e, bootloader=bootloader, monitor=monitor)
        return sealing.unseal(e.sealing_secret(layers.register_of((BOOTLOADER, sealer))), "prescription", box)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An operational element of the test's own."""
    return make(tmp_path / "e", "operational")


def test_the_same_release_opens_it_after_a_reboot(folder: Path) -> None:
    box = sealed_by(folder, MONITOR, b"2 U/h")
    assert opened_by(folder, MONITOR, box, sealer=MONITOR) == b"2 U/h"


def test_another_release_or_another_bootloader_cannot_open_it(folder: Path) -> None:
    box = sealed_by(folder, MONITOR, b"2 U/h")
    with pytest.raises(Refused, match="has not authorised this one"):
        opened_by(folder, UPDATED, box, sealer=MONITOR)
    with pytest.raises(Refused, match="has not authorised this one"):
        opened_by(folder, MONITOR, box, sealer=MONITOR, bootloader=UPDATED)
    with powered(folder) as link:
        e = Element(link)
        bring_to("monitor", e, monitor=UPDATED)
        own = e.sealing_secret(e.facts().register)
    with pytest.raises(Refused, match="sealed by another release"):
        sealing.unseal(own, "prescription", box)


def test_an_authorised_successor_opens_it_while_on_trial_and_a_reverted_update_still_does(
    folder: Path,
) -> None:
    box = sealed_by(folder, MONITOR, b"2 U/h", authorises=UPDATED)
    assert opened_by(folder, UPDATED, box, sealer=MONITOR) == b"2 U/h"
    assert opened_by(folder, MONITOR, box, sealer=MONITOR) == b"2 U/h"


def test_the_predecessor_never_opens_what_its_successor_sealed(folder: Path) -> None:
    sealed_by(folder, MONITOR, b"", authorises=UPDATED)
    box = sealed_by(folder, UPDATED, b"3 U/h")
    with pytest.raises(Refused, match="has not authorised this one"):
        opened_by(folder, MONITOR, box, sealer=UPDATED)


def test_authority_goes_one_release_far_and_ends_with_the_next(folder: Path) -> None:
    box = sealed_by(folder, MONITOR, b"2 U/h", authorises=UPDATED)
    with powered(folder) as link:
        e = Element(link)
        bring_to("confirmed", e, monitor=UPDATED)
        old = e.sealing_secret(layers.register_of((BOOTLOADER, MONITOR)))
        box_again = sealing.reseal(old, e.sealing_secret(e.facts().register), "prescription", box)
        e.authorise_successor(layers.register_of((BOOTLOADER, THIRD)))
        with pytest.raises(Refused, match="has not authorised this one"):
            e.sealing_secret(layers.register_of((BOOTLOADER, MONITOR)))
    with pytest.raises(Refused, match="has not authorised this one"):
        opened_by(folder, THIRD, box, sealer=MONITOR)
    assert opened_by(folder, THIRD, box_again, sealer=UPDATED) == b"2 U/h"


def test_a_release_on_trial_authorises_nobody(folder: Path) -> None:
    with powered(folder) as link:
        e = Element(link)
        bring_to("monitor", e)
        with pytest.raises(Refused, match="AuthoriseSuccessor is not open in phase monitor"):
            e.authorise_successor(UPDATED)


def test_another_device_with_the_same_release_cannot_open_it(folder: Path, tmp_path: Path) -> None:
    box = sealed_by(folder, MONITOR, b"2 U/h")
    other = elements.make(tmp_path / "other", "operational")
    with pytest.raises(Refused, match="sealed by another release"):
        opened_by(other, MONITOR, box, sealer=MONITOR)


def test_the_secret_of_a_layer_is_not_its_sealing_secret(folder: Path) -> None:
    with powered(folder) as link:
        e = Element(link)
        e.spend_attempt("a")
        secret, _ = e.derive_layer("bootloader", BOOTLOADER)
        following = layers.next_secret(secret, MONITOR)
        e.measure_next(MONITOR)
        assert e.sealing_secret(e.facts().register) not in (secret, following)
