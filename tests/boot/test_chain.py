"""ROM becomes the bootloader, and the bootloader the monitor: real processes, real images, a real element.

Each refusal is seen beside its control: with the rule left out, the same flash boots.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from boot import admission
from boot.admission import Rules
from boot.authority import Trust, key_sha256_of
from boot.element import Element
from boot.refusal import Refused
from boot.scope import Scope
from ipc_schemas import codec, element, interpreter, links, release
from ipc_schemas.release import Envelope
from tests.boot import chains, elements
from tests.boot.chains import Device
from world.factory import development
from world.factory.certificates import Authority, Validity
from world.factory.development import Factory, Made

HOUR = timedelta(hours=1)


class Bench(NamedTuple):
    factory: Factory
    rom: bytes
    bootloader: bytes
    monitor: bytes


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(*chains.made(), chains.probe())


@pytest.fixture
def device(bench: Bench, tmp_path: Path) -> Device:
    found = Device(tmp_path, bench.factory, bench.rom)
    bench.factory.write_release(found.flash, "a", chains.parts(bench.monitor, bench.bootloader))
    return found


def test_the_chain_is_verified_measured_and_run_link_by_link(device: Device, bench: Bench) -> None:
    outcome = device.start()
    assert outcome.status == 0
    told = outcome.reached
    assert [line for line in told["log"] if "platform" not in line] == [
        "rom release insulin_pump 1.0",
        "rom image bootloader 1.0",
        "bootloader image monitor 1.0",
    ]
    digests = [hashlib.sha256(content).hexdigest() for content in (bench.bootloader, bench.monitor)]
    assert told["digests"][-2:] == digests
    assert told["layers"] == ["bootloader", "monitor"]
    assert (told["slot"], told["phase"]) == ("a", "monitor")
    assert str(told["where"]).startswith("/proc/self/fd/")
    assert set(told["environment"]) <= interpreter.ENVIRONMENT.keys()


def test_a_changed_monitor_gets_other_keys_and_the_bootloader_keeps_its_own(
    device: Device, bench: Bench
) -> None:
    one = device.start().reached
    again = device.start().reached
    bench.factory.write_release(device.flash, "a", chains.parts(chains.probe("other"), bench.bootloader))
    other = device.start().reached
    assert (one["keys"], one["secret"]) == (again["keys"], again["secret"])
    assert one["keys"][0] == other["keys"][0]
    assert one["keys"][1] != other["keys"][1]
    assert one["secret"] != other["secret"]


# --- what is refused, each beside its control ---


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def flipped_image(device: Device, _: Bench) -> None:
    _flip(device.flash / "slot_a/monitor.img", -1)  # in the archive's comment length: it still runs


def lengthened_image(device: Device, bench: Bench) -> None:
    longer = bench.monitor + b"\0\0"
    (device.flash / "slot_a/monitor.img").write_bytes(longer[:-2] + b"\0")


def mixed(device: Device, bench: Bench) -> None:
    other = device.flash / "other"
    bench.factory.write_release(other, "a", chains.parts(chains.probe("newer"), bench.bootloader), "1.1")
    for name in ("monitor.img", "monitor.bhm"):
        shutil.copy(other / "slot_a" / name, device.flash / "slot_a" / name)


def unsigned(device: Device, _: Bench) -> None:
    path = device.flash / "slot_a/monitor.bhm"
    envelope = codec.Codec(Envelope).decode(path.read_bytes())
    path.write_bytes(codec.encode(Envelope(envelope.payload, ())))


def signed_by_nobody(device: Device, bench: Bench) -> None:
    stranger = Factory(bench.factory.now)
    stranger.write_release(device.flash, "a", chains.parts(bench.monitor, bench.bootloader))


def signed_outside_its_scope(device: Device, bench: Bench) -> None:
    supplier = bench.factory.signer("Supplier", Scope(("partition",), ("transfer",), ("A",)))
    parts = chains.parts(bench.monitor, bench.bootloader)
    bench.factory.write_release(device.flash, "a", parts, signers={"monitor": supplier})


def signed_by_two_of_whom_one_is_wrong(device: Device, _: Bench) -> None:
    path = device.flash / "slot_a/monitor.bhm"
    (one,) = codec.Codec(Envelope).decode(path.read_bytes()).signatures
    payload = codec.Codec(Envelope).decode(path.read_bytes()).payload
    other = release.Signed(one.chain, bytes(64))
    path.write_bytes(codec.encode(Envelope(payload, (one, other))))


def for_other_hardware(device: Device, bench: Bench) -> None:
    parts = chains.parts(bench.monitor, bench.bootloader)
    bench.factory.write_release(device.flash, "a", parts, hardware_id="another pump")


def on_another_platform(device: Device, bench: Bench) -> None:
    parts = chains.parts(bench.monitor, bench.bootloader)
    parts["monitor"] = dataclasses.replace(parts["monitor"], platform=(("msgspec", bytes(32)),))
    bench.factory.write_release(device.flash, "a", parts)


def with_a_bootloader_for_another_platform(device: Device, bench: Bench) -> None:
    parts = chains.parts(bench.monitor, bench.bootloader)
    parts["bootloader"] = dataclasses.replace(parts["bootloader"], platform=(("msgspec", bytes(32)),))
    bench.factory.write_release(device.flash, "a", parts)


@pytest.mark.parametrize(
    ("attack", "rule", "without"),
    [
        (flipped_image, "digest", {"digest"}),
        (lengthened_image, "digest", {"digest"}),
        (mixed, "release", {"release"}),
        (unsigned, "signature", {"signature"}),
        (signed_by_nobody, "chain", {"chain", "revocation"}),
        (signed_outside_its_scope, "scope", {"scope"}),
        (signed_by_two_of_whom_one_is_wrong, "signature", {"signature"}),
        (for_other_hardware, "hardware", {"hardware"}),
        (on_another_platform, "platform", {"platform"}),
        (with_a_bootloader_for_another_platform, "platform", {"platform"}),
    ],
)
def test_it_is_refused_and_boots_with_the_rule_left_out(
    device: Device,
    bench: Bench,
    attack: Callable[[Device, Bench], None],
    rule: str,
    without: set[str],
) -> None:
    assert device.start().reached
    attack(device, bench)
    outcome = device.start()
    assert not outcome.reached
    assert outcome.refused[0] == rule
    assert outcome.status in (3, 75)
    assert device.start(frozenset(without)).reached


def test_a_name_in_the_flash_that_is_no_text_is_refused_like_any_other(device: Device) -> None:
    """Seen: ROM died with a traceback over it, and told nobody."""
    os.mkfifo(os.fsencode(device.flash) + b"/trust/\xff.crl")
    outcome = device.start()
    assert not outcome.reached
    assert outcome.status == 3
    assert {str(note.facts["rule"]) for note in outcome.notes if note.kind != "stage"} == {"form"}


def test_swapping_the_file_after_the_check_changes_nothing_unless_the_wall_is_out(
    device: Device, bench: Bench
) -> None:
    """The bootloader is swapped for the attacker's when it has been read; with the wall out, some come in time."""
    evil = chains.probe("swapped in")
    for _ in range(5):
        assert _swapped(device, bench, evil, frozenset()).reached["mark"] == ""
    assert any(
        _swapped(device, bench, evil, frozenset({"swap"})).reached.get("mark") == "swapped in"
        for _ in range(30)
    )


