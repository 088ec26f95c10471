"""A factory in a folder: who is given what, and what is refused."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from boot.authority import signer_of
from boot.refusal import Refused
from boot.scope import Scope
from ipc_schemas.release import Envelope, Signed
from tests.support import factory
from world.factory import ledger, manufacture, signing
from world.factory import maker as makers
from world.factory.development import linked
from world.factory.ledger import FactoryRefused
from world.factory.maker import Maker

PUBLIC = Ed25519PrivateKey.generate().public_key()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return factory.make(tmp_path / "factory")


def key_in(certificate: bytes) -> object:
    """A certificate's public key."""
    return x509.load_der_x509_certificate(certificate).public_key()


def list_number(maker: Maker, name: str) -> int:
    """Of the list that is published, not of the ledger."""
    content = (maker.folder.path / ledger.LISTS / f"{name}.crl").read_bytes()
    number = x509.load_der_x509_crl(content).extensions.get_extension_for_class(x509.CRLNumber)
    return number.value.crl_number


def test_a_device_has_the_key_of_its_own_element_and_a_name_in_the_name_space_of_its_factory(
    path: Path,
) -> None:
    with factory.at_work(path) as maker:
        row = maker.ledger.devices[factory.SERIAL]
        idevid = x509.load_der_x509_certificate(row.idevid)
        issuer = maker.ledger.factories[factory.FACTORY].parsed
        idevid.verify_directly_issued_by(issuer)
        device = maker.folder.device(factory.SERIAL)
        with linked(device / "element") as chip:
            assert chip.chain("idevid") == (row.idevid, maker.ledger.factories[factory.FACTORY].certificate)
            assert x509.load_der_x509_certificate(chip.chain("idevid")[0]).public_key() == idevid.public_key()
            assert chip.facts().lifecycle == "provisioned"
    parts = {a.oid: a.value for a in idevid.subject}
    assert parts == {
        NameOID.ORGANIZATION_NAME: factory.MAKER,
        NameOID.ORGANIZATIONAL_UNIT_NAME: factory.FACTORY,
        NameOID.SERIAL_NUMBER: factory.SERIAL,
    }


def test_two_devices_share_no_key(path: Path) -> None:
    with factory.at_work(path) as maker:
        manufacture.manufacture(maker, factory.FACTORY, manufacture.serials_of(maker, 2, None))
        rows = maker.ledger.devices
        keys = [key_in(row.idevid) for row in rows.values()]
    assert list(rows) == ["SN-0001", "SN-0002", "SN-0003"]
    assert all(one != other for one, other in itertools.combinations(keys, 2))


def test_a_life_goes_one_step_at_a_time_and_ends_with_no_secret(path: Path) -> None:
    device = path / "devices" / factory.SERIAL
    with factory.at_work(path) as maker:
        with pytest.raises(FactoryRefused, match="does not become provisioned; its next step is operational"):
            manufacture.advance(maker.folder, factory.SERIAL, "provisioned")
        manufacture.advance(maker.folder, factory.SERIAL, "operational")
        assert (device / "element" / "secret").exists()
        manufacture.advance(maker.folder, factory.SERIAL, "decommissioned")
        assert not (device / "element" / "secret").exists()
        with pytest.raises(FactoryRefused, match="has no further step"):
            manufacture.advance(maker.folder, factory.SERIAL, "decommissioned")


def test_an_operator_gives_a_device_its_ldevid_for_the_key_that_the_device_has(path: Path) -> None:
    with factory.at_work(path) as maker:
        makers.enrol_operator(maker, "Hospital")
        manufacture.enrol(maker, factory.SERIAL, "Hospital", 5)
        row = maker.ledger.devices[factory.SERIAL]
        ldevid = x509.load_der_x509_certificate(row.ldevid)
        ldevid.verify_directly_issued_by(maker.ledger.operators["Hospital"].parsed)
        assert ldevid.public_key() == x509.load_der_x509_certificate(row.idevid).public_key()
        with linked(maker.folder.device(factory.SERIAL) / "element") as chip:
            assert chip.chain("ldevid")[0] == row.ldevid


def test_a_request_that_was_exchanged_gets_no_ldevid(path: Path) -> None:
    with factory.at_work(path) as maker:
        makers.enrol_operator(maker, "Hospital")
        manufacture.manufacture(maker, factory.FACTORY, ["SN-0002"])
        other = path / "devices" / "SN-0002" / "request.der"
        (path / "devices" / factory.SERIAL / "request.der").write_bytes(other.read_bytes())
        with pytest.raises(FactoryRefused, match="for another key than the device's identity"):
            manufacture.enrol(maker, factory.SERIAL, "Hospital", 5)
        assert maker.ledger.devices[factory.SERIAL].operator == ""


