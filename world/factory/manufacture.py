"""Makes devices in a factory's folder, and leads each through its life: its secure element, identity, ROM and flash.

A device is made as a draft and gets its name when it is whole. What a power cut left is removed or brought to its end
by ``mend``, which everybody calls who opens the folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from boot.authority import Trust, key_sha256_of
from boot.element import Element
from boot.element_process import make_blank
from boot.refusal import Refused
from boot.unlock import unlocker
from ipc_schemas import codec, element
from ipc_schemas.element import DebugUnlock, Lifecycle, SignedUnlock, Slot
from ipc_schemas.release import FORMAT, Envelope, Signed
from world.factory import certificates, development, ledger
from world.factory import maker as makers
from world.factory.development import linked
from world.factory.keys import KeyFiles
from world.factory.ledger import DeviceRow, FactoryRefused, Folder, Issuer, Unfinished
from world.factory.maker import SERVICE, Maker
from world.factory.signing import restore_slots

DEVICES_MAX = 1_000
UNLOCK_MINUTES_MAX = 24 * 60
ROM_FILE, FLASH_FOLDER, ELEMENT_FOLDER, REQUEST_FILE = "rom.img", "flash", "element", "request.der"
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_FIRST = "SN-0001"
_STEPS: tuple[Lifecycle, ...] = ("manufactured", "provisioned", "operational")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the element of a device says of itself."""

    life: str
    attempts: tuple[int, int]
    slot_active: str
    floors: dict[str, int]


def serials_of(maker: Maker, count: int, first: str | None) -> list[str]:
    """``count`` serial numbers, from ``first`` on or after the highest that there is. Raises ``FactoryRefused``."""
    if first is None:
        used = [int(s[3:]) for s in maker.ledger.devices if re.fullmatch(r"SN-[0-9]{4,9}", s)]
        first = f"SN-{max(used, default=0) + 1:04d}"
    if _SERIAL.fullmatch(first) is None:
        raise FactoryRefused(
            f"{first!a} cannot be a serial number; use up to 40 letters, digits and . _ -, a letter or digit first"
        )
    head = first.rstrip("0123456789")
    digits = first[len(head) :]
    if count > 1 and not digits:
        raise FactoryRefused(f"{first}: {count} devices count on from here; end it in digits, as in {_FIRST}")
    found = [f"{head}{int(digits) + i:0{len(digits)}d}" if digits else first for i in range(count)]
    if len(found[-1]) > 40:
        raise FactoryRefused(f"{found[-1]}: a serial number has at most 40 letters; begin with a shorter one")
    for serial in found:
        if serial in maker.ledger.names():
            raise FactoryRefused(
                f"{serial}: there is a device (or somebody) of this name; choose another serial number"
            )
    return found


def manufacture(
    maker: Maker,
    factory: str,
    serials: Sequence[str],
    life: Lifecycle = "provisioned",
    on_made: Callable[[str], None] = lambda _: None,
) -> None:
    """Make a device of each serial number, named by ``factory``. Raises ``FactoryRefused`` and ``KeyRefused``."""
    issuer = factory_named(maker, factory)
    rom = development.Factory.stages()[0]
    (maker.folder.path / ledger.DEVICES).mkdir(mode=0o755, exist_ok=True)
    made: dict[str, DeviceRow] = {}
    try:
        for serial in serials:
            idevid = _make(maker, issuer, serial, rom, life)
            made[serial] = DeviceRow(factory, idevid)
            on_made(serial)
    finally:
        # Also when the next one failed: these are made.
        maker.folder.change(devices={**maker.ledger.devices, **made})


def factory_named(maker: Maker, name: str) -> Issuer:
    """A factory that names devices. Raises ``FactoryRefused`` when there is none, or it was revoked."""
    held = maker.ledger
    if name not in held.factories:
        known = ", ".join(sorted(held.factories)) or "none yet: open one with provision factory"
        raise FactoryRefused(f"{name!a}: no factory of this name is open (there are: {known})")
    assert held.root is not None
    if makers.serial_of(held.factories[name].certificate) in held.root.revoked:
        raise FactoryRefused(
            f"{name}: this factory was revoked, and nobody believes what it signs; open another"
        )
    return held.factories[name]


def _make(maker: Maker, issuer: Issuer, serial: str, rom: bytes, life: Lifecycle) -> bytes:
    """One device, whole, under its name. Its IDevID."""
    target = maker.folder.path / ledger.DEVICES / serial
    draft = ledger.draft_of(target)
    if draft.exists():
        ledger.remove(draft)
    draft.mkdir(mode=0o755)
    idevid = fill(maker, issuer, serial, draft, rom, life)
    ledger.synchronise(draft)
    draft.rename(target)
    ledger.synchronise(target.parent)
    return idevid


