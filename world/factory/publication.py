"""What a maker publishes for whoever wants to know which release a device runs: signed texts, root, lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding

from monitor.design import Design
from world import devices
from world.devices import Overlay
from world.factory import ledger
from world.factory import maker as makers


class Published(NamedTuple):
    """``texts`` are those of a release, by the names of their files; ``root`` and ``lists`` are in DER."""

    texts: Mapping[str, bytes]
    root: bytes
    lists: tuple[bytes, ...]


def of_session(design: Design, overlays: Mapping[str, Overlay]) -> Published:
    """Of this session's throw-away factory. Raises ``packing.ImageError``."""
    factory = devices.factory()
    root = factory.root.certificate.public_bytes(Encoding.DER)
    return Published(devices.published(design, overlays), root, factory.lists())


def is_at_home(device: Path) -> bool:
    """Whether this device lies in the folder of a factory, which may be asked about it."""
    return (_factory_of(device) / ledger.LEDGER).is_file()


def of_device(device: Path) -> Published:
    """Of the factory in whose folder this device lies: its root, its latest lists, and the release in the first slot.

    A release that somebody else put there is not signed up to this root, and is no reference to anybody.

    Raises ``ledger.FactoryRefused``.
    """
    with ledger.opened(_factory_of(device)) as folder:
        held = folder.ledger
        assert held.root is not None
        lists = tuple(makers.lists_of(held).values())
    texts: dict[str, bytes] = {}
    for slot in sorted((device / "flash").glob("slot_?"))[:1]:
        texts = {path.name: path.read_bytes() for path in sorted(slot.glob("*.bhm"))}
    return Published(texts, held.root.certificate, lists)


def _factory_of(device: Path) -> Path:
    return device.resolve().parent.parent