def _swapped(device: Device, bench: Bench, evil: bytes, without: frozenset[str]) -> chains.Outcome:
    """A start in which the bootloader's file is another one by the time that it is started."""
    path = device.flash / "slot_a/bootloader.img"
    path.write_bytes(bench.bootloader)
    return _changed_on_the_way(device, lambda: path.write_bytes(evil), without)


def _changed_on_the_way(
    device: Device, change: Callable[[], object], without: frozenset[str]
) -> chains.Outcome:
    """A start with a change as soon as the attempt has been spent.

    ROM spends it after it has taken the images into memory, and before it starts the next stage.
    """
    attempts = set(os.listdir(device.element_folder))
    written = {one: (device.element_folder / one).stat().st_mtime_ns for one in attempts}

    def watch() -> None:
        until_s = time.monotonic() + 5.0
        while time.monotonic() < until_s:
            for one, before_ns in written.items():
                with contextlib.suppress(FileNotFoundError):
                    if (device.element_folder / one).stat().st_mtime_ns != before_ns:
                        change()
                        return
        raise AssertionError("no attempt was spent")

    return device.start(without, watch)


def test_a_release_that_is_exchanged_behind_roms_back_is_not_gone_on_with(
    device: Device, bench: Bench
) -> None:
    """Seen: the bootloader ran the monitor of another release than ROM had measured."""
    other = device.flash / "other"
    parts = chains.parts(chains.probe("exchanged"), bench.bootloader)
    bench.factory.write_release(other, "a", parts, "9.9")

    def exchange() -> None:
        for name in ("release.bhm", "monitor.img", "monitor.bhm"):
            shutil.copy(other / "slot_a" / name, device.flash / "slot_a" / name)

    outcome = _changed_on_the_way(device, exchange, frozenset())
    assert not outcome.reached
    assert outcome.refused == ["release"]
    bench.factory.write_release(device.flash, "a", chains.parts(bench.monitor, bench.bootloader))
    control = _changed_on_the_way(device, exchange, frozenset({"release"}))
    assert control.reached["mark"] == "exchanged"


