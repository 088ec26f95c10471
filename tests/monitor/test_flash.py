"""What the monitor asks of the flash by itself, whatever the stages before it have asked; and what it confirms."""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding

from boot import measured
from boot.authority import key_sha256_of
from boot.element import Element
from boot.refusal import Refused
from ipc_schemas import codec, element, links
from ipc_schemas.element import ListFloor
from ipc_schemas.release import Envelope, Handover, Release
from monitor.flash import Content, Flash
from monitor.loader import load_design
from sandbox import walls
from world import devices, power
from world.factory import certificates, development, packing
from world.factory.development import HARDWARE_ID, Made

DESIGN = load_design(Path(__file__).parents[2] / "designs/insulin_pump", walls.ALL)
CRITICAL, OTHER = "therapy", "transfer"
FACTORY = devices.factory()


@pytest.fixture(autouse=True)
def _as_in_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that only the monitor's own image holds."""
    monkeypatch.setattr(pkgutil, "get_data", lambda room, name: packing.libraries()[f"{room}/{name}"])


def parts() -> dict[str, Made]:
    return devices.parts_of(DESIGN, {})


def install(folder: Path, images: dict[str, Made], version: str = "1.0") -> Path:
    """All signed by the maker, who may sign everything: who may sign what is asked elsewhere."""
    FACTORY.write_trust(folder)
    FACTORY.write_release(folder, "a", images, version, DESIGN.name)
    return folder


def facts(**changes: Any) -> element.Facts:
    known = element.Facts(
        lifecycle="operational",
        phase="monitor",
        root_key_sha256=key_sha256_of(FACTORY.root.certificate),
        hardware_id=HARDWARE_ID.encode(),
        serial=b"SN-1",
        nonce=bytes(32),
        register=bytes(32),
        is_debug=False,
        floors=(),
        list_floors=(),
        time_floor_s=0,
        slot_active="a",
        attempts=(4, 5),
    )
    return msgspec.structs.replace(known, **changes)


def booted(flash: Path, known: element.Facts | None = None, without: tuple[str, ...] = ()) -> Flash:
    """As the monitor begins that was booted from this flash. Raises ``Refused``."""
    found = codec.Codec(Release).decode(
        codec.Codec(Envelope).decode((flash / "slot_a/release.bhm").read_bytes()).payload
    )
    digest = hashlib.sha256(codec.encode(found)).digest()
    log = measured.Log().appended("rom", "release", found.device, found.version, digest, "the maker")
    handover = Handover(
        str(flash), power.packages_folder(), 3, 4, links.MONITOR, without=without, slot="a", log=log.lines
    )
    return Flash(handover, known or facts())


