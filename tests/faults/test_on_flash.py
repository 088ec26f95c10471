"""Each attack on the flash in each of its variants, judged by admission as the stages would: who refuses it, and why.

No device is started here; ``test_on_boot`` does that. The control of each: with its wall left out all is admitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from boot import admission, platform
from boot.admission import Rules
from boot.authority import Trust, key_sha256_of
from boot.refusal import Refused
from evidence.campaign import strata
from faults import attack_files
from faults.attack import Value
from faults.effects import foreign_image_ran
from faults.workshop import Workshop
from ipc_schemas.release import Role
from monitor.design import Design
from monitor.loader import load_design
from sandbox import walls
from tests.support.pump_design import REPOSITORY
from world import devices, power
from world.devices import Device, Opened
from world.factory import development

#: Those that a stage is to refuse, but for the one that strikes while the device starts. Others are for the element,
#: the factory, or a verifier to see.
FLASH = {
    name: one
    for name, one in attack_files.built().items()
    if one.effect is foreign_image_ran and not one.is_a_race
}
#: The rule that refuses, by attack; where a parameter chooses it, by that parameter's value.
RULES: Mapping[str, str | Mapping[Value, str]] = {
    "B01": "floor",
    "B04": "release",
    "B05": "digest",
    "B08": {"hardware": "hardware", "interpreter": "platform"},
    "B09": {"unsigned": "signature", "stranger": "chain", "revoked": "revocation"},
    "B11": "floor",
    "B12": "scope",
    "B13": "chain",
    "B14": "chain",
    "B15": "signature",
    "B20": "revocation",
}
CHOOSES = {"B08": "other", "B09": "signer"}


def variants() -> Iterator[tuple[str, dict[str, Value]]]:
    for name, attack in FLASH.items():
        for place in range(strata.space(attack)):
            yield name, strata.parameter_set(attack, place)


def rule_for(attack_id: str, parameters: Mapping[str, Value]) -> str:
    told = RULES[attack_id]
    return told if isinstance(told, str) else told[parameters[CHOOSES[attack_id]]]


@pytest.fixture(scope="module")
def pump() -> Design:
    return load_design(REPOSITORY / "designs" / "insulin_pump", walls.ALL)


def rules_of(flash: Path, without: frozenset[str]) -> Rules:
    folder = flash / "trust"
    lists = tuple(path.read_bytes() for path in sorted(folder.glob("*.crl")))
    trust = Trust(
        key_sha256_of(devices.factory().root.certificate),
        (folder / "root.der").read_bytes(),
        lists,
        {floor.authority_key_sha256: floor.number for floor in devices.factory().confirmed_lists()},
    )
    floors = dict.fromkeys(
        ("bootloader", "monitor", "design", "therapy", "transfer"), devices.SECURITY_COUNTER
    )
    return Rules(trust, development.HARDWARE_ID, devices.factory().now, floors, without)


def refusal_of(flash: Path, design: Design, without: frozenset[str] = frozenset()) -> tuple[str, str]:
    """Image and rule of the last refusal, of the last slot there is; nothing when all images are admitted."""
    found = ("", "")
    for shelf in sorted(flash.glob("slot_*")):
        try:
            admit_all(shelf, design, rules_of(flash, without))
        except Refused as refused:
            found = (refused.image, refused.rule)
        else:
            return "", ""
    return found


def admit_all(shelf: Path, design: Design, rules: Rules) -> None:
    """In the order of the boot. Raises ``Refused``."""
    release, _ = admission.admit_release(shelf, rules)
    names: list[tuple[str, Role]] = [
        ("bootloader", "bootloader"),
        ("monitor", "monitor"),
        ("design", "design"),
    ]
    names += [(p.name, "partition") for p in design.partitions]
    for name, role in names:
        admitted = admission.admit(shelf, name, role, release, rules)
        admitted.file.close()
        for part, wanted in admitted.manifest.platform:
            if "platform" not in rules.without and name != "bootloader":
                try:
                    platform.require(part, measured(part), wanted)
                except Refused as refused:
                    refused.image = name
                    raise


MEASURED: dict[str, bytes] = {}


def measured(part: str) -> bytes:
    if part not in MEASURED:
        MEASURED[part] = platform.measure(part, power.packages_folder())
    return MEASURED[part]


def expected_image(attack_id: str, parameters: Mapping[str, Value]) -> str:
    """The image that is refused first, in the order of the boot."""
    if attack_id == "B11":
        return "bootloader"
    if attack_id == "B20":
        return "release"
    aimed = str(parameters.get("image"))
    if aimed == "all":
        first = {"hardware": "release", "interpreter": "monitor"}
        return first[str(parameters["other"])] if attack_id == "B08" else "bootloader"
    return "therapy" if aimed == "partition" else aimed


@pytest.mark.parametrize(
    ("attack_id", "parameters"), list(variants()), ids=lambda value: str(value).replace("'", "")
)
def test_every_variant_is_refused_where_it_should_be_and_admitted_without_that_wall(
    pump: Design, tmp_path: Path, attack_id: str, parameters: dict[str, Value]
) -> None:
    devices.write_flash(tmp_path, pump, {})
    tamper = FLASH[attack_id].tamper
    assert tamper is not None
    assert refusal_of(tmp_path, pump) == ("", "")
    opened = Opened(Device(tmp_path / "rom.img", tmp_path, tmp_path / "element"))
    with ExitStack() as ends:
        tamper(Workshop(opened, pump, "therapy", ends), parameters)
    rule = rule_for(attack_id, parameters)
    assert refusal_of(tmp_path, pump) == (expected_image(attack_id, parameters), rule)
    assert refusal_of(tmp_path, pump, frozenset({rule})) == ("", "")


def test_the_variants_of_an_ablation_meet_every_wall_of_their_row() -> None:
    for name, attack in FLASH.items():
        met = {rule_for(name, {**strata.parameter_set(attack, 0), **given}) for given in attack.variants}
        told = RULES[name]
        assert met == ({told} if isinstance(told, str) else set(told.values())), name