def fill(maker: Maker, issuer: Issuer, serial: str, folder: Path, rom: bytes, life: Lifecycle) -> bytes:
    """Make the parts of a device in an empty folder: the key in its element, the certificate for that key."""
    root = maker.ledger.root
    assert root is not None
    make_blank(folder / ELEMENT_FOLDER)
    with linked(folder / ELEMENT_FOLDER) as chip:
        chip.burn_fuse("root_key_sha256", key_sha256_of(root.parsed))
        chip.burn_fuse("hardware_id", maker.ledger.hardware_id.encode())
        chip.burn_fuse("serial", serial.encode())
        chip.manufacture()
        request = chip.certificate_request()
        found = certificates.device_identity(maker.authority(issuer), request, serial, maker.now)
        idevid = found.public_bytes(Encoding.DER)
        chip.store_chain("idevid", (idevid, issuer.certificate))
        for step in _STEPS[1 : _STEPS.index(life) + 1]:
            chip.advance(step)
    ledger.replace_file(folder / REQUEST_FILE, request, mode=0o644)
    ledger.replace_file(folder / ROM_FILE, rom, mode=0o644)
    makers.write_trust(maker.ledger, folder / FLASH_FOLDER)
    return idevid


def seen(device: Path) -> Seen:
    """What its element says. Raises ``boot.refusal.Refused`` when that is broken or held by another process."""
    with linked(device / ELEMENT_FOLDER) as chip:
        facts = chip.facts()
    return Seen(
        facts.lifecycle,
        facts.attempts,
        facts.slot_active,
        {floor.image: floor.counter for floor in facts.floors},
    )


def advance(folder: Folder, serial: str, to: Lifecycle) -> None:
    """Take a device to the next step of its life, or to the last. Raises ``FactoryRefused`` for any other."""
    device = folder.device(serial)
    with linked(device / ELEMENT_FOLDER) as chip:
        life = chip.facts().lifecycle
        order = element.LIFECYCLES
        is_next = order.index(to) == order.index(life) + 1 or (to == "decommissioned" and life != to)
        if not is_next:
            following = order[order.index(life) + 1] if life != order[-1] else None
            remedy = (
                f"its next step is {following}" if following else "it has no further step: make a new device"
            )
            raise FactoryRefused(f"{serial} is {life} and does not become {to}; {remedy}")
        chip.advance(to)


def enrol(maker: Maker, serial: str, operator: str, years: int) -> None:
    """Give a device the LDevID of an operator, for the key of its IDevID. Raises ``FactoryRefused``, ``KeyRefused``.

    The key is taken from the request that the device made in the factory: its element signs no other.
    """
    held = maker.ledger
    device = maker.folder.device(serial)
    if operator not in held.operators:
        known = ", ".join(sorted(held.operators)) or "none yet: enrol one with provision operator"
        raise FactoryRefused(f"{operator!a}: no operator of this name is enrolled (there are: {known})")
    life = seen(device).life
    if life not in ("provisioned", "operational"):
        raise FactoryRefused(
            f"{serial} is {life}; an operator takes in a device that is provisioned or operational"
        )
    row, issuer = held.devices[serial], held.operators[operator]
    request = _request_of(device, row)
    validity = maker.years(years, issuer)
    found = certificates.operator_identity(maker.authority(issuer), request, operator, serial, validity)
    ldevid = found.public_bytes(Encoding.DER)
    changed = msgspec.structs.replace(row, operator=operator, ldevid=ldevid)
    maker.folder.change(devices={**held.devices, serial: changed}, unfinished=Unfinished("enrol", serial))
    _finish_enrolment(maker.folder, serial)


def _request_of(device: Path, row: DeviceRow) -> bytes:
    try:
        request = (device / REQUEST_FILE).read_bytes()
    except OSError as error:
        raise FactoryRefused(
            f"{device / REQUEST_FILE}: {error.strerror}; put back the device's request"
        ) from None
    named = x509.load_der_x509_certificate(row.idevid).public_key()
    if certificates.key_in_request(request) != named:
        raise FactoryRefused(
            f"{device / REQUEST_FILE}: this request is for another key than the device's identity; put back its own"
        )
    return request


def _finish_enrolment(folder: Folder, serial: str) -> None:
    row = folder.ledger.devices[serial]
    operator = folder.ledger.operators[row.operator]
    with linked(folder.device(serial) / ELEMENT_FOLDER) as chip:
        chip.store_chain("ldevid", (row.ldevid, operator.certificate))
    folder.change(unfinished=None)