def refused(ask: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as found:
        ask()
    return found.value


def test_the_devices_own_flash_is_taken_whole(tmp_path: Path) -> None:
    content = booted(install(tmp_path, parts())).content("", "", ())
    assert content.partitions.keys() == {CRITICAL, OTHER}
    assert content.design.digest == DESIGN.digest


def test_a_partition_of_another_safety_class_than_the_designs_is_refused(tmp_path: Path) -> None:
    images = parts()
    images[CRITICAL] = replace(images[CRITICAL], safety_class="A")
    flash = booted(install(tmp_path, images))
    found = refused(lambda: flash.content("", "", ()))
    assert (found.rule, found.image) == ("scope", CRITICAL)
    assert "of safety class C by the design, A by its manifest" in found.sentence


def test_an_image_that_the_design_knows_nothing_of_is_refused(tmp_path: Path) -> None:
    flash = booted(install(tmp_path, parts() | {"intruder": parts()[OTHER]}))
    found = refused(lambda: flash.content("", "", ()))
    assert (found.rule, found.image) == ("release", "intruder")
    assert "the design has no such partition" in found.sentence


def test_a_package_that_a_partition_uses_and_does_not_pin_is_refused(tmp_path: Path) -> None:
    images = parts()
    images[CRITICAL] = replace(images[CRITICAL], platform=images[CRITICAL].platform[:1])
    flash = booted(install(tmp_path, images))
    found = refused(lambda: flash.content("", "", ()))
    assert (found.rule, found.image) == ("platform", CRITICAL)
    assert "its manifest does not say which" in found.sentence


def test_a_package_that_is_another_than_a_partition_pins_is_refused(tmp_path: Path) -> None:
    images = parts()
    pinned = tuple((name, bytes(32)) for name, _ in images[CRITICAL].platform)
    images[CRITICAL] = replace(images[CRITICAL], platform=pinned)
    folder = install(tmp_path, images)
    found = refused(lambda: booted(folder).content("", "", ()))
    assert (found.rule, found.image) == ("platform", CRITICAL)
    assert booted(folder, without=("platform",)).content("", "", ()).partitions


@pytest.mark.parametrize("role", ["bootloader", "monitor"])
def test_a_release_of_other_stages_than_those_that_run_is_refused(tmp_path: Path, role: str) -> None:
    images = parts()
    images[role] = replace(images[role], security_counter=images[role].security_counter + 1)
    own, other = install(tmp_path / "own", parts()), install(tmp_path / "other", images)
    found = refused(lambda: booted(own).content(str(other), "a", ()))
    assert (found.rule, found.image) == ("release", "release")
    assert "names another bootloader or monitor than those that run" in found.sentence
    assert booted(own).content(str(other), "a", ("release",)).partitions
    same = install(tmp_path / "same", parts())
    assert booted(own).content(str(same), "a", ()).partitions


def test_a_release_that_rom_has_not_measured_is_refused(tmp_path: Path) -> None:
    own, other = install(tmp_path / "own", parts()), install(tmp_path / "other", parts(), "2.0")
    flash = booted(own)
    (own / "slot_a/release.bhm").write_bytes((other / "slot_a/release.bhm").read_bytes())
    found = refused(lambda: Flash(flash._handover, facts()))
    assert (found.rule, found.image) == ("release", "release")


def test_an_older_list_in_the_flash_of_a_run_is_refused_by_the_monitor(tmp_path: Path) -> None:
    own, other = install(tmp_path / "own", parts()), install(tmp_path / "other", parts())
    FACTORY.write_trust(other, development.LIST_NUMBER - 1)
    known = facts(list_floors=FACTORY.confirmed_lists())
    found = refused(lambda: booted(own, known).content(str(other), "a", ()))
    assert found.rule == "revocation"
    assert f"number {development.LIST_NUMBER - 1}, below {development.LIST_NUMBER}" in found.sentence
    assert booted(own, known).content(str(other), "a", ("revocation",)).partitions


def floors_of_others(count: int) -> tuple[ListFloor, ...]:
    return tuple(ListFloor(hashlib.sha256(b"%d" % n).digest(), 1) for n in range(count))


def test_a_release_by_more_authorities_than_there_are_cells_for_floors_is_refused(tmp_path: Path) -> None:
    """It would run, and an older list of the one too many could be put back."""
    flash = install(tmp_path, parts())
    room = element.LIST_FLOORS_MAX - len(FACTORY.confirmed_lists())
    assert booted(flash, facts(list_floors=floors_of_others(room))).content("", "", ()).partitions
    found = refused(lambda: booted(flash, facts(list_floors=floors_of_others(room + 1))).content("", "", ()))
    assert (found.rule, found.image) == ("revocation", "release")
    assert "33 authorities have vouched for what this device ran" in found.sentence


# --- what is confirmed ---


def confirmed(folder: Path, without: tuple[str, ...] = ()) -> element.Facts:
    """What a new device's element holds after a confirmed boot from this flash."""
    FACTORY.manufacture(folder / "element", "SN-1")
    with development.linked(folder / "element") as chip:
        confirm(folder, chip, without)
        return chip.facts()


def confirm(folder: Path, chip: Element, without: tuple[str, ...] = ()) -> None:
    """One boot from this flash, up to its confirmation. Raises ``Refused``."""
    chip.spend_attempt("a")
    chip.derive_layer("bootloader", bytes(32))
    chip.measure_next(bytes(32))
    flash = booted(folder, chip.facts(), without)
    content: Content = flash.content("", "", ())
    flash.confirm(chip, content)


def test_floors_are_those_of_the_lists_that_vouched_for_this_boot_and_of_no_others(tmp_path: Path) -> None:
    install(tmp_path, parts())
    unused = certificates.revocation_list(FACTORY.plant, {}, 9, FACTORY.lists_issued, FACTORY.now)
    (tmp_path / "trust/plant.crl").write_bytes(unused.public_bytes(Encoding.DER))
    found = confirmed(tmp_path)
    assert set(found.list_floors) == set(FACTORY.confirmed_lists())
    assert found.time_floor_s == int(FACTORY.lists_issued.timestamp())
    assert {floor.counter for floor in found.floors} == {devices.SECURITY_COUNTER}


def test_a_list_that_only_one_partitions_signer_needed_has_a_floor_too(tmp_path: Path) -> None:
    install(tmp_path, parts())
    above = certificates.code_authority(
        FACTORY.platform,
        certificates.name_of(development.MAKER, common="Supplier"),
        generate_private_key(SECP256R1()),
        FACTORY.validity,
        0,
    )
    signer = FACTORY.signer("Below it", development.EVERYTHING, below=above)
    signer = replace(signer, chain=(*signer.chain, FACTORY.maker.chain[1]))
    FACTORY.write_release(tmp_path, "a", parts(), "1.0", DESIGN.name, {OTHER: signer})
    own = certificates.revocation_list(above, {}, 5, FACTORY.lists_issued, FACTORY.now)
    (tmp_path / "trust/supplier.crl").write_bytes(own.public_bytes(Encoding.DER))
    found = confirmed(tmp_path)
    its = ListFloor(key_sha256_of(above.certificate), 5)
    assert set(found.list_floors) == {its, *FACTORY.confirmed_lists()}


def test_a_later_boot_leaves_what_is_as_high_or_higher_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The element refuses what goes down, and what stays as it is would be one more write."""
    install(tmp_path, parts())
    once = confirmed(tmp_path)
    later_s = int(FACTORY.now.timestamp())
    with development.linked(tmp_path / "element") as chip:
        confirm(tmp_path, chip)
        chip.raise_time_floor(later_s)
    with development.linked(tmp_path / "element") as chip, monkeypatch.context() as closed:
        for raises in ("raise_floor", "raise_list_floors", "raise_time_floor"):
            closed.setattr(Element, raises, None)
        confirm(tmp_path, chip)
        found = chip.facts()
    assert (found.floors, found.list_floors) == (once.floors, once.list_floors)
    assert found.time_floor_s == later_s > once.time_floor_s
    FACTORY.write_trust(tmp_path, development.LIST_NUMBER + 1)
    with development.linked(tmp_path / "element") as chip:
        confirm(tmp_path, chip)
        assert {floor.number for floor in chip.facts().list_floors} == {development.LIST_NUMBER + 1}


def test_what_was_not_validated_raises_no_floor(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    install(tmp_path / "one", parts())
    without_lists = confirmed(tmp_path / "one", ("revocation",))
    assert without_lists.list_floors == ()
    assert without_lists.time_floor_s == int(FACTORY.validity.begin.timestamp())
    install(tmp_path / "two", parts())
    without_chain = confirmed(tmp_path / "two", ("chain", "revocation"))
    assert (without_chain.list_floors, without_chain.time_floor_s) == ((), 0)


def test_a_release_that_was_put_in_the_place_of_the_measured_one_is_refused(tmp_path: Path) -> None:
    """Seen: with the same stages in it, it ran, and opened what the measured one had sealed."""
    found = booted(install(tmp_path, parts()))
    install(tmp_path, parts(), version="1.1")
    assert refused(lambda: found.content("", "", ())).rule == "release"
    assert found.content("", "", ("release",)).release.version == "1.1"