@pytest.mark.parametrize(
    ("name", "issuer"),
    [(factory.THERAPY, "platform"), (factory.FACTORY, "root"), (factory.SERIAL, factory.FACTORY)],
)
def test_who_is_revoked_stands_on_a_list_of_a_higher_number_and_is_revoked_once(
    path: Path, name: str, issuer: str
) -> None:
    with factory.at_work(path) as maker:
        before = list_number(maker, issuer)
        assert makers.revoke(maker, name) == (issuer, before + 1)
    with factory.at_work(path) as maker:
        assert list_number(maker, issuer) == before + 1
        others = {"root", "platform", factory.FACTORY} - {issuer}
        assert {list_number(maker, other) for other in others} == {1}
        with pytest.raises(FactoryRefused, match="was revoked on"):
            makers.revoke(maker, name)


def test_a_revoked_subcontractor_is_no_signer_any_more_and_a_revoked_factory_makes_no_device(
    path: Path,
) -> None:
    with factory.at_work(path) as maker:
        chain = maker.ledger.signers[factory.THERAPY].chain
        signer_of(chain, signing.trust_of(maker.ledger), maker.now)
        makers.revoke(maker, factory.THERAPY)
        with pytest.raises(Refused, match="revoked"):
            signer_of(chain, signing.trust_of(maker.ledger), maker.now)
        makers.revoke(maker, factory.FACTORY)
        with pytest.raises(FactoryRefused, match="this factory was revoked"):
            manufacture.manufacture(maker, factory.FACTORY, ["SN-0002"])


def test_a_device_that_is_not_provisioned_yet_keeps_its_key_under_a_new_name(path: Path) -> None:
    with factory.at_work(path) as maker:
        manufacture.manufacture(maker, factory.FACTORY, ["SN-0002"], "manufactured")
        makers.open_factory(maker, "Oslo")
        old = maker.ledger.devices["SN-0002"].idevid
        manufacture.renew(maker, "SN-0002", "Oslo", new_element=False)
        row = maker.ledger.devices["SN-0002"]
        assert row.factory == "Oslo"
        assert makers.serial_of(old) in maker.ledger.factories[factory.FACTORY].revoked
        assert (
            x509.load_der_x509_certificate(row.idevid).public_key()
            == x509.load_der_x509_certificate(old).public_key()
        )
        with linked(maker.folder.device("SN-0002") / "element") as chip:
            assert chip.chain("idevid")[0] == row.idevid


def test_a_locked_device_is_provisioned_anew_by_a_new_element_alone(path: Path) -> None:
    device = path / "devices" / factory.SERIAL
    with factory.at_work(path) as maker:
        old, secret = (
            maker.ledger.devices[factory.SERIAL].idevid,
            (device / "element" / "secret").read_bytes(),
        )
        with pytest.raises(FactoryRefused, match="--new-element"):
            manufacture.renew(maker, factory.SERIAL, None, new_element=False)
        assert maker.ledger.factories[factory.FACTORY].revoked == {}
        manufacture.renew(maker, factory.SERIAL, None, new_element=True)
        row = maker.ledger.devices[factory.SERIAL]
        assert row.idevid != old
        assert makers.serial_of(old) in maker.ledger.factories[factory.FACTORY].revoked
        assert (device / "element" / "secret").read_bytes() != secret
        assert manufacture.seen(device).life == "provisioned"
        assert manufacture._request_of(device, row)


def test_an_unlock_opens_debugging_for_one_boot_of_one_device(path: Path) -> None:
    with factory.at_work(path) as maker:
        element = maker.folder.device(factory.SERIAL) / "element"
        with linked(element) as chip:
            chip.spend_attempt("a")
        signed, state = manufacture.unlock(maker, factory.SERIAL, 30, "a")
        assert state.attempts == (5, 5)
        with linked(element) as chip, pytest.raises(Refused, match="for another boot, or was used before"):
            manufacture.open_debug(maker, chip, signed, None)
        manufacture.manufacture(maker, factory.FACTORY, ["SN-0002"])
        with linked(maker.folder.device("SN-0002") / "element") as chip:
            foreign = manufacture.signed_unlock(maker, factory.SERIAL, chip.facts().nonce, 30)
            with pytest.raises(Refused, match="for device 'SN-0001', and this is 'SN-0002'"):
                manufacture.open_debug(maker, chip, foreign, None)
            late = manufacture.signed_unlock(maker, "SN-0002", chip.facts().nonce, -1)
            with pytest.raises(Refused, match="the debug unlock ended"):
                manufacture.open_debug(maker, chip, late, None)
            assert not chip.facts().is_debug


def test_a_signer_of_images_does_not_unlock_a_device(path: Path) -> None:
    with factory.at_work(path) as maker, linked(maker.folder.device(factory.SERIAL) / "element") as chip:
        payload = manufacture.signed_unlock(maker, factory.SERIAL, chip.facts().nonce, 30).payload
        for name in (makers.RELEASE, factory.THERAPY):
            row = maker.ledger.signers[name]
            key = signing._key_of(maker, name, None)
            by_another = Envelope(
                payload, (Signed(row.chain, key.sign(b"bulkhead debug unlock 1\0" + payload)),)
            )
            with pytest.raises(Refused, match="may not unlock a device"):
                manufacture.open_debug(maker, chip, by_another, None)


