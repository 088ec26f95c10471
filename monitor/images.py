"""Images of confined processes: the files that a boot stage has verified, put into sealed memory for each life.

What a confined process is given holds the partition's own files, out of its supplier's image, under ``app/``. Under
``lib/`` come the rooms that cross every wall (``ipc_schemas``, ``partitions.sdk``) or, for a gate, the gate and the
judge: they are a part of the monitor's own image, because they run before the cell is sealed. A restart uses the same
bytes after comparing their digest again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pkgutil
from dataclasses import dataclass

from boot import image
from ipc_schemas import codec, links
from monitor.design import Design

DESIGN_SCHEMAS = "design_schemas"
#: What lies under ``lib/``, as it lies in the monitor's own image: for partitions, for gates.
CELL_FILE, GATE_FILE = "cell.img", "gate.img"
#: The files of a design's image.
DEVICE_FILE, SCHEMAS_FILE, SCHEMAS_COMPILED_FILE = "device.toml", "schemas.py", "schemas.pyc"


class ImageChanged(Exception):
    """The sealed bytes of an image no longer have the digest they had at boot."""


@dataclass(frozen=True, slots=True)
class Image:
    """A packed image: its files, and the digest over names and contents."""

    files: dict[str, bytes]
    digest: str


def digest_of(files: dict[str, bytes]) -> str:
    """SHA-256 over the sorted names and contents, each with its length in front, in hex."""
    total = hashlib.sha256()
    for name in sorted(files):
        encoded = name.encode()
        total.update(len(encoded).to_bytes(4, "big") + encoded)
        total.update(len(files[name]).to_bytes(8, "big") + files[name])
    return total.hexdigest()


def schemas_module(schemas: str) -> str:
    """The name under which confined processes import the design's message types."""
    return DESIGN_SCHEMAS if schemas.endswith(".py") else schemas


def partition_image(own: dict[str, bytes], design: Design, design_files: dict[str, bytes]) -> Image:
    """What a partition with these files is given. Only inside the monitor's own image, as the next."""
    files = {f"app/{name}": content for name, content in own.items()}
    return _with_library(files, CELL_FILE, design, design_files)


def gate_image(design: Design, design_files: dict[str, bytes]) -> Image:
    """What every gate is given: the gate, the judge, what they import, and the design's message types."""
    return _with_library({}, GATE_FILE, design, design_files)


def _with_library(
    files: dict[str, bytes], library: str, design: Design, design_files: dict[str, bytes]
) -> Image:
    ours = pkgutil.get_data("monitor", library)
    assert ours is not None
    found = files | image.unpack(ours)
    if design.schemas.endswith(".py"):
        name = f"lib/{DESIGN_SCHEMAS}.py"
        found[name] = design_files[SCHEMAS_FILE]
        found[importlib.util.cache_from_source(name)] = design_files[SCHEMAS_COMPILED_FILE]
    return Image(found, digest_of(found))


def sealed_file(of: Image, program: str, entry: str, config: bytes) -> int:
    """A memory file with the payload that nobody can change any more. Raises ``ImageChanged``. Close it after use."""
    if digest_of(of.files) != of.digest:
        raise ImageChanged(f"the image no longer has the digest {of.digest[:16]} it had at boot")
    return image.sealed(codec.encode(links.Payload(of.files, program, entry, config))).descriptor