def renew(maker: Maker, serial: str, factory: str | None, *, new_element: bool) -> None:
    """Provision a device anew: another IDevID, of this or another factory; the one that it had is revoked.

    Until it is provisioned, the element keeps its key. Afterwards it takes no other identity: then only a new element
    in the old one's place will do, whose secret is wiped. Raises ``FactoryRefused``, ``KeyRefused`` and ``Refused``.
    """
    device, row = maker.folder.device(serial), maker.ledger.devices[serial]
    issuer = factory_named(maker, factory or row.factory)
    life = seen(device).life
    if life != "manufactured" and not new_element:
        raise FactoryRefused(
            f"{serial} is {life}, and its element takes no other identity any more; --new-element wipes it and puts a "
            "new one in its place"
        )
    changed = _revoked_in(maker, row)
    name = factory or row.factory
    if new_element:
        maker.folder.change(**changed, unfinished=Unfinished("renew", serial, name))
        _finish_renewal(maker)
        return
    with linked(device / ELEMENT_FOLDER) as chip:
        request = chip.certificate_request()
    found = certificates.device_identity(maker.authority(issuer), request, serial, maker.now)
    renamed = DeviceRow(name, found.public_bytes(Encoding.DER))
    devices = {**maker.ledger.devices, serial: renamed}
    maker.folder.change(**changed, devices=devices, unfinished=Unfinished("rename", serial, name))
    _finish_renaming(maker.folder, serial)


def _revoked_in(maker: Maker, row: DeviceRow) -> dict[str, object]:
    """The fields of the ledger in which the device's IDevID stands on its factory's list."""
    issuer = makers.issuer_named(maker.ledger, row.factory)
    if makers.serial_of(row.idevid) in issuer.revoked:
        return {}
    return makers.with_issuer(maker.ledger, row.factory, makers.taken_back(maker, issuer, row.idevid))


def _finish_renaming(folder: Folder, serial: str) -> None:
    row = folder.ledger.devices[serial]
    with linked(folder.device(serial) / ELEMENT_FOLDER) as chip:
        chip.store_chain("idevid", (row.idevid, folder.ledger.factories[row.factory].certificate))
    folder.change(unfinished=None)


def _finish_renewal(maker: Maker) -> None:
    """Wherever it was cut short: wipe the old element, make the new one aside, put it in the old one's place."""
    begun = maker.ledger.unfinished
    assert begun is not None
    device = maker.folder.device(begun.serial)
    draft = ledger.draft_of(device / "renewed")
    idevid = _new_idevid(maker, device)
    if not idevid:
        if draft.exists():
            ledger.remove(draft)
        draft.mkdir(mode=0o755)
        issuer = makers.issuer_named(maker.ledger, begun.factory)
        idevid = fill(maker, issuer, begun.serial, draft, development.Factory.stages()[0], "provisioned")
        if (device / ELEMENT_FOLDER).exists():
            ledger.remove(device / ELEMENT_FOLDER)
        (draft / ELEMENT_FOLDER).rename(device / ELEMENT_FOLDER)
        ledger.synchronise(device)
    for name in (REQUEST_FILE, ROM_FILE):
        if (draft / name).exists():
            (draft / name).rename(device / name)
    ledger.synchronise(device)
    if draft.exists():
        ledger.remove(draft)
    devices = {**maker.ledger.devices, begun.serial: DeviceRow(begun.factory, idevid)}
    maker.folder.change(devices=devices, unfinished=None)


def _new_idevid(maker: Maker, device: Path) -> bytes:
    """The IDevID of the new element, if that is in place already; the old one is decommissioned here."""
    if not (device / ELEMENT_FOLDER / "state").exists():
        return b""
    with linked(device / ELEMENT_FOLDER) as chip:
        chain, life = chip.chain("idevid"), chip.facts().lifecycle
        old = maker.ledger.devices[device.name].idevid
        if chain and chain[0] != old:
            return chain[0]
        if life != "decommissioned":
            chip.advance("decommissioned")
    return b""


def unlock(maker: Maker, serial: str, minutes: int, restore: Slot | None) -> tuple[Envelope, element.State]:
    """Unlock a device for debugging, in one boot of its element: look at its cells, and restore a slot's attempts.

    The element is switched on, its nonce is what the maker's service key signs, with the serial number and an end;
    whoever asks the element has validated that key up to the root in its fuses. When the power goes, the unlock is
    over. Raises ``boot.refusal.Refused``, ``FactoryRefused`` and ``KeyRefused``.
    """
    device = maker.folder.device(serial)
    with linked(device / ELEMENT_FOLDER) as chip:
        nonce = chip.facts().nonce
        signed = signed_unlock(maker, serial, nonce, minutes)
        return signed, open_debug(maker, chip, signed, restore)


