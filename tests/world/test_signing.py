"""A release in a slot: built twice the same, each image by whoever may, and what may not be signed is not."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from boot.admission import Rules, admit, admit_release
from boot.refusal import Refused
from ipc_schemas.release import Role
from monitor.design import Design
from monitor.loader import load_design
from sandbox import walls
from tests.support import factory
from world.factory import maker as makers
from world.factory import signing
from world.factory.keys import KeyRefused, write_pair
from world.factory.ledger import FactoryRefused
from world.factory.maker import Maker
from world.factory.signing import Order

DESIGN = Path(__file__).parents[2] / "designs" / "insulin_pump"
ROLES: dict[str, Role] = {"bootloader": "bootloader", "monitor": "monitor", "design": "design"}


@pytest.fixture(scope="module")
def design() -> Design:
    return load_design(DESIGN, walls.ALL)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return factory.make(tmp_path / "factory")


def signed(maker: Maker, design: Design, flash: Path, order: Order | None = None) -> dict[str, str]:
    """Who signed which image of a new release in ``flash``."""
    return {one.image: one.signer for one in signing.sign_release(maker, design, [flash], order or Order())}


def digests(flash: Path) -> dict[str, str]:
    """Of every file in a flash."""
    files = (one for one in flash.rglob("*") if one.is_file())
    return {str(one.relative_to(flash)): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


def require_admitted(maker: Maker, flash: Path, name: str) -> None:
    """Raises ``Refused`` unless a device of this maker takes the image out of slot a."""
    rules = Rules(signing.trust_of(maker.ledger), maker.ledger.hardware_id, maker.now)
    shelf = flash / "slot_a"
    found, _ = admit_release(shelf, rules)
    admit(shelf, name, ROLES.get(name, "partition"), found, rules).file.close()


def test_the_same_sources_give_the_same_bytes_and_each_image_has_the_signer_that_is_there_for_it(
    path: Path, design: Design, tmp_path: Path
) -> None:
    with factory.at_work(path) as maker:
        by = signed(maker, design, tmp_path / "one")
        signed(maker, design, tmp_path / "other")
        for name in by:
            require_admitted(maker, tmp_path / "one", name)
    assert by == {
        "bootloader": "Release", "design": "Release", "monitor": "Release",
        "therapy": factory.THERAPY, "transfer": factory.TRANSFER,
    }  # fmt: skip
    assert digests(tmp_path / "one") == digests(tmp_path / "other")
    assert len(digests(tmp_path / "one")) == 3 * len(by) + 1 + 3


def test_a_bill_of_materials_lies_beside_each_image_and_its_digest_is_in_the_manifest(
    path: Path, design: Design, tmp_path: Path
) -> None:
    with factory.at_work(path) as maker:
        written = signing.sign_release(maker, design, [tmp_path / "flash"], Order())
    for one in written:
        bill = (tmp_path / "flash" / "slot_a" / f"{one.image}.cdx.json").read_bytes()
        manifest = signing._MANIFESTS.decode(
            signing._ENVELOPES.decode(
                (tmp_path / "flash" / "slot_a" / f"{one.image}.bhm").read_bytes()
            ).payload
        )
        assert manifest.sbom_sha256 == one.bill_sha256 == hashlib.sha256(bill).digest()


def test_who_may_not_sign_an_image_is_refused_here_and_with_force_by_the_device(
    path: Path, design: Design, tmp_path: Path
) -> None:
    order = Order(signers={"therapy": factory.TRANSFER})
    with factory.at_work(path) as maker:
        with pytest.raises(Refused, match="may not vouch for safety class C"):
            signed(maker, design, tmp_path / "flash", order)
        assert not (tmp_path / "flash").exists()
        signed(maker, design, tmp_path / "flash", replace(order, force=True))
        with pytest.raises(Refused, match="may not vouch for safety class C"):
            require_admitted(maker, tmp_path / "flash", "therapy")
        require_admitted(maker, tmp_path / "flash", "transfer")


def test_a_revoked_subcontractor_signs_nothing_and_the_maker_steps_in(
    path: Path, design: Design, tmp_path: Path
) -> None:
    with factory.at_work(path) as maker:
        makers.revoke(maker, factory.THERAPY)
        assert signed(maker, design, tmp_path / "flash")["therapy"] == "Release"
        with pytest.raises(Refused, match="revoked"):
            signed(maker, design, tmp_path / "flash", Order(signers={"therapy": factory.THERAPY}))


def test_one_image_is_signed_by_another_and_its_release_still_names_it(
    path: Path, design: Design, tmp_path: Path
) -> None:
    flash = tmp_path / "flash"
    with factory.at_work(path) as maker:
        signed(maker, design, flash)
        before = digests(flash)
        assert signing.sign_image(maker, flash, "therapy", "Release", Order()).signer == "Release"
        changed = {name for name, digest in digests(flash).items() if before[name] != digest}
        assert changed == {"slot_a/therapy.bhm"}
        require_admitted(maker, flash, "therapy")
        with pytest.raises(Refused, match="may not vouch"):
            signing.sign_image(maker, flash, "therapy", factory.TRANSFER, Order())
        require_admitted(maker, flash, "therapy")


def test_a_key_that_is_not_the_certificates_signs_nothing(path: Path, design: Design, tmp_path: Path) -> None:
    write_pair(tmp_path / "own.pem")
    with factory.at_work(path) as maker:
        with pytest.raises(FactoryRefused, match="not the one in the certificate"):
            signed(maker, design, tmp_path / "flash", Order(keys={factory.THERAPY: tmp_path / "own.pem"}))
        own = path / "suppliers" / factory.THERAPY / "signing.pem"
        own.rename(tmp_path / "elsewhere.pem")
        with pytest.raises(FactoryRefused, match="its key is not here, as it should be"):
            signed(maker, design, tmp_path / "flash")
        order = Order(keys={factory.THERAPY: tmp_path / "elsewhere.pem"})
        assert signed(maker, design, tmp_path / "flash", order)["therapy"] == factory.THERAPY


@pytest.mark.parametrize("content", [b"", b"not a key", b"\0" * 4_000])
def test_a_file_that_is_no_key_is_told(path: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.pem").write_bytes(content)
    for read in (makers.key_in_file, signing.private_key_in):
        with pytest.raises(FactoryRefused, match=r"this is no (public|private) key in PEM"):
            read(tmp_path / "odd.pem")
        with pytest.raises(FactoryRefused, match="No such file"):
            read(tmp_path / "none.pem")
    assert path.is_dir()


def test_a_private_key_is_no_public_one(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    with pytest.raises(FactoryRefused, match="this is no public key"):
        makers.key_in_file(tmp_path / "key.pem")
    write_pair(tmp_path / "new.pem")
    assert (tmp_path / "new.pem").stat().st_mode & 0o077 == 0
    assert makers.key_in_file(tmp_path / "new.pem.pub") is not None
    with pytest.raises(KeyRefused, match="there already"):
        write_pair(tmp_path / "new.pem")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (Order(version="1\n"), "cannot be a version"),
        (Order(version="x" * 121), "cannot be a version"),
        (Order(signers={"pump": "Release"}), "no image of this name"),
        (Order(signers={"therapy": "Nobody"}), "no signer of this name"),
        (Order(signers={"therapy": makers.SERVICE}), "may not vouch for the role partition"),
    ],
)
def test_a_wrong_order_is_refused_and_writes_nothing(
    path: Path, design: Design, tmp_path: Path, order: Order, words: str
) -> None:
    with factory.at_work(path) as maker, pytest.raises((FactoryRefused, Refused), match=words):
        signed(maker, design, tmp_path / "flash", order)
    assert not (tmp_path / "flash").exists()


def test_a_slot_is_replaced_whole_and_what_was_in_it_is_gone(tmp_path: Path) -> None:
    signing.write_slot(tmp_path, "a", {"one": b"1", "two": b"2"})
    signing.write_slot(tmp_path, "a", {"two": b"3"})
    assert digests(tmp_path) == {"slot_a/two": hashlib.sha256(b"3").hexdigest()}
    # The power went between the two names: the old slot is put back first.
    (tmp_path / "slot_a").rename(tmp_path / ".slot_a.old")
    (tmp_path / ".slot_a.new").mkdir()
    assert signing.is_flash(tmp_path)
    signing.restore_slots(tmp_path)
    assert digests(tmp_path) == {"slot_a/two": hashlib.sha256(b"3").hexdigest()}
