"""What a maker publishes for whoever wants to know which release a device runs: signed texts, root, lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding

from monitor.design import Design
from world import devices
from world.devices import Overlay
from world.factory import ledger, signing
from world.factory import maker as makers


class Published(NamedTuple):
    """``texts`` are those of a release, by the names of their files; ``root`` and ``lists`` are in DER.

    ``idevid`` is the device's own certificate (DER), empty where the factory keeps no record of its devices.
    """

    texts: Mapping[str, bytes]
    root: bytes
    lists: tuple[bytes, ...]
    idevid: bytes = b""


def of_session(design: Design, overlays: Mapping[str, Overlay]) -> Published:
    """Of this session's throw-away factory. Raises ``packing.ImageError``."""
    factory = devices.factory()
    root = factory.root.certificate.public_bytes(Encoding.DER)
    return Published(devices.published(design, overlays), root, factory.lists())


def is_at_home(device: Path) -> bool:
    """Whether this device lies in the folder of a factory, which may be asked about it."""
    return (_factory_of(device) / ledger.LEDGER).is_file()


def of_device(device: Path) -> Published:
    """Of the factory in whose folder this device lies, which takes nothing from the device: its root, its latest lists,
    the device's certificate, and the release that it has signed for this device last.

    Raises ``ledger.FactoryRefused``.
    """
    with ledger.opened(_factory_of(device)) as folder:
        held = folder.ledger
        serial = device.resolve().name
        row = held.devices.get(serial)
        if held.root is None or row is None:
            raise ledger.FactoryRefused(
                f"{device}: this factory has no record of {serial}; name one of its own"
            )
        lists = tuple(makers.lists_of(held).values())
        texts = signing.published_for(folder.path, serial)
    return Published(texts, held.root.certificate, lists, row.idevid)


def _factory_of(device: Path) -> Path:
    return device.resolve().parent.parent