def signed_unlock(maker: Maker, serial: str, nonce: bytes, minutes: int) -> Envelope:
    """The permission to debug one device in the boot that drew ``nonce``. Raises ``KeyRefused``."""
    row = maker.ledger.signers[SERVICE]
    end_s = int((maker.now + timedelta(minutes=minutes)).timestamp())
    payload = codec.encode(DebugUnlock(FORMAT, serial.encode(), nonce, end_s))
    return Envelope(payload, (Signed(row.chain, maker.files.sign(row.key, element.UNLOCK_LABEL + payload)),))


def open_debug(maker: Maker, chip: Element, signed: Envelope, restore: Slot | None) -> element.State:
    """What ROM does with an unlock: who signed it, up to the fuses; then the element asks. Raises ``Refused``."""
    held, facts = maker.ledger, chip.facts()
    assert held.root is not None
    assert held.platform is not None
    lists = (held.root.list_der, held.platform.list_der)
    trust = Trust(facts.root_key_sha256, held.root.certificate, lists)
    (one,) = signed.signatures
    key = unlocker(one.chain, trust, maker.now).public_key.public_bytes_raw()
    chip.open_debug(SignedUnlock(signed.payload, one.signature), key, int(maker.now.timestamp()))
    if restore is not None:
        chip.debug_restore_attempts(restore)
    return chip.debug_state()


def mend(maker: Maker) -> None:
    """Remove or bring to its end what a power cut left half done; a sentence of each goes to ``folder.said``."""
    folder = maker.folder
    _remove_drafts(folder)
    for place in (folder.path / ledger.KEYS, *(folder.path / ledger.SUPPLIERS).glob("*")):
        KeyFiles(place).remove_drafts()
    if folder.is_new or folder.ledger.root is None:
        return
    _adopt(folder)
    _finish(maker)
    for serial in folder.ledger.devices:
        restore_slots(folder.device(serial) / FLASH_FOLDER)
    makers.publish_lists(folder)


def _finish(maker: Maker) -> None:
    begun = maker.ledger.unfinished
    if begun is None:
        return
    if begun.what == "enrol":
        _finish_enrolment(maker.folder, begun.serial)
        has = "it has its LDevID now"
    elif begun.what == "rename":
        _finish_renaming(maker.folder, begun.serial)
        has = "it has its new IDevID now"
    else:
        _finish_renewal(maker)
        has = "it has its new element now"
    maker.folder.said.append(f"{begun.serial} was at work when the power went: {has}")


def _remove_drafts(folder: Folder) -> None:
    for place in ("", ledger.LISTS, ledger.DEVICES):
        path = folder.path / place
        for draft in [one for one in path.glob(".*") if ledger.is_draft(one)] if path.is_dir() else []:
            ledger.remove(draft)
            if place == ledger.DEVICES:
                serial = draft.name[1 : -len(".new")]
                folder.said.append(
                    f"{serial} was half made when the power went: it is removed, make it again"
                )


def _adopt(folder: Folder) -> None:
    """Devices that were whole when the power went, and did not stand in the ledger yet."""
    place = folder.path / ledger.DEVICES
    there = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    found: dict[str, DeviceRow] = {}
    for serial in there:
        if serial in folder.ledger.devices or not (place / serial / ELEMENT_FOLDER).is_dir():
            continue
        row = _row_of(folder, place / serial)
        if row is None:
            folder.said.append(
                f"{place / serial} is no device of this factory: it is left alone, move it elsewhere"
            )
        else:
            found[serial] = row
            folder.said.append(f"{serial} was whole when the power went: it stands in the ledger now")
    if found:
        folder.change(devices={**folder.ledger.devices, **found})


def _row_of(folder: Folder, device: Path) -> DeviceRow | None:
    try:
        with linked(device / ELEMENT_FOLDER) as chip:
            chain, serial = chip.chain("idevid"), chip.facts().serial
    except Refused:
        return None
    for name, issuer in folder.ledger.factories.items():
        if chain[1:] == (issuer.certificate,) and serial == device.name.encode():
            return DeviceRow(name, chain[0])
    return None


def publish(folder: Folder) -> None:
    """Bring what lies beside the ledger up to it."""
    if not folder.is_new and folder.ledger.root is not None:
        makers.publish_lists(folder)