def test_nobody_signs_longer_than_who_vouches_for_it(path: Path) -> None:
    with factory.at_work(path) as maker:
        platform = maker.ledger.platform
        assert platform is not None
        latest = platform.parsed.not_valid_after_utc
        assert maker.years(100, platform).end == latest
        with pytest.raises(FactoryRefused, match="after the end of who vouches for it"):
            maker.until(latest + timedelta(days=1), platform)
        with pytest.raises(FactoryRefused, match="is over"):
            maker.until(maker.now, platform)


@pytest.mark.parametrize(
    "name", ["", " x", "x ", "a/b", "..", ".", "a\nb", "ö", "x" * 41, "CN=x,", "-", "x\x1b"]
)
def test_a_name_with_odd_letters_is_refused_and_leaves_nothing_behind(path: Path, name: str) -> None:
    before = sorted(path.rglob("*"))
    with factory.at_work(path) as maker:
        with pytest.raises(FactoryRefused, match="cannot be a name"):
            makers.open_factory(maker, name)
        with pytest.raises(FactoryRefused, match=r"cannot be a (name|serial number)"):
            manufacture.serials_of(maker, 1, name)
    assert sorted(path.rglob("*")) == before


@pytest.mark.parametrize(
    "name", [factory.FACTORY, factory.THERAPY, factory.SERIAL, "root", "platform", makers.RELEASE]
)
def test_a_name_is_given_once(path: Path, name: str) -> None:
    scope = Scope(("partition",), ("therapy",), ("C",))
    with factory.at_work(path) as maker:
        makers.revoke(maker, factory.THERAPY)
        validity = maker.years(1)
        with pytest.raises(FactoryRefused, match="taken"):
            makers.enrol_subcontractor(maker, name, PUBLIC, scope, validity)
        with pytest.raises(FactoryRefused, match="taken"):
            makers.enrol_operator(maker, name)
        with pytest.raises(FactoryRefused, match=re.escape(name)):
            manufacture.serials_of(maker, 1, name)


def test_serial_numbers_count_on_and_none_is_given_twice(path: Path) -> None:
    with factory.at_work(path) as maker:
        assert manufacture.serials_of(maker, 2, None) == ["SN-0002", "SN-0003"]
        assert manufacture.serials_of(maker, 3, "X9") == ["X9", "X10", "X11"]
        assert manufacture.serials_of(maker, 1, "plain") == ["plain"]
        with pytest.raises(FactoryRefused, match="end it in digits"):
            manufacture.serials_of(maker, 2, "plain")
        with pytest.raises(FactoryRefused, match="SN-0001"):
            manufacture.serials_of(maker, 5, "SN-0000")


def test_a_root_ceremony_is_held_once(path: Path) -> None:
    with (
        factory.at_work(path, creates=True) as maker,
        pytest.raises(FactoryRefused, match="of Example Devices already"),
    ):
        makers.hold_root_ceremony(maker, "Another")


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for creates in (False, True):
        with (
            pytest.raises(FactoryRefused, match="no factory's folder"),
            factory.at_work(tmp_path, creates=creates),
        ):
            pass
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(FactoryRefused, match="provision root"), factory.at_work(tmp_path / "nowhere"):
        pass
    assert not (tmp_path / "nowhere").exists()


def test_a_ledger_that_was_cut_or_changed_is_refused(path: Path) -> None:
    whole = (path / "ledger.json").read_bytes()
    for content in (
        b"",
        whole[: len(whole) // 2],
        b"[]",
        whole.replace(b'"house"', b'"horse"'),
        b"[" * 100_000,
    ):
        (path / "ledger.json").write_bytes(content)
        with pytest.raises(FactoryRefused, match="no ledger of a factory"), factory.at_work(path):
            pass


def test_two_commands_at_once_are_one_too_many(path: Path) -> None:
    refused = pytest.raises(FactoryRefused, match="another command is at work")
    with factory.at_work(path), refused, factory.at_work(path):
        pass
    with factory.at_work(path):
        pass


def test_a_key_that_others_may_read_signs_nothing(path: Path) -> None:
    for file in (path / "keys").iterdir():
        file.chmod(0o644)
    with factory.at_work(path) as maker, pytest.raises(Exception, match="others may read this key"):
        makers.open_factory(maker, "Oslo")


def test_a_foreign_device_in_the_folder_is_left_alone_and_named(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with factory.at_work(other, creates=True) as maker:
        makers.hold_root_ceremony(maker, "Another")
        makers.open_factory(maker, factory.FACTORY)
        manufacture.manufacture(maker, factory.FACTORY, ["SN-0007"])
    (other / "devices" / "SN-0007").rename(path / "devices" / "SN-0007")
    with factory.at_work(path) as maker:
        assert "SN-0007 is no device of this factory" in " ".join(maker.folder.said)
        assert "SN-0007" not in maker.ledger.devices
    assert (path / "devices" / "SN-0007").is_dir()
