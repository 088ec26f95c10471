"""Images: the bytes a confined process runs, packed once at boot into a sealed memory file.

An image holds the partition's own files under ``app/`` and, under ``lib/``, the rooms that cross every wall
(``ipc_schemas``, ``partitions.sdk``) or, for a gate, the gate and the judge. A restart uses the same sealed bytes
after comparing their digest again; the folder on disk is never read twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import marshal
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ipc_schemas import codec, links

_ROOT = Path(__file__).resolve().parent.parent
_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # F_SEAL_SEAL, SHRINK, GROW, WRITE
_F_ADD_SEALS = 1033
IMAGE_BYTES_MAX = 8 << 20
IMAGE_FILES_MAX = 512
DESIGN_SCHEMAS = "design_schemas"
#: Top-level names that a partition's own files may not take.
_OURS = frozenset({"ipc_schemas", "partitions", "monitor", "sandbox", "boot", DESIGN_SCHEMAS})


class ImageError(Exception):
    """An image that cannot be packed; the sentence names the folder and the remedy."""


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


def shared_files(schemas: str, design_folder: Path) -> dict[str, bytes]:
    """What every confined process gets under ``lib/``: the schemas room, the SDK, and the design's own schemas."""
    files = {f"lib/ipc_schemas/{p.name}": p.read_bytes() for p in (_ROOT / "ipc_schemas").glob("*.py")}
    if schemas.endswith(".py"):
        files[f"lib/{DESIGN_SCHEMAS}.py"] = (design_folder / schemas).read_bytes()
    return files


def schemas_module(schemas: str) -> str:
    """The name under which confined processes import the design's message types."""
    return DESIGN_SCHEMAS if schemas.endswith(".py") else schemas


def partition_image(folder: Path, extra: dict[str, bytes], shared: dict[str, bytes]) -> Image:
    """A partition's image. ``extra`` files are added to (or replace) those of the folder. Raises ``ImageError``."""
    own = read_folder(folder) | extra
    for name in own:
        # The cell writes its files before it has left the host's root for its own.
        if {"", ".", ".."} & set(name.split("/")):
            raise ImageError(f"{folder}: {name!a} is no plain path; name it without . and .. and / in front")
        if name.split("/")[0].removesuffix(".py") in _OURS:
            raise ImageError(f"{folder}: {name} bears the name of a module of Bulkhead's; rename it")
    files = {f"app/{name}": content for name, content in own.items()}
    files |= shared
    files["lib/partitions/__init__.py"] = (_ROOT / "partitions/__init__.py").read_bytes()
    for path in (_ROOT / "partitions/sdk").glob("*.py"):
        files[f"lib/partitions/sdk/{path.name}"] = path.read_bytes()
    return Image(files, digest_of(files))


def gate_image(shared: dict[str, bytes]) -> Image:
    """The image of every gate: the gate, the judge, and what they import."""
    files = dict(shared)
    for name in ("__init__", "gate", "judge"):
        files[f"lib/monitor/{name}.py"] = (_ROOT / f"monitor/{name}.py").read_bytes()
    return Image(files, digest_of(files))


@cache
def _compiled(name: str, source: bytes) -> bytes:
    """What Python caches of a source file (PEP 552, by hash, unchecked)."""
    code = compile(source, f"/image/{name}", "exec", dont_inherit=True)
    flags = (1).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)


def compiled(image: Image) -> dict[str, bytes]:
    """The compiled files of ``lib/``, so that not every life compiles them anew. They follow from the image's files.

    A partition's own files are left to the partition: the monitor reads nothing of theirs.
    """
    return {
        importlib.util.cache_from_source(name): _compiled(name, source)
        for name, source in image.files.items()
        if name.startswith("lib/") and name.endswith(".py")
    }


def sealed_file(image: Image, program: str, entry: str, config: bytes) -> int:
    """A memory file with the payload that nobody can change any more. Raises ``ImageChanged``. Close it after use."""
    if digest_of(image.files) != image.digest:
        raise ImageChanged(f"the image no longer has the digest {image.digest[:16]} it had at boot")
    content = codec.encode(links.Payload(image.files | compiled(image), program, entry, config))
    descriptor = os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, _F_ADD_SEALS, _SEALS)
    return descriptor
