"""The devices of one session: a throw-away factory makes them, builds their images, and signs what goes into flash.

Every key is made here and now and kept nowhere; a device trusts the root of the factory that made it and no other.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from boot import platform
from boot.element import Element
from ipc_schemas import element
from monitor.design import Design
from world import leftovers, power
from world.factory import development, images, packing
from world.factory.development import Factory, Made, Signer

SERIAL = "SN-0001"
SLOT: element.Slot = "a"
#: Of every image that is built here; a device that has run one of them starts none below it.
SECURITY_COUNTER = 2
VERSION = "1.0"
#: What the stages and the monitor import beside what is ours. A package's own needs are named, too.
MONITOR_PLATFORM = (
    platform.PYTHON,
    "OpenSSL",
    "_cbor2",
    "_cffi_backend",
    "cbor2",
    "cryptography",
    "msgspec",
    "pyseccomp",
    "typing_extensions",
    "zmq",
)


@dataclass(frozen=True, slots=True)
class Overlay:
    """Another image for one partition than the design's: a folder, an entry point, and files to add.

    ``config`` replaces the partition's configuration when it is not empty; it is no part of the image.
    """

    folder: Path
    entry: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    config: bytes = b""


@cache
def factory() -> Factory:
    """The one of this session."""
    return Factory(development.now_utc())


@cache
def _rom() -> bytes:
    return images.stage("rom", "boot.rom")


@cache
def _measured(part: str) -> bytes:
    return platform.measure(part, power.packages_folder())


def _pinned(parts: Iterable[str]) -> tuple[tuple[str, bytes], ...]:
    """Each part of the platform with its digest on this host, for which all images are built."""
    return tuple((part, _measured(part)) for part in sorted(parts))


@cache
def stage_images() -> dict[str, Made]:
    """Bootloader and monitor, built from the sources once."""
    return {
        "bootloader": Made(
            "bootloader",
            images.stage("bootloader", "boot.bootloader"),
            security_counter=SECURITY_COUNTER,
        ),
        "monitor": Made(
            "monitor",
            images.stage("monitor", "monitor.main", packing.libraries()),
            security_counter=SECURITY_COUNTER,
            platform=_pinned(MONITOR_PLATFORM),
        ),
    }


@cache
def _supplier(partition: str, safety_class: str) -> Signer:
    return factory().supplier(partition, safety_class)  # type: ignore[arg-type]


def partition_images(design: Design, overlays: Mapping[str, Overlay]) -> dict[str, Made]:
    """Each partition's image, as the design or the overlay says. Raises ``packing.ImageError``."""
    found = {}
    for partition in design.partitions:
        what = overlays.get(partition.name, Overlay(partition.image, partition.entry))
        content = images.packed(packing.partition_files(what.folder, what.files))
        found[partition.name] = Made(
            "partition",
            content,
            partition.safety_class.value,
            what.entry,
            SECURITY_COUNTER,
            _pinned(partition.packages),
        )
    return found


def parts_of(design: Design | None, overlays: Mapping[str, Overlay]) -> dict[str, Made]:
    """The images of a release. Raises ``packing.ImageError``."""
    parts = dict(stage_images())
    if design is not None:
        parts["design"] = Made(
            "design", images.packed(packing.design_files(design)), security_counter=SECURITY_COUNTER
        )
        parts |= partition_images(design, overlays)
    return parts


def signers_of(design: Design | None) -> dict[str, Signer]:
    """Each partition's image has a supplier of its own."""
    if design is None:
        return {}
    return {p.name: _supplier(p.name, p.safety_class.value) for p in design.partitions}


def published(design: Design, overlays: Mapping[str, Overlay], version: str = VERSION) -> dict[str, bytes]:
    """The signed texts of this design's release, by the names of their files. Raises ``packing.ImageError``."""
    texts = development.texts_of(parts_of(design, overlays), version, design.name)
    return factory().signed(texts, signers_of(design))