def test_an_image_below_the_floor_is_refused_in_either_slot(device: Device, bench: Bench) -> None:
    old = chains.parts(bench.monitor, bench.bootloader, security_counter=1)
    new = chains.parts(chains.probe("floor 2"), bench.bootloader, security_counter=2)
    bench.factory.write_release(device.flash, "b", old, "1.0")
    bench.factory.write_release(device.flash, "a", new, "2.0")
    assert device.start().reached["mark"] == "floor 2"
    bench.factory.write_release(device.flash, "a", old, "1.0")
    outcome = device.start()
    assert outcome.refused == ["floor"]
    assert outcome.of_kind("boot_refused")[0].facts["stage"] == "bootloader"
    assert "has the security counter 1, and the floor is 2" in outcome.of_kind("boot_refused")[0].text
    assert not outcome.reached
    assert device.start(frozenset({"floor"})).reached


# --- lists and time, which the element has floors under ---


def _confirmed_with(
    device: Device, lists: Mapping[Authority, int] = MappingProxyType({}), time_s: int = 0
) -> None:
    """A boot that was confirmed, with lists of these numbers, and with a time that somebody has signed."""
    with elements.booted_to("confirmed", device.element_folder) as chip:
        floors = [element.ListFloor(key_sha256_of(one.certificate), number) for one, number in lists.items()]
        if floors:
            chip.raise_list_floors(tuple(floors))
        if time_s:
            chip.raise_time_floor(time_s)


@pytest.mark.parametrize("whose", ["root", "platform"])
def test_an_older_list_that_is_put_back_is_refused_by_rom(device: Device, bench: Bench, whose: str) -> None:
    """Seen: it revived a revoked signer, because the element had no floor of lists."""
    newest = development.LIST_NUMBER
    bench.factory.write_trust(device.flash, newest - 1)
    assert device.start().reached
    authority = bench.factory.root if whose == "root" else bench.factory.platform
    _confirmed_with(device, {authority: newest})
    outcome = device.start()
    assert (outcome.refused, outcome.status) == (["revocation", "form"], 3)
    (first, _) = outcome.of_kind("boot_refused")
    assert (first.facts["stage"], first.facts["image"]) == ("rom", "release")
    assert f"has number {newest - 1}, below {newest}" in first.text
    assert device.start(frozenset({"revocation"})).reached
    bench.factory.write_trust(device.flash, newest)
    assert device.start().reached


def test_a_signer_who_was_taken_back_counts_by_the_list_from_before_and_by_no_later_one(
    device: Device, bench: Bench
) -> None:
    parts = chains.parts(bench.monitor, bench.bootloader)
    bench.factory.write_release(device.flash, "a", parts, signers={"monitor": bench.factory.former})
    assert device.start().refused == ["revocation"]
    bench.factory.write_trust(device.flash, development.LIST_NUMBER - 1)
    assert device.start().refused == ["scope"]  # the list is asked before the scope, which is partitions only


def test_an_older_list_that_comes_back_behind_roms_back_is_refused_by_the_bootloader(
    device: Device, bench: Bench
) -> None:
    _confirmed_with(device, {bench.factory.platform: development.LIST_NUMBER})
    old = device.flash / "old"
    bench.factory.write_trust(old, development.LIST_NUMBER - 1)

    def put_back() -> None:
        shutil.copy(old / "trust/platform.crl", device.flash / "trust/platform.crl")

    outcome = _changed_on_the_way(device, put_back, frozenset())
    assert not outcome.reached
    (said,) = outcome.of_kind("boot_refused")
    assert (said.facts["stage"], said.facts["rule"]) == ("bootloader", "revocation")
    assert outcome.status == links.EXIT_RESET
    bench.factory.write_trust(device.flash)
    assert _changed_on_the_way(device, put_back, frozenset({"revocation"})).reached


def test_with_the_clock_set_back_an_expired_certificate_stays_expired(device: Device, bench: Bench) -> None:
    """The certificate ends in an hour by the host's clock; the device knows that it is later than that."""
    now = bench.factory.now
    short = bench.factory.signer("Short-lived", development.EVERYTHING, validity=Validity(now, now + HOUR))
    parts = chains.parts(bench.monitor, bench.bootloader)
    bench.factory.write_release(device.flash, "a", parts, signers={"bootloader": short})
    assert device.start().reached
    _confirmed_with(device, time_s=int((now + 2 * HOUR).timestamp()))
    outcome = device.start()
    assert outcome.refused == ["chain", "form"]
    assert "expired" in outcome.of_kind("boot_refused")[0].text
    assert device.start(frozenset({"chain"})).reached
    bench.factory.write_release(device.flash, "a", parts)
    assert device.start().reached


