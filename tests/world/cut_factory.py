"""Cuts a factory's power, by SIGKILL, before each step on the disk of each thing that it does, and says what is found.

``python cut_factory.py FOLDER DEED EVERY`` prints one JSON line for each cut: the step, and whether the folder that the
next command opens is as it was before the deed (``old``), as it is after it (``new``), or what else.

A step is whatever changes the disk, in this process: a file opened for writing, half of what is written, a
synchronisation, a new, renamed or removed name. The secure element is another process; its own steps are cut in
``tests/boot/cut_power.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from boot.refusal import Refused
from ipc_schemas import element
from tests.boot.cut_power import in_a_child
from tests.support import factory
from world.factory import ledger, manufacture, signing
from world.factory import maker as makers
from world.factory.development import linked
from world.factory.keys import issuing_key
from world.factory.ledger import FactoryRefused
from world.factory.maker import Maker

#: Audit events of the interpreter that change names; ``open`` counts when it is for writing.
_CHANGES = frozenset({"os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir", "os.truncate"})
KINDS: tuple[element.Issuer, ...] = ("idevid", "ldevid")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

#: Whoever finds the old state does the same once more, after every fifth cut.
ASKED_AGAIN_EVERY = 5
DEEDS: dict[str, Callable[[Maker], object]] = {
    "root": lambda maker: makers.hold_root_ceremony(maker, factory.MAKER),
    "factory": lambda maker: makers.open_factory(maker, "Oslo"),
    "supplier": lambda maker: factory.enrol_subcontractor(
        maker, "Belts Ltd", factory.PARTITIONS[factory.THERAPY]
    ),
    "device": lambda maker: manufacture.manufacture(maker, factory.FACTORY, ["SN-0002"]),
    "operator": lambda maker: makers.enrol_operator(maker, "Hospital"),
    "enrol": lambda maker: manufacture.enrol(maker, factory.SERIAL, "Clinic", 5),
    "revoke": lambda maker: makers.revoke(maker, factory.SERIAL),
    "rename": lambda maker: manufacture.renew(maker, "SN-0009", None, new_element=False),
    "renew": lambda maker: manufacture.renew(maker, factory.SERIAL, None, new_element=True),
}


def prepared(folder: Path, deed: str) -> None:
    """What is there before the deed: made once, and copied."""
    shutil.rmtree(folder, ignore_errors=True)
    if deed == "root":
        return
    template = folder.with_name("prepared")
    if not template.exists():
        factory.make(template)
        with factory.at_work(template) as maker:
            if deed == "enrol":
                makers.enrol_operator(maker, "Clinic")
            if deed == "rename":
                manufacture.manufacture(maker, factory.FACTORY, ["SN-0009"], "manufactured")
    shutil.copytree(template, folder)


def cut_before(steps: int, folder: Path) -> None:
    """From now on, the process ends before step ``steps`` on the disk below ``folder``."""
    left = steps

    def step() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and _is_write(arguments, folder)):
            step()

    fsync = os.fsync

    def counted_fsync(descriptor: int) -> None:
        step()
        fsync(descriptor)

    write = os.write

    def counted_write(descriptor: int, content: bytes) -> int:
        """Once before it, and once when half of it is there."""
        step()
        written = write(descriptor, content[: len(content) // 2])
        step()
        return written + write(descriptor, content[len(content) // 2 :])

    os.fsync, os.write = counted_fsync, counted_write  # type: ignore[assignment]
    sys.addaudithook(hear)


def _is_write(arguments: tuple[Any, ...], folder: Path) -> bool:
    path, _, flags = arguments
    return isinstance(path, str) and path.startswith(str(folder)) and bool(flags & _WRITES)


def summary(folder: Path) -> str:
    """What somebody sees who opens the folder now, mended; with a complaint wherever it does not fit together."""
    if not folder.exists():
        return "nothing"
    try:
        with factory.at_work(folder, creates=True) as maker:
            if maker.folder.is_new or maker.folder.ledger.root is None:
                return "nothing"
            held = {serial: _element_of(maker, serial) for serial in maker.ledger.devices}
            return json.dumps([_seen(maker, held), _complaints(maker, held)], sort_keys=True)
    except FactoryRefused as refused:
        return str(refused)


class InElement(NamedTuple):
    """What a device's element says."""

    life: str
    idevid: bytes
    ldevid: bytes


