"""The devices of one session: a throw-away factory makes them, builds their images, and signs what goes into flash.

Every key is made here and now and kept nowhere; a device trusts the root of the factory that made it and no other.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Self

from boot import image
from boot.element import Element
from boot.refusal import Refused
from ipc_schemas import codec, element
from ipc_schemas.release import ENVELOPE_BYTES_MAX, Envelope, Release
from monitor.design import Design
from world import leftovers, power
from world.factory import development, images, packing, platforms
from world.factory.development import Factory, Made, Signer

_ENVELOPES: codec.Codec[Envelope] = codec.Codec(Envelope)
_RELEASES: codec.Codec[Release] = codec.Codec(Release)
SERIAL = "SN-0001"
SLOT: element.Slot = "a"
#: Of every image that is built here; a device that has run one of them starts none below it.
SECURITY_COUNTER = 2
VERSION = "1.0"
#: Of a device that has been in use, so that what its monitor refuses costs an experiment one more start, and not five.
ATTEMPTS_LEFT = 1


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
def stage_images() -> dict[str, Made]:
    """Bootloader and monitor, built from the sources once."""
    return {
        "bootloader": Made(
            "bootloader",
            images.stage("bootloader", "boot.bootloader"),
            security_counter=SECURITY_COUNTER,
            platform=platforms.pinned(platforms.parts().boot),
        ),
        "monitor": Made(
            "monitor",
            images.stage("monitor", "monitor.main", packing.libraries()),
            security_counter=SECURITY_COUNTER,
            platform=platforms.pinned(platforms.parts().monitor),
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
            platforms.pinned(partition.packages),
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
        return _cells_in(Path(folder) / "element")


@contextmanager
def device() -> Iterator[Device]:
    """The session's device, its flash empty. What becomes of it in the block is gone at the end."""
    with leftovers.owned() as folder:
        made = Device(folder / "rom.img", folder / "flash", folder / "element")
        made.rom.write_bytes(platforms.rom())
        _put(made.element, _element())
        yield made


@cache
def _used(floors: tuple[tuple[str, int], ...]) -> Mapping[str, bytes]:
    """The cells of this session's device as a boot that proved itself has left them, and a few that were cut short.

    ``floors`` are the security counters of that boot's images, by name.
    """
    with tempfile.TemporaryDirectory(prefix=leftovers.PREFIX) as folder:
        place = Path(folder) / "element"
        _put(place, _element())
        with development.linked(place) as chip:
            chip.spend_attempt(SLOT)
            chip.derive_layer("bootloader", bytes(32))
            chip.measure_next(bytes(32))
            chip.confirm()
            for name, counter in floors:
                chip.raise_floor(name, counter)
            chip.raise_list_floors(factory().confirmed_lists())
            chip.raise_time_floor(int(factory().lists_issued.timestamp()))
        for _ in range(element.ATTEMPTS_MAX - ATTEMPTS_LEFT):
            with development.linked(place) as chip:
                chip.spend_attempt(SLOT)
        return _cells_in(place)


def _cells_in(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _put(folder: Path, cells: Mapping[str, bytes]) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, content in cells.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)


class Ready:
    """A device whose element has power and which nobody has switched on yet. Use as a context manager.

    ``link`` is the element's; it is another one after each reset. ``opened`` is who had the device in hand before, and
    stays beside it; ``without`` are walls that an experiment leaves out of the element.
    """

    def __init__(
        self, device: Device, opened: Opened | None = None, without: frozenset[str] = frozenset()
    ) -> None:
        self.device = device
        self.opened = opened
        self._without = without
        self._power = ExitStack()
        self.link = self._power.enter_context(power.element(device.element, without))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._power.close()

    def reset(self) -> None:
        """Take the power off the element and give it back. Whoever was switched on before has ended."""
        self._power.close()
        self.link = self._power.enter_context(power.element(self.device.element, self._without))

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


def designs_in(flash: Path) -> set[str]:
    """The names of the designs whose releases lie in a flash, as far as they can be read. Nobody has verified them."""
    found = set()
    for slot in ("a", "b"):
        with suppress(Refused, codec.Refused):
            file = image.taken(flash / f"slot_{slot}" / "release.bhm", ENVELOPE_BYTES_MAX)
            try:
                found.add(_RELEASES.decode(_ENVELOPES.decode(file.content()).payload).device)
            finally:
                file.close()
    return found


def found_in(folder: Path, design: Design) -> Device:
    """The device in a folder that a factory has made, with a release of ``design`` in its flash, or with none.

    Raises ``packing.ImageError`` when the folder is no device's, or the release in it is another design's.
    """
    folder = folder.resolve()  # stages have no working directory
    found = Device(folder / "rom.img", folder / "flash", folder / "element", folder.name)
    if not found.rom.is_file() or not found.element.is_dir():
        raise packing.ImageError(
            f"{folder}: there is no device in this folder; name one that provision devices has made"
        )
    if not found.flash.is_dir():
        raise packing.ImageError(f"{found.flash}: there is no flash in this folder; write one with sign")
    held = designs_in(found.flash)
    if held and design.name not in held:
        raise packing.ImageError(
            f"{found.flash}: it holds {' and '.join(sorted(held))}, and the world around the device would be that of "
            f"{design.name}; name the design's folder with --design"
        )
    return found


@contextmanager
def ready(
    design: Design | None = None,
    overlays: Mapping[str, Overlay] | None = None,
    tamper: Callable[[Opened], None] | None = None,
    without: frozenset[str] = frozenset(),
) -> Iterator[Ready]:
    """A new device of this session's factory.

    With ``tamper`` it has been in use: its floors are those of its release, and its slot has ``ATTEMPTS_LEFT``. Then it
    was switched off, and ``tamper`` had it in hand. At the end of the block the device is gone; that its process is,
    the caller sees to.

    Raises ``packing.ImageError``.
    """
    with device() as made:
        write_flash(made.flash, design, overlays or {})
        opened = Opened(made)
        if tamper is not None:
            parts = parts_of(design, {})
            _put(made.element, _used(tuple(sorted((n, p.security_counter) for n, p in parts.items()))))
            tamper(opened)
        with Ready(opened.device, opened, without) as found:
            yield found
