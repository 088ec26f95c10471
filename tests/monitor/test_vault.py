"""Settings are sealed whole or not at all, and open nowhere but where they may: with a real element and real files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from boot import layers
from boot.cells import Disk
from boot.element import Element
from boot.forgetting import forget, read_once
from boot.refusal import Refused
from ipc_schemas import codec, element
from ipc_schemas.release import Handover, SealedSettings
from monitor import vault
from monitor.vault import Vault
from tests.boot import elements
from tests.boot.cut_power import FailingDisk

SETTINGS = b"basal 0.8 U/h, ratio 10 g/U"
OTHER = hashlib.sha256(b"another monitor").digest()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A device's folder: an element that is in use, and an empty flash."""
    (tmp_path / "flash").mkdir()
    elements.make(tmp_path / "element", "operational")
    return tmp_path


@contextmanager
def booted(folder: Path, monitor: bytes = elements.MONITOR, *, is_confirmed: bool = True) -> Iterator[Vault]:
    """The vault of a monitor in a boot of its own."""
    with elements.powered(folder / "element") as link:
        chip = Element(link)
        elements.bring_to("confirmed" if is_confirmed else "monitor", chip, monitor=monitor)
        handover = Handover(str(folder / "flash"), "", 3, 4, "monitor", secret=bytes(range(32)))
        yield Vault(handover, chip)


def box_of(folder: Path) -> Path:
    return folder / "flash" / vault.FOLDER / "therapy"


def seal(folder: Path, monitor: bytes = elements.MONITOR, settings: bytes = SETTINGS) -> None:
    with booted(folder, monitor) as own:
        assert own.keep({"therapy": settings}) == ["therapy"]


def opened(folder: Path, monitor: bytes = elements.MONITOR) -> bytes:
    with booted(folder, monitor, is_confirmed=False) as own:
        return own.settings(["therapy"])["therapy"]


def refused(folder: Path, monitor: bytes = elements.MONITOR) -> Refused:
    with pytest.raises(Refused) as caught:
        opened(folder, monitor)
    assert caught.value.rule == "seal"
    assert caught.value.sentence.count(";") == 0
    assert "put back the release that sealed them" in caught.value.remedy
    return caught.value


def test_what_a_release_sealed_opens_at_its_next_start_and_is_nowhere_in_the_flash(made: Path) -> None:
    seal(made)
    assert opened(made) == SETTINGS
    assert all(SETTINGS not in path.read_bytes() for path in (made / "flash").rglob("*") if path.is_file())


def test_a_device_that_has_sealed_nothing_has_nothing_to_open(made: Path) -> None:
    with booted(made, is_confirmed=False) as own:
        assert own.settings(["therapy"]) == {}


def test_another_release_is_refused_by_the_rule_seal(made: Path) -> None:
    seal(made)
    assert "sealed by another release, which has not authorised this one" in refused(made, OTHER).sentence


def test_an_authorised_successor_opens_them_seals_them_anew_and_then_its_predecessor_does_not(
    made: Path,
) -> None:
    with booted(made) as own:
        own.keep({"therapy": SETTINGS})
        own.chip.authorise_successor(_register(OTHER))
    with booted(made, OTHER, is_confirmed=False) as successor:
        assert successor.settings(["therapy"]) == {"therapy": SETTINGS}
        successor.chip.confirm()
        assert successor.keep({"therapy": SETTINGS}) == ["therapy"]
    assert opened(made, OTHER) == SETTINGS
    refused(made)


def _register(monitor: bytes) -> bytes:
    return layers.register_of((elements.BOOTLOADER, monitor))


def test_what_the_running_release_has_sealed_itself_is_not_written_again(made: Path) -> None:
    seal(made)
    before = box_of(made).read_bytes()
    with booted(made, is_confirmed=False) as own:
        own.settings(["therapy"])
        own.chip.confirm()
        assert own.keep({"therapy": SETTINGS}) == []
    assert box_of(made).read_bytes() == before


def test_a_boot_with_debugging_open_neither_opens_nor_seals(made: Path) -> None:
    seal(made)
    before = box_of(made).read_bytes()
    key = Ed25519PrivateKey.generate()
    with elements.powered(made / "element") as link:
        chip = Element(link)
        unlock = elements.unlock_by(key, chip.facts().nonce)
        chip.open_debug(unlock, key.public_key().public_bytes_raw(), 1_000)
        elements.bring_to("confirmed", chip)
        own = Vault(Handover(str(made / "flash"), "", 3, 4, "monitor", secret=bytes(range(32))), chip)
        with pytest.raises(Refused, match="sealed by another release"):
            own.settings(["therapy"])
        with pytest.raises(Refused, match="debugging is open in this boot, which seals nothing"):
            own.keep({"therapy": b"new"})
    assert box_of(made).read_bytes() == before
    assert opened(made) == SETTINGS


def test_every_bit_and_every_cut_of_a_box_is_refused_in_one_sentence(made: Path) -> None:
    seal(made)
    whole = box_of(made).read_bytes()
    with booted(made, is_confirmed=False) as own:
        for at in range(len(whole)):
            flipped = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
            for content in (flipped, whole[:at]):
                box_of(made).write_bytes(content)
                with pytest.raises(Refused) as caught:
                    own.settings(["therapy"])
                assert caught.value.rule == "seal"
                assert "therapy" in caught.value.sentence


