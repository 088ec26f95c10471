"""The reference of a release is made of exactly its own manifests, and read back as it was published."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from evidence import reference
from ipc_schemas import codec
from ipc_schemas.release import Manifest, Part, Release
from tests.support.attested import HARDWARE, PLATFORM, Published, digest, published

RELEASE = published()
OLDER = published("1.1.0", monitor="the monitor of 1.1.0", therapy="the therapy of 1.1.0")
EVIL = digest("evil")


def test_a_reference_survives_its_file() -> None:
    file = reference.as_file(RELEASE.reference)
    assert reference.from_file(file) == RELEASE.reference
    assert [line.name for line in RELEASE.reference.lines] == [
        "insulin_pump",
        "bootloader",
        *PLATFORM,
        "monitor",
        "design",
        "therapy",
        "transfer",
    ]
    assert RELEASE.reference.hardware_id == HARDWARE


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\x91" * 100_000, bytes(reference.REFERENCE_BYTES_MAX + 1)]
)
def test_what_is_no_reference_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(reference.ReferenceFlawed):
        reference.from_file(content)


def changed_manifest(whole: Published, place: int, **fields: Any) -> tuple[bytes, ...]:
    manifests = list(whole.manifests)
    manifest = codec.Codec(Manifest).decode(manifests[place])
    manifests[place] = codec.encode(msgspec.structs.replace(manifest, **fields))
    return tuple(manifests)


def test_a_reference_is_made_of_exactly_the_manifests_of_its_release() -> None:
    with pytest.raises(reference.ReferenceFlawed, match="the manifest of transfer is not there"):
        reference.of_release(RELEASE.payload, RELEASE.manifests[:-1])
    with pytest.raises(reference.ReferenceFlawed, match="not part of it: monitor"):
        reference.of_release(RELEASE.payload, (*RELEASE.manifests, OLDER.manifests[1]))
    with pytest.raises(reference.ReferenceFlawed, match="the manifest of bootloader is not there"):
        reference.of_release(RELEASE.payload, changed_manifest(RELEASE, 0, image_sha256=EVIL))
    with pytest.raises(reference.ReferenceFlawed, match="cannot be read"):
        reference.of_release(b"no release", RELEASE.manifests)


def released(whole: Published, manifests: tuple[bytes, ...]) -> bytes:
    """The payload of a release of these manifests."""
    of = codec.Codec(Release).decode(whole.payload)
    parts = tuple(Part(codec.Codec(Manifest).decode(m).image, hashlib.sha256(m).digest()) for m in manifests)
    return codec.encode(msgspec.structs.replace(of, parts=parts))


def test_what_rom_measures_for_the_bootloader_nobody_is_expected_to_measure_again() -> None:
    lines = published(boots_on=("python",)).reference.lines
    assert [(line.stage, line.name) for line in lines if line.kind == "platform"] == [
        ("rom", "python"),
        ("bootloader", "msgspec"),
    ]


def test_two_manifests_may_share_a_part_of_the_platform_and_not_contradict_each_other() -> None:
    pins = (("numpy", EVIL), ("python", RELEASE.digests["python"]))
    same = changed_manifest(RELEASE, 3, platform=pins)
    partition = codec.Codec(Manifest).decode(same[4])
    same = (*same[:4], codec.encode(msgspec.structs.replace(partition, platform=pins)))
    made = reference.of_release(released(RELEASE, same), same)
    lines = [(line.stage, line.name) for line in made.lines if line.name in ("numpy", "python")]
    assert lines == [("bootloader", "python"), ("monitor", "numpy")]
    for pin in (("numpy", digest("other")), ("python", digest("other"))):
        other = codec.encode(msgspec.structs.replace(partition, platform=(pin,)))
        manifests = (*same[:4], other)
        with pytest.raises(reference.ReferenceFlawed, match=f"disagree about platform {pin[0]}"):
            reference.of_release(released(RELEASE, manifests), manifests)


def test_a_manifest_under_another_name_than_the_release_gives_it_is_not_taken() -> None:
    of = codec.Codec(Release).decode(RELEASE.payload)
    renamed = (*of.parts[:-1], msgspec.structs.replace(of.parts[-1], image="other"))
    payload = codec.encode(msgspec.structs.replace(of, parts=renamed))
    with pytest.raises(reference.ReferenceFlawed, match="the manifest of other is not there"):
        reference.of_release(payload, RELEASE.manifests)


def test_a_release_without_one_image_for_each_layer_has_no_reference() -> None:
    for manifests in (RELEASE.manifests[1:], changed_manifest(RELEASE, 2, role="monitor")):
        with pytest.raises(reference.ReferenceFlawed, match="one image each"):
            reference.of_release(released(RELEASE, manifests), manifests)
