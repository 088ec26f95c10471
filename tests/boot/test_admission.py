"""Every question that is asked of a release and of each image, one by one: all else about them is as it should be."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from boot import admission
from boot.admission import Rules
from boot.authority import Trust, key_sha256_of
from boot.refusal import Refused
from boot.scope import Scope
from ipc_schemas import codec, release
from ipc_schemas.release import Manifest, Part, Release
from world.factory import development
from world.factory.development import HARDWARE_ID, Factory, Made, Signer, enveloped

FACTORY = Factory(development.now_utc())
MONITOR = Made("monitor", b"an image" * 10)
#: May sign the monitor, and put together no release.
MONITORS_ONLY = FACTORY.signer("Monitors only", Scope(("monitor",), (), ("A", "B", "C")))
#: May put together releases, and sign no image.
RELEASES_ONLY = FACTORY.signer("Releases only", Scope(("release",), (), ("A", "B", "C")))


def rules(flash: Path, *without: str) -> Rules:
    FACTORY.write_trust(flash)
    trust = Trust(
        key_sha256_of(FACTORY.root.certificate),
        (flash / "trust/root.der").read_bytes(),
        tuple(path.read_bytes() for path in sorted((flash / "trust").glob("*.crl"))),
    )
    return Rules(trust, HARDWARE_ID, FACTORY.now, without=frozenset(without))


def manifest(name: str = "monitor", made: Made = MONITOR, hardware_id: str = HARDWARE_ID) -> Manifest:
    return development.manifest_of(name, made, "1.0", hardware_id)


def write(
    flash: Path,
    said: Manifest | None = None,
    signers: tuple[Signer, ...] = (FACTORY.maker,),
    release_signers: tuple[Signer, ...] = (FACTORY.maker,),
    hardware_id: str = HARDWARE_ID,
    more: tuple[Part, ...] = (),
) -> None:
    """A flash whose release names what ``said`` says under the name ``monitor``, whatever that is."""
    payload = codec.encode(said or manifest())
    parts = (Part("monitor", hashlib.sha256(payload).digest()), *more)
    found = Release(release.FORMAT, "pump", "1.0", hardware_id, parts)
    (flash / "monitor.img").write_bytes(MONITOR.content)
    (flash / "monitor.bhm").write_bytes(enveloped(release.MANIFEST_LABEL, payload, *signers))
    (flash / admission.RELEASE_FILE).write_bytes(
        enveloped(release.RELEASE_LABEL, codec.encode(found), *release_signers)
    )


def admit(flash: Path, *without: str) -> tuple[str, str]:
    """The rule and the image of the refusal; both empty when all is admitted."""
    judged_by = rules(flash, *without)
    try:
        found, _ = admission.admit_release(flash, judged_by)
        admission.admit(flash, "monitor", "monitor", found, judged_by).file.close()
    except Refused as refused:
        return refused.rule, refused.image
    return "", ""


def test_what_is_as_it_should_be_is_admitted_with_all_who_signed_it(tmp_path: Path) -> None:
    write(tmp_path, signers=(FACTORY.maker, MONITORS_ONLY), release_signers=(RELEASES_ONLY,))
    assert admit(tmp_path) == ("", "")
    found, signers = admission.admit_release(tmp_path, rules(tmp_path))
    admitted = admission.admit(tmp_path, "monitor", "monitor", found, rules(tmp_path))
    admitted.file.close()
    assert [one.name.partition(",")[0] for one in signers] == ["CN=Releases only"]
    assert [one.name.partition(",")[0] for one in admitted.signers] == ["CN=Release", "CN=Monitors only"]


def test_a_release_for_other_hardware_is_refused_though_its_images_are_for_this(tmp_path: Path) -> None:
    write(tmp_path, hardware_id="another pump")
    assert admit(tmp_path) == ("hardware", "release")
    assert admit(tmp_path, "hardware") == ("", "")


def test_an_image_for_other_hardware_is_refused_though_its_release_is_for_this(tmp_path: Path) -> None:
    write(tmp_path, manifest(hardware_id="another pump"))
    assert admit(tmp_path) == ("hardware", "monitor")
    assert admit(tmp_path, "hardware") == ("", "")


@pytest.mark.parametrize("signers", [(MONITORS_ONLY,), (FACTORY.maker, MONITORS_ONLY)])
def test_whoever_may_sign_an_image_may_not_therefore_sign_a_release_nor_beside_another(
    tmp_path: Path, signers: tuple[Signer, ...]
) -> None:
    write(tmp_path, release_signers=signers)
    assert admit(tmp_path) == ("scope", "release")
    assert admit(tmp_path, "scope") == ("", "")


@pytest.mark.parametrize("signers", [(RELEASES_ONLY,), (FACTORY.maker, RELEASES_ONLY)])
def test_every_signer_of_an_image_has_to_be_one_who_may(tmp_path: Path, signers: tuple[Signer, ...]) -> None:
    write(tmp_path, signers=signers)
    assert admit(tmp_path) == ("scope", "monitor")
    assert admit(tmp_path, "scope") == ("", "")


def test_a_release_that_names_an_image_twice_is_refused(tmp_path: Path) -> None:
    """Then it would be open which of the two the device is to have."""
    write(tmp_path, more=(Part("monitor", bytes(32)),))
    assert admit(tmp_path) == ("form", "release")


def test_a_release_does_not_name_an_image_whose_manifest_it_would_be_itself(tmp_path: Path) -> None:
    write(tmp_path, more=(Part("release", bytes(32)),))
    assert admit(tmp_path) == ("form", "release")


@pytest.mark.parametrize(
    "said",
    [
        manifest(made=replace(MONITOR, role="bootloader")),
        manifest(made=replace(MONITOR, role="partition")),
        manifest(name="bootloader"),
        manifest(name="monitor_of_another_device"),
    ],
    ids=["a bootloader", "a partition", "under another stage's name", "under another name"],
)
def test_a_manifest_is_for_the_one_role_and_name_that_are_wanted(tmp_path: Path, said: Manifest) -> None:
    write(tmp_path, said)
    assert admit(tmp_path) == ("form", "monitor")