def test_settings_of_one_partition_are_not_those_of_another(made: Path) -> None:
    seal(made)
    box_of(made).rename(box_of(made).with_name("transfer"))
    with (
        booted(made, is_confirmed=False) as own,
        pytest.raises(Refused, match="settings of transfer are cut or changed"),
    ):
        own.settings(["transfer"])


def test_settings_beyond_the_bound_are_refused_and_the_old_ones_stay(made: Path) -> None:
    seal(made)
    with booted(made) as own, pytest.raises(Refused, match=f"{vault.SETTINGS_BYTES_MAX} can be sealed"):
        own.keep({"therapy": bytes(vault.SETTINGS_BYTES_MAX + 1)})
    assert opened(made) == SETTINGS


def test_a_flash_that_cannot_be_written_is_told_with_the_reason(made: Path) -> None:
    (made / "flash" / vault.FOLDER).write_bytes(b"a file in the place of the folder")
    with booted(made) as own, pytest.raises(Refused, match="cannot be written"):
        own.keep({"therapy": SETTINGS})


class PowerGone(Exception):
    pass


class CutDisk(FailingDisk):
    """Ends at a step by an exception instead of the end of its process: nothing else of it is used afterwards."""

    def _step(self) -> None:
        if self._steps_left == 0:
            self._forget()
            raise PowerGone
        self._steps_left -= 1


@pytest.mark.parametrize("losses", ["-", "contents", "contents,names"])
def test_a_cut_of_the_power_at_any_step_leaves_the_old_settings_or_the_new_ones(
    made: Path, losses: str
) -> None:
    seal(made)
    old = box_of(made).read_bytes()
    with booted(made) as own:
        register = own.chip.facts().register
        secret = own.chip.sealing_secret(register)
        found = set()
        for step in range(100):
            box_of(made).write_bytes(old)
            disk = CutDisk(box_of(made).parent, step, losses=losses)
            try:
                vault.write(disk, "therapy", b"new", secret, register)
            except PowerGone:
                was_cut = True
            else:
                was_cut = False
            finally:
                disk.close()
            found.add(own.settings(["therapy"])["therapy"])
            if not was_cut:
                break
        else:
            pytest.fail("a write never came to its end")
    assert found <= {SETTINGS, b"new"}
    assert found == {SETTINGS, b"new"}
    assert step > 5


def test_a_closed_vault_has_forgotten_its_secret_and_cannot_ask_the_element(made: Path) -> None:
    secret = bytes(bytearray(range(100, 132)))
    with elements.powered(made / "element") as link:
        chip = Element(link)
        elements.bring_to("monitor", chip)
        own = Vault(Handover(str(made / "flash"), "", 3, 4, "monitor", secret=secret), chip)
        own.close()
        with pytest.raises(Refused, match="does not answer"):
            own.chip.facts()
    assert secret == bytes(32)


def test_what_is_read_once_is_overwritten_whether_it_can_be_read_or_not() -> None:
    good = codec.encode(element.Secret(bytes(range(32))))
    reader = codec.Codec(element.Secret)
    assert read_once(reader, good).secret == bytes(range(32))
    assert good == bytes(len(good))
    short = codec.encode({"answer": "secret", "secret": bytes(31)})
    disordered = codec.encode_as_decoded({"secret": bytes(32), "answer": "secret"})
    assert reader.decode_loosely(disordered).secret == bytes(32)
    for bad in (short, disordered, bytes(bytearray(b"\xc1" * 40)), bytes(bytearray(b"\x80" * 9))):
        with pytest.raises(codec.Refused):
            read_once(reader, bad)
        assert bad == bytes(len(bad))


def test_bytes_that_the_interpreter_shares_are_left_alone() -> None:
    forget(b"a")
    forget(b"")
    assert bytes([97]) == b"a"


def test_a_box_is_as_large_as_its_shape_allows(made: Path) -> None:
    seal(made, settings=bytes(vault.SETTINGS_BYTES_MAX))
    assert len(opened(made)) == vault.SETTINGS_BYTES_MAX
    assert codec.Codec(SealedSettings).decode(box_of(made).read_bytes()).register == _register(
        elements.MONITOR
    )


def test_another_process_that_writes_there_meanwhile_is_told(made: Path) -> None:
    seal(made)
    disk = Disk(box_of(made).parent)
    try:
        with booted(made) as own, pytest.raises(Refused, match="another process holds"):
            own.keep({"therapy": SETTINGS})
    finally:
        disk.close()


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_no_plain_file_in_the_place_of_a_box_is_refused_and_nobody_waits(
    made: Path, kind: str
) -> None:
    """Seen: a monitor that waited for a writer for good."""
    seal(made)
    box = box_of(made)
    aside = box.rename(box.with_name("aside"))
    if kind == "pipe":
        os.mkfifo(box)
    elif kind == "folder":
        box.mkdir()
    else:
        box.symlink_to(aside)
    assert refused(made).rule == "seal"
