"""Images: one file of bytes, read once from flash into a sealed memory file, and looked at nowhere else.

A stage that runs (bootloader, monitor) is a zip archive that the interpreter starts from ``/proc/self/fd/N``. All other
images are names and contents in canonical MessagePack, so that what reads them is our own codec.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from boot.refusal import Refused
from ipc_schemas import codec, release

FILES_MAX = 1_024
_NAME_CHARS_MAX = 200
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_PIECE_BYTES = 1 << 20


class Packed(release.Shape, frozen=True):
    """The files of an image: relative names with ``/`` between their parts, in order."""

    files: Annotated[
        dict[
            Annotated[str, Meta(max_length=_NAME_CHARS_MAX)],
            Annotated[bytes, Meta(max_length=release.IMAGE_BYTES_MAX)],
        ],
        Meta(max_length=FILES_MAX),
    ]


_PACKED: codec.Codec[Packed] = codec.Codec(Packed)


def pack(files: dict[str, bytes]) -> bytes:
    """The image of these files. Raises ``Refused`` (``form``) for a name that is no plain relative path."""
    content = codec.encode(Packed(dict(sorted(files.items()))))
    unpack(content)
    return content


def unpack(content: bytes) -> dict[str, bytes]:
    """The files of an image. Raises ``Refused`` (``form``)."""
    try:
        files = _PACKED.decode(content).files
    except codec.Refused as error:
        raise Refused("form", f"the image cannot be read ({error})", "build it anew") from None
    for name in files:
        parts = name.split("/")
        if {"", ".", ".."} & set(parts) or not name.isprintable() or "\\" in name:
            raise Refused(
                "form", f"the image holds a file called {name!a}, which is no plain path", "take it out"
            )
        above = next((one for one in _folders_of(name) if one in files), "")
        if above:
            said = f"the image holds a file called {above!a} and, as if it were a folder, {name!a}"
            raise Refused("form", said, "rename one of the two")
    return files


def _folders_of(name: str) -> Iterator[str]:
    """``a`` and ``a/b`` of ``a/b/c``."""
    for at, letter in enumerate(name):
        if letter == "/":
            yield name[:at]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A memory file that nobody can change any more: its descriptor, length, and SHA-256."""

    descriptor: int
    size_bytes: int
    sha256: bytes

    def content(self) -> bytes:
        """All of it."""
        return os.pread(self.descriptor, self.size_bytes, 0)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


def taken(path: Path, bytes_max: int) -> Sealed:
    """The file's bytes as they are now, at most ``bytes_max``, in a sealed memory file. The caller closes it.

    Raises ``Refused`` (``form``) when it is missing, no plain file, or longer.
    """
    try:
        source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused("form", f"{path.name} cannot be read ({error.strerror})", "install it anew") from None
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise Refused("form", f"{path.name} is no plain file", "install it anew")
        return _sealed(_pieces(source, path.name, bytes_max))
    except OSError as error:
        raise Refused("form", f"{path.name} cannot be read ({error.strerror})", "install it anew") from None
    finally:
        os.close(source)


def _pieces(source: int, name: str, bytes_max: int) -> Iterator[bytes]:
    """All that can be read from ``source``. Raises ``Refused`` (``form``) as soon as that is too much."""
    size_bytes = 0
    while piece := os.read(source, _PIECE_BYTES):
        size_bytes += len(piece)
        if size_bytes > bytes_max:
            raise Refused("form", f"{name} is longer than {bytes_max} bytes", "install it anew")
        yield piece


def sealed(content: bytes) -> Sealed:
    """These bytes in a sealed memory file. The caller closes it."""
    return _sealed([content])


def _sealed(pieces: Iterable[bytes]) -> Sealed:
    descriptor = os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        total, size_bytes = hashlib.sha256(), 0
        for piece in pieces:
            total.update(piece)
            size_bytes += len(piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return Sealed(descriptor, size_bytes, total.digest())


def is_sealed(descriptor: int) -> bool:
    """Whether all seals are on."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:
        return False
