"""The flash of the reference device with one bit changed, anywhere: admission refuses it, by the rule that is meant to.

By default one bit of every byte of every manifest, certificate, signature and revocation list, and one bit in every
16th byte of 4 KiB of every image. With ``--every-bit`` each single bit of all these: some minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

import pytest

from boot import admission
from boot.admission import Rules
from boot.authority import Trust, key_sha256_of
from boot.refusal import Refused
from ipc_schemas import codec
from ipc_schemas.release import Envelope, Release, Role
from monitor.loader import load_design
from sandbox import walls
from tests.support.pump_design import REPOSITORY
from world import devices
from world.factory import development

ROLES: dict[str, Role] = {
    "bootloader": "bootloader",
    "monitor": "monitor",
    "design": "design",
    "therapy": "partition",
    "transfer": "partition",
}
SAMPLE_BYTES, EDGE_BYTES = 4_096, 1_024
IMAGE_STEP_BYTES = 16
#: What a certificate with a changed bit breaks: its own form, or somebody's signature or limits along the path.
OF_A_CERTIFICATE = frozenset({"form", "chain"})


@dataclass(frozen=True)
class Flash:
    """A flash as the factory writes it for the reference device."""

    folder: Path

    @property
    def rules(self) -> Rules:
        """By what the device judges, with the root and the lists that lie in the flash now."""
        trust = self.folder / "trust"
        lists = tuple(path.read_bytes() for path in sorted(trust.glob("*.crl")))
        fused = key_sha256_of(devices.factory().root.certificate)
        return Rules(
            Trust(fused, (trust / "root.der").read_bytes(), lists),
            development.HARDWARE_ID,
            devices.factory().now,
        )

    @cached_property
    def release(self) -> Release:
        """As it was first read."""
        return admission.admit_release(self.folder / "slot_a", self.rules)[0]

    def judge(self, name: str) -> Refused | None:
        """What admission says of an image, or of ``release``; ``None``: it is admitted."""
        shelf = self.folder / "slot_a"
        try:
            if name == "release":
                admission.admit_release(shelf, self.rules)
            else:
                admission.admit(shelf, name, ROLES[name], self.release, self.rules).file.close()
        except Refused as refused:
            return refused
        return None


@pytest.fixture(scope="module")
def flash(tmp_path_factory: pytest.TempPathFactory) -> Flash:
    folder = tmp_path_factory.mktemp("flash")
    devices.write_flash(folder, load_design(REPOSITORY / "designs" / "insulin_pump", walls.ALL), {})
    return Flash(folder)


@dataclass(frozen=True)
class Bits:
    """Which bits are tried: ``every`` one, or some that ``chance`` draws."""

    chance: Random
    every: bool

    def of(self, places: range, step_bytes: int = 1) -> Iterator[tuple[int, int]]:
        """Byte and bit of each change."""
        for place in places if self.every else places[self.chance.randrange(step_bytes) :: step_bytes]:
            for bit in range(8) if self.every else (self.chance.randrange(8),):
                yield place, bit


@pytest.fixture
def bits(request: pytest.FixtureRequest) -> Bits:
    return Bits(Random(request.config.getoption("hypothesis_seed")), request.config.getoption("every_bit"))


def rules_broken(flash: Flash, name: str, path: Path, places: list[tuple[int, int]]) -> dict[str, str]:
    """Each change of the file at ``path`` tried by itself: rule -> the first such refusal.

    ``admitted`` is the rule of what was not refused; ``untold`` of a refusal that does not name the image, or has no
    sentence or remedy.
    """
    original = path.read_bytes()
    found: dict[str, str] = {}
    with open(path, "r+b", buffering=0) as file:
        for place, bit in places:
            os.pwrite(file.fileno(), bytes((original[place] ^ 1 << bit,)), place)
            refused = flash.judge(name)
            os.pwrite(file.fileno(), original[place : place + 1], place)
            if refused is None:
                rule = "admitted"
            else:
                is_told = refused.image == name and refused.remedy and refused.sentence.isprintable()
                rule = refused.rule if is_told else "untold"
            found.setdefault(rule, f"bit {bit} of byte {place}: {refused}")
    assert path.read_bytes() == original
    return found


def regions(content: bytes) -> dict[str, list[range]]:
    """Where in an envelope the payload, the certificates and the signatures lie; ``framing`` is all that is left."""
    envelope = codec.Codec(Envelope).decode(content)
    parts = {
        "payload": [envelope.payload],
        "certificate": [certificate for one in envelope.signatures for certificate in one.chain],
        "signature": [one.signature for one in envelope.signatures],
    }
    found = {
        kind: [range(at := content.index(part), at + len(part)) for part in some]
        for kind, some in parts.items()
    }
    taken = {place for ranges in found.values() for one in ranges for place in one}
    found["framing"] = [range(place, place + 1) for place in range(len(content)) if place not in taken]
    return found


RULES_OF = {
    "payload": frozenset({"signature"}),
    "signature": frozenset({"signature"}),
    "certificate": OF_A_CERTIFICATE,
    "framing": frozenset({"form"}),
}


def test_the_reference_device_has_these_images_and_all_are_admitted_unchanged(flash: Flash) -> None:
    assert {part.image for part in flash.release.parts} == ROLES.keys()
    assert sorted(path.name for path in (flash.folder / "trust").iterdir()) == [
        "platform.crl",
        "root.crl",
        "root.der",
    ]
    assert [flash.judge(name) for name in ("release", *ROLES)] == [None] * 6


@pytest.mark.parametrize("name", ["release", *ROLES])
def test_a_manifest_with_any_one_bit_changed_is_refused_by_the_rule_for_that_place(
    flash: Flash, bits: Bits, name: str
) -> None:
    """Payload, certificates, signatures, and the bytes between them."""
    path = flash.folder / "slot_a" / f"{name}.bhm"
    for kind, ranges in regions(path.read_bytes()).items():
        places = [one for places in ranges for one in bits.of(places)]
        found = rules_broken(flash, name, path, places)
        assert found.keys() <= RULES_OF[kind], (kind, found)


@pytest.mark.parametrize("name", ROLES)
def test_an_image_with_any_one_bit_of_a_sample_changed_is_refused_by_its_digest(
    flash: Flash, bits: Bits, name: str
) -> None:
    """The first KiB, the last, and two that chance draws between them; all of a smaller image."""
    path = flash.folder / "slot_a" / f"{name}.img"
    size = path.stat().st_size
    sample = [range(size)]
    if size > SAMPLE_BYTES:
        at = bits.chance.randint(EDGE_BYTES, size - SAMPLE_BYTES + EDGE_BYTES)
        sample = [
            range(EDGE_BYTES),
            range(at, at + SAMPLE_BYTES - 2 * EDGE_BYTES),
            range(size - EDGE_BYTES, size),
        ]
    places = [one for places in sample for one in bits.of(places, IMAGE_STEP_BYTES)]
    assert len({place for place, _ in places}) >= min(size, SAMPLE_BYTES) // IMAGE_STEP_BYTES
    found = rules_broken(flash, name, path, places)
    assert found.keys() == {"digest"}, found


@pytest.mark.parametrize(
    ("file", "rules"),
    [
        ("root.der", OF_A_CERTIFICATE),
        ("root.crl", frozenset({"form", "revocation"})),
        ("platform.crl", frozenset({"form", "revocation"})),
    ],
)
def test_root_and_lists_in_flash_with_any_one_bit_changed_are_refused(
    flash: Flash, bits: Bits, file: str, rules: frozenset[str]
) -> None:
    path = flash.folder / "trust" / file
    places = list(bits.of(range(path.stat().st_size)))
    found = rules_broken(flash, "release", path, places)
    assert found.keys() <= rules, found


def test_of_a_file_of_the_flash_that_ends_early_or_late_nothing_starts(flash: Flash) -> None:
    """Cut at every length of a manifest and of root, and with one byte more."""
    for name, path in (
        ("therapy", flash.folder / "slot_a/therapy.bhm"),
        ("release", flash.folder / "trust/root.der"),
    ):
        original = path.read_bytes()
        try:
            for content in (*(original[:end] for end in range(len(original))), original + b"\0"):
                path.write_bytes(content)
                refused = flash.judge(name)
                assert refused is not None, len(content)
                assert refused.rule == "form", len(content)
        finally:
            path.write_bytes(original)
