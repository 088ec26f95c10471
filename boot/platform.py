"""What an image stands on: the interpreter with its standard library, and installed packages, each as one digest.

Nothing but the standard library is imported here, so that ROM measures packages before it imports any of them.
Measured is every file from which code can come: sources, what Python cached of them, shared objects. Of the standard
library, folders that no device needs are left out, and confined processes do not see them (``sandbox.rootfs``). The
interpreter measures itself: one that was changed could say anything, and what would settle that is hardware.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES

from boot.refusal import Refused
from ipc_schemas import interpreter

PYTHON = interpreter.PYTHON
#: Folders of the standard library that are no part of the platform.
LEFT_OUT = frozenset(interpreter.LIBRARY_LEFT_OUT)
#: Libraries that a package brings beside itself.
_BESIDE = {"zmq": ("pyzmq.libs",)}
_FILES_MAX = 20_000
#: Where an interpreter looks for its library first.
_ZIP = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
_DIGEST_BYTES = hashlib.sha256().digest_size


def measure(part: str, packages: str) -> bytes:
    """SHA-256 over names and digests of all files of ``part``: ``python``, or a top-level name in ``packages``.

    Raises ``Refused`` (``platform``) when it is not there or cannot be read.
    """
    found = list(_of_python() if part == PYTHON else _of_package(part, packages))
    if not found:
        raise _refused(f"the package {part!a} is not installed", "install what the lock file names")
    if len(found) > _FILES_MAX:
        raise _refused(
            f"{part} has {len(found)} files, at most {_FILES_MAX} may be", "take out what is not code"
        )
    total = hashlib.sha256()
    for name, path in found:
        encoded = name.encode("utf-8", "surrogateescape")
        total.update(len(encoded).to_bytes(4, "big") + encoded + _digest(path))
    return total.digest()


class Begun:
    """A part that a child measures while this process, which has one thread, does other things.

    Whoever begins one asks for its ``digest`` or abandons it.
    """

    def __init__(self, part: str, packages: str) -> None:
        self._part, self._packages = part, packages
        self._said, writer = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            try:
                os.write(writer, measure(part, packages))
            finally:
                os._exit(0)
        os.close(writer)

    def digest(self) -> bytes:
        """As ``measure`` has it, once. Raises as ``measure`` does."""
        with open(self._said, "rb") as said:
            found = said.read()
        os.waitpid(self._child, 0)
        # A child that could not read a file says nothing: the same here says which.
        return found if len(found) == _DIGEST_BYTES else measure(self._part, self._packages)

    def abandon(self) -> None:
        """Nobody wants to know any more."""
        os.close(self._said)
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


def require(part: str, found: bytes, wanted: bytes) -> None:
    """Raises ``Refused`` (``platform``) when a part is not the one that the manifest names."""
    if found != wanted:
        raise _refused(
            f"{part} has the digest {found.hex()[:16]}, and the manifest says {wanted.hex()[:16]}",
            "install the release that was built for this platform, or the platform that it was built for",
        )


def _of_python() -> Iterator[tuple[str, str]]:
    """Names and paths, in order: the program, its library where it has one apart, and the standard library."""
    yield "program", os.path.realpath(sys.executable)
    for path in _mapped("libpython"):
        yield f"mapped/{os.path.basename(path)}", path
    for path in (os.path.join(os.path.dirname(sys.executable), "..", "pyvenv.cfg"), *sys.path):
        if os.path.basename(path) in ("pyvenv.cfg", _ZIP) and os.path.isfile(path):
            yield os.path.basename(path), path
    library = os.path.dirname(os.__file__)
    yield from _below(library, "library", LEFT_OUT)
    for folder in sys.path:
        if folder.endswith("lib-dynload") and not folder.startswith(library):
            yield from _below(folder, "lib-dynload")


def _of_package(part: str, packages: str) -> Iterator[tuple[str, str]]:
    if not part.isidentifier():
        raise _refused(f"{part!a} is no name of a package", "correct the manifest")
    files = [f"{part}.py", *(f"{part}{suffix}" for suffix in EXTENSION_SUFFIXES)]
    files.append(f"__pycache__/{part}.{sys.implementation.cache_tag}.pyc")
    for name in files:
        if os.path.isfile(f"{packages}/{name}"):
            yield name, f"{packages}/{name}"
    for name in (part, *_BESIDE.get(part, ())):
        if os.path.isdir(f"{packages}/{name}"):
            yield from _below(f"{packages}/{name}", name)


def _mapped(word: str) -> list[str]:
    """Files of this name that are mapped into this very process."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = {line.rstrip("\n").partition("/")[2] for line in maps if "/" in line}
    return sorted(f"/{path}" for path in paths if os.path.basename(path).startswith(word))


def _below(folder: str, name: str, left_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise _refused(f"{folder} cannot be read ({error.strerror})", "make it readable") from None
    for entry in entries:
        inner = f"{name}/{entry.name}"
        if entry.is_symlink() and entry.is_dir():  # a package as good as any; what it holds is elsewhere
            yield f"{inner} -> {os.readlink(entry.path)}", os.devnull
        elif entry.is_dir(follow_symlinks=False):
            if entry.name not in left_out and not entry.name.startswith("config-"):
                yield from _below(entry.path, inner)
        elif entry.is_file() and ".opt-" not in entry.name:  # what an interpreter started with -O would run
            yield inner, entry.path


def _digest(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return hashlib.sha256(file.read()).digest()
    except OSError as error:
        raise _refused(f"{path} cannot be read ({error.strerror})", "make it readable") from None


def _refused(sentence: str, remedy: str) -> Refused:
    return Refused("platform", sentence, remedy)
