"""Packs what the images of partitions and designs hold, and what the monitor's own holds for confined processes.

A partition's image is its supplier's files as they are. What else a confined process needs under ``lib/`` is ours, and
compiled, so that not every life compiles it anew. Nobody compiles a supplier's files.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from monitor import images as monitors
from monitor.design import Design
from monitor.images import DESIGN_SCHEMAS
from world.factory.images import ROOT, compiled, packed

IMAGE_BYTES_MAX = 8 << 20
IMAGE_FILES_MAX = 512
#: Top-level names that a partition's own files may not take.
_OURS = frozenset({"ipc_schemas", "partitions", "monitor", "sandbox", "boot", DESIGN_SCHEMAS})


class ImageError(Exception):
    """An image that cannot be packed; the sentence names the folder and the remedy."""


def read_folder(folder: Path) -> dict[str, bytes]:
    """All files below ``folder`` but caches, by relative name. Raises ``ImageError``."""
    files: dict[str, bytes] = {}
    size = 0
    for path in _paths(folder):
        if path.is_symlink():
            raise ImageError(f"{path}: an image may not contain links; put the file itself there")
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        try:
            size += path.stat().st_size
            if size > IMAGE_BYTES_MAX or len(files) >= IMAGE_FILES_MAX:
                limit = f"{IMAGE_BYTES_MAX >> 20} MiB and {IMAGE_FILES_MAX} files"
                raise ImageError(f"{folder}: the image is larger than {limit}; take out what is not code")
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror}; make it readable") from None
    if not files:
        raise ImageError(f"{folder}: the image folder is missing or empty; put the partition's code there")
    return files


def _paths(folder: Path) -> list[Path]:
    """Everything below a folder, in order. Raises ``ImageError``."""
    try:
        paths = sorted(folder.rglob("*"))
    except RecursionError:
        raise ImageError(f"{folder}: its folders lie too deep in one another; flatten them") from None
    for path in paths:
        if not path.name.isprintable():  # nor is a name that is not UTF-8
            shown = path.name.encode("ascii", "backslashreplace").decode()
            raise ImageError(
                f"{folder}: the name {shown!r} has characters that do not print; rename that file"
            )
    return paths


def _room(room: str) -> dict[str, bytes]:
    """The sources of a room of ours, as they lie under ``lib/``."""
    return {f"lib/{room}/{path.name}": path.read_bytes() for path in sorted((ROOT / room).glob("*.py"))}


def with_compiled(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same and, of each Python file under ``lib/``, what Python would cache of it."""
    return files | {
        importlib.util.cache_from_source(name): compiled(f"/image/{name}", source)
        for name, source in files.items()
        if name.startswith("lib/") and name.endswith(".py")
    }


def design_files(design: Design) -> dict[str, bytes]:
    """The files of a design's image. Raises ``ImageError``."""
    try:
        device = (design.folder / monitors.DEVICE_FILE).read_bytes()
    except OSError as error:
        raise ImageError(
            f"{design.folder / monitors.DEVICE_FILE}: {error.strerror}; make it readable"
        ) from None
    return {
        monitors.DEVICE_FILE: device,
        monitors.SCHEMAS_FILE: design.schemas_source,
        monitors.SCHEMAS_COMPILED_FILE: compiled(f"/image/lib/{DESIGN_SCHEMAS}.py", design.schemas_source),
    }


def partition_files(folder: Path, extra: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a partition's image. ``extra`` are added to (or replace) those of the folder.

    Raises ``ImageError``.
    """
    own = read_folder(folder) | dict(extra)
    for name in own:
        # The cell writes its files before it has left the host's root for its own.
        if {"", ".", ".."} & set(name.split("/")):
            raise ImageError(f"{folder}: {name!a} is no plain path; name it without . and .. and / in front")
        if name.split("/")[0].removesuffix(".py") in _OURS:
            raise ImageError(f"{folder}: {name} bears the name of a module of Bulkhead's; rename it")
    return own


def cell_files() -> dict[str, bytes]:
    """What is ours in every partition: the rooms that cross every wall."""
    files = _room("ipc_schemas") | _room("partitions/sdk")
    files["lib/partitions/__init__.py"] = (ROOT / "partitions/__init__.py").read_bytes()
    return with_compiled(files)


def gate_files() -> dict[str, bytes]:
    """What is ours in every gate, which is all of it: the gate, the judge, and what they import."""
    files = _room("ipc_schemas")
    for name in ("__init__", "gate", "judge"):
        files[f"lib/monitor/{name}.py"] = (ROOT / f"monitor/{name}.py").read_bytes()
    return with_compiled(files)


def libraries() -> dict[str, bytes]:
    """The files that the monitor's image holds for confined processes, by their names in it."""
    return {
        f"monitor/{monitors.CELL_FILE}": packed(cell_files()),
        f"monitor/{monitors.GATE_FILE}": packed(gate_files()),
    }