def test_one_list_too_many_is_refused_and_not_passed_over(device: Device) -> None:
    """Seen: those whose names came last were not looked at, whatever they revoked."""
    for n in range(17):
        shutil.copy(device.flash / "trust/root.crl", device.flash / f"trust/a_{n:02}.crl")
    outcome = device.start()
    assert outcome.refused[0] == "form"
    assert "revocation lists; at most 16 may be" in outcome.of_kind("boot_refused")[0].text


def test_with_one_slot_broken_the_other_one_starts_and_with_both_none_does(
    device: Device, bench: Bench
) -> None:
    parts = chains.parts(chains.probe("recovery"), bench.bootloader)
    bench.factory.write_release(device.flash, "b", parts, "0.5")
    _flip(device.flash / "slot_a/bootloader.img", 200)
    outcome = device.start()
    assert outcome.refused == ["digest"]
    assert (outcome.reached["slot"], outcome.reached["mark"]) == ("b", "recovery")
    _flip(device.flash / "slot_b/bootloader.img", 200)
    outcome = device.start()
    assert outcome.refused == ["digest", "digest"]
    assert outcome.status == 3
    (end,) = outcome.of_kind("safe_state")
    assert "install a release in a slot" in end.text


def test_what_rom_itself_refuses_costs_no_attempt_and_starts_as_soon_as_the_flash_is_mended(
    device: Device,
) -> None:
    """Else a clock that was wrong for five starts would be the end of a sound slot."""
    path = device.flash / "slot_a/bootloader.img"
    whole = path.read_bytes()
    _flip(path, 200)
    for _ in range(element.ATTEMPTS_MAX + 1):
        assert (device.start().refused, device.start().status) == (["digest", "form"], 3)
    with elements.powered(device.element_folder) as link:
        assert Element(link).facts().attempts == (element.ATTEMPTS_MAX, element.ATTEMPTS_MAX)
    path.write_bytes(whole)
    assert device.start().reached["slot"] == "a"


def test_a_slot_that_was_never_confirmed_runs_out_of_attempts(device: Device, bench: Bench) -> None:
    parts = chains.parts(chains.probe("unconfirmed"), bench.bootloader)
    bench.factory.write_release(device.flash, "a", parts)
    for _ in range(5):
        assert device.start().reached
    outcome = device.start()
    assert not outcome.reached
    assert outcome.status == 3


# --- bits ---


def _trust(flash: Path, bench: Bench) -> Trust:
    return Trust(
        key_sha256_of(bench.factory.root.certificate),
        (flash / "trust/root.der").read_bytes(),
        tuple(path.read_bytes() for path in sorted((flash / "trust").glob("*.crl"))),
    )


def _admitted(flash: Path, bench: Bench) -> None:
    """Everything of a slot, judged by the rules of a device. Raises ``Refused``."""
    rules = Rules(_trust(flash, bench), development.HARDWARE_ID, bench.factory.now)
    shelf = flash / "slot_a"
    found, _ = admission.admit_release(shelf, rules)
    admission.admit(shelf, "bootloader", "bootloader", found, rules).file.close()
    admission.admit(shelf, "monitor", "monitor", found, rules).file.close()


@pytest.mark.parametrize("name", ["monitor.bhm", "bootloader.bhm", "release.bhm"])
def test_every_byte_of_a_manifest_or_release_counts(name: str, bench: Bench, tmp_path: Path) -> None:
    bench.factory.write_trust(tmp_path)
    bench.factory.write_release(tmp_path, "a", chains.parts(b"monitor" * 20, b"bootloader" * 20))
    _admitted(tmp_path, bench)
    path = tmp_path / "slot_a" / name
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 1 << at % 8,)) + whole[at + 1 :])
        with pytest.raises(Refused):
            _admitted(tmp_path, bench)
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(Refused):
            _admitted(tmp_path, bench)


@pytest.mark.parametrize("role", ["bootloader", "monitor"])
def test_every_bit_of_four_kibibytes_of_an_image_counts(role: str, bench: Bench) -> None:
    content: bytes = getattr(bench, role)
    sample = bytearray(content[len(content) // 2 :][:4096])
    manifest = development.manifest_of(role, Made("monitor", bytes(sample)), "1.0", development.HARDWARE_ID)
    assert admission.is_as_said(manifest, len(sample), hashlib.sha256(sample).digest())
    for bit in range(len(sample) * 8):
        sample[bit >> 3] ^= 1 << (bit & 7)
        assert not admission.is_as_said(manifest, len(sample), hashlib.sha256(sample).digest())
        sample[bit >> 3] ^= 1 << (bit & 7)
    assert admission.is_as_said(manifest, len(sample), hashlib.sha256(sample).digest())