def _element_of(maker: Maker, serial: str) -> InElement:
    with linked(maker.folder.device(serial) / "element") as chip:
        try:
            idevid, ldevid = (b"".join(chip.chain(kind)[:1]) for kind in KINDS)
            return InElement(chip.facts().lifecycle, idevid, ldevid)
        except Refused as refused:
            return InElement(str(refused), b"", b"")


def _seen(maker: Maker, elements: Mapping[str, InElement]) -> dict[str, Any]:
    held = maker.ledger
    issuers = {"root": held.root, "platform": held.platform, **held.factories, **held.operators}
    return {
        "lists": {
            name: (one.list_number, len(one.revoked)) for name, one in issuers.items() if one is not None
        },
        "signers": sorted(held.signers),
        "devices": {
            serial: (row.factory, row.operator, _is_revoked(maker, row), elements[serial].life)
            for serial, row in held.devices.items()
        },
    }


def _is_revoked(maker: Maker, row: ledger.DeviceRow) -> bool:
    return makers.serial_of(row.idevid) in maker.ledger.factories[row.factory].revoked


def _complaints(maker: Maker, elements: Mapping[str, InElement]) -> list[str]:
    """Whatever does not fit together: keys and certificates, elements and rows, drafts that were left."""
    held, folder = maker.ledger, maker.folder.path
    found = [] if held.unfinished is None else [f"unfinished: {held.unfinished}"]
    issuers = {"root": held.root, "platform": held.platform, **held.factories, **held.operators}
    for name, issuer in issuers.items():
        assert issuer is not None
        if issuing_key(maker.keys(), issuer.key).public_key() != issuer.parsed.public_key():
            found.append(f"{name} has another key")
        if (folder / "lists" / f"{name}.crl").read_bytes() != issuer.list_der:
            found.append(f"the list of {name} is another")
    for name, signer in held.signers.items():
        if signing._key_of(maker, name, None).public_key() != makers.certificate_of(signer).public_key():
            found.append(f"{name} has another key")
    for serial, row in held.devices.items():
        if (elements[serial].idevid, elements[serial].ldevid) != (row.idevid, row.ldevid):
            found.append(f"the element of {serial} holds another certificate")
        try:
            manufacture._request_of(maker.folder.device(serial), row)
        except FactoryRefused as refused:
            found.append(f"{serial}: {refused}")
    places = list((folder / "devices").iterdir()) if (folder / "devices").is_dir() else []
    found += [f"left: {place.name}" for place in places if place.name not in held.devices]
    found += [
        f"left: {one}" for one in folder.rglob("*") if ledger.is_draft(one) or one.name.startswith(".draft")
    ]
    return found


def attempt(folder: Path, deed: str, steps: int) -> None:
    """The deed, up to the cut."""
    with factory.at_work(folder, creates=deed == "root") as maker:
        cut_before(steps, folder)
        DEEDS[deed](maker)


def tell(writer: int, folder: Path) -> None:
    """To whoever cut the power."""
    os.write(writer, summary(folder).encode())


def main(folder: Path, deed: str, every: int) -> None:
    """Cut before step 0, then ``every`` steps later, and so on, until the deed goes through."""
    prepared(folder, deed)
    old = summary(folder)
    prepared(folder, deed)
    with factory.at_work(folder, creates=True) as maker:
        DEEDS[deed](maker)
    new = summary(folder)
    assert new != old
    for step in range(0, 10_000, every):
        prepared(folder, deed)
        _, status = in_a_child(lambda _, step=step: attempt(folder, deed, step))  # type: ignore[misc]
        was_cut = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        found, _ = in_a_child(lambda writer: tell(writer, folder))
        text = found.decode()
        named = {old: "old", new: "new"}.get(text, text)
        asks = (step // every) % ASKED_AGAIN_EVERY == 0 and named == "old"
        again = _again(folder, deed, new) if asks or not was_cut else ""
        print(json.dumps({"step": step, "cut": was_cut, "found": named, "again": again}), flush=True)
        if not was_cut:
            sys.exit(0 if status == 0 else f"the deed ended with status {status}")


def _again(folder: Path, deed: str, new: str) -> str:
    """Whether whoever finds the old state can do the same once more: what is then found."""

    def once_more(writer: int) -> None:
        if summary(folder) != new:
            with factory.at_work(folder, creates=True) as maker:
                DEEDS[deed](maker)
        os.write(writer, summary(folder).encode())

    said, status = in_a_child(once_more)
    return "new" if said.decode() == new else f"status {status}: {said.decode()}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