def write_flash(
    flash: Path, design: Design | None, overlays: Mapping[str, Overlay], version: str = VERSION
) -> None:
    """A whole flash: what is trusted, and in slot ``a`` the release of this design, each image by its own supplier.

    Without a design the release has the two first stages only. Raises ``packing.ImageError``.
    """
    factory().write_trust(flash)
    name = design.name if design is not None else "bench"
    factory().write_release(flash, SLOT, parts_of(design, overlays), version, name, signers_of(design))


@dataclass(frozen=True, slots=True)
class Device:
    """Where the parts of one device lie: its ROM, its flash, its secure element. ``serial`` is what it goes by."""

    rom: Path
    flash: Path
    element: Path
    serial: str = SERIAL


@dataclass(slots=True)
class Opened:
    """A device that is off, in the hands of somebody who may change its flash, swap it for another, or stay beside it.

    ``service`` is asked at the next power-on, with the nonce of that boot, for a signed permission to debug the
    device. ``on_line`` sits between the device and whoever it proves itself to, and passes on what it likes.
    """

    device: Device
    service: Callable[[bytes], bytes] | None = None
    on_line: Callable[[bytes], bytes] | None = None


@cache
def _element() -> Mapping[str, bytes]:
    """The cells of this session's device as it left the factory. It is made once, and starts each run like new."""
    with tempfile.TemporaryDirectory(prefix=leftovers.PREFIX) as folder:
        factory().manufacture(Path(folder) / "element", SERIAL)
        return {path.name: path.read_bytes() for path in (Path(folder) / "element").iterdir()}


@contextmanager
def device() -> Iterator[Device]:
    """The session's device, its flash empty. What becomes of it in the block is gone at the end."""
    with leftovers.owned() as folder:
        made = Device(folder / "rom.img", folder / "flash", folder / "element")
        made.rom.write_bytes(_rom())
        made.element.mkdir(mode=0o700)
        for name, content in _element().items():
            (made.element / name).touch(mode=0o600)
            (made.element / name).write_bytes(content)
        yield made


def _use(made: Device, parts: Mapping[str, Made]) -> None:
    """Bring the element where a boot that proved itself has left it."""
    with development.linked(made.element) as chip:
        chip.spend_attempt(SLOT)
        chip.derive_layer("bootloader", bytes(32))
        chip.measure_next(bytes(32))
        chip.confirm()
        for name, part in sorted(parts.items()):
            chip.raise_floor(name, part.security_counter)


@dataclass(frozen=True, slots=True)
class Ready:
    """A device whose element has power and which nobody has switched on yet."""

    device: Device
    link: socket.socket
    opened: Opened | None = None

    def switch_on(
        self, command: str, control: socket.socket, without: frozenset[str] = frozenset()
    ) -> subprocess.Popen[bytes]:
        """ROM's process, in which the monitor will be; ``command`` is what it is to be."""
        permission = b""
        if self.opened is not None and self.opened.service is not None:
            with self.link.dup() as link:
                permission = self.opened.service(Element(link).facts().nonce)
        made = self.device
        return power.switch_on(made.rom, made.flash, self.link, control, command, without, permission)


@contextmanager
def powered(
    made: Device, opened: Opened | None = None, without: frozenset[str] = frozenset()
) -> Iterator[Ready]:
    """A device that was made before: its element gets power, with whoever had it ``opened`` beside it.

    ``without`` are walls that an experiment leaves out of the element.
    """
    with power.element(made.element, without) as link:
        yield Ready(made, link, opened)


@contextmanager
def ready(
    design: Design | None = None,
    overlays: Mapping[str, Overlay] | None = None,
    tamper: Callable[[Opened], None] | None = None,
    without: frozenset[str] = frozenset(),
) -> Iterator[Ready]:
    """A new device of this session's factory.

    With ``tamper`` it has been in use: its floors are those of its release. Then it was switched off, and ``tamper``
    had it in hand. At the end of the block the device is gone; that its process is, the caller sees to.

    Raises ``packing.ImageError``.
    """
    with device() as made:
        write_flash(made.flash, design, overlays or {})
        opened = Opened(made)
        if tamper is not None:
            _use(made, parts_of(design, {}))
            tamper(opened)
        with powered(opened.device, opened, without) as found:
            yield found
