"""What an image stands on: the interpreter with its library, installed packages, shared libraries of the system.

Nothing but the standard library is imported here, so that ROM measures packages before it imports any of them.
Measured is every file from which code can come: sources, what Python cached of them, shared objects. Of the standard
library, folders that no device needs are left out, and confined processes do not see them (``sandbox.rootfs``). The
interpreter measures itself: one that was changed could say anything, and what would settle that is hardware.
"""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import struct
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from typing import NamedTuple

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
#: Device, number, size, and both times of change of a file.
_FACTS = struct.Struct(">QQqqq")
_DIGEST_BYTES = hashlib.sha256().digest_size


class Look(NamedTuple):
    """A part as it was read: the digest of what is in its files, and of what the file system says of them.

    The second changes with any write, and nobody can set it back: it is over numbers, sizes and times of the files.
    """

    digest: bytes
    state: bytes


def look(part: str, packages: str, *, reads: bool = True) -> Look:
    """Look at ``python``, a top-level name in ``packages``, or, by its whole path, one shared library of the system.

    The digest is SHA-256 over names and digests of all files, and empty if it ``reads`` none of them.

    Raises ``Refused`` (``platform``) when it is not there or cannot be read.
    """
    found = list(_files(part, packages))
    if not found:
        raise _refused(f"the package {part!a} is not installed", "install what the lock file names")
    if len(found) > _FILES_MAX:
        raise _refused(
            f"{part} has {len(found)} files, at most {_FILES_MAX} may be", "take out what is not code"
        )
    total, state = hashlib.sha256(), hashlib.sha256()
    for name, path in found:
        encoded = name.encode("utf-8", "surrogateescape")
        digest, said = _file(path, reads=reads)
        if reads:
            total.update(len(encoded).to_bytes(4, "big") + encoded + digest)
        state.update(encoded + said)
    return Look(total.digest() if reads else b"", state.digest())


def measure(part: str, packages: str) -> bytes:
    """The digest of ``look``. Raises as it does."""
    return look(part, packages).digest


def require_unchanged(states: Iterable[tuple[str, bytes]], packages: str) -> None:
    """Raises ``Refused`` (``platform``) when any file of these parts was written since their states were taken."""
    for part, state in states:
        if look(part, packages, reads=False).state != state:
            raise _refused(
                f"{part} was written to after it had been measured",
                "start the device again, and let nobody change its platform meanwhile",
            )


class Begun:
    """Parts at which a child looks while this process, which has one thread, does other things.

    Whoever begins asks for the ``looks`` or abandons them.
    """

    def __init__(self, parts: Iterable[str], packages: str) -> None:
        self._parts, self._packages = tuple(parts), packages
        self._said, writer = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            try:
                os.write(writer, b"".join(b"".join(look(part, packages)) for part in self._parts))
            finally:
                os._exit(0)
        os.close(writer)

    def looks(self) -> dict[str, Look]:
        """As ``look`` has them, once. Raises as it does."""
        with open(self._said, "rb") as said:
            found = said.read()
        os.waitpid(self._child, 0)
        if len(found) != 2 * _DIGEST_BYTES * len(self._parts):
            # A child that could not read a file says nothing: the same here says which.
            return {part: look(part, self._packages) for part in self._parts}
        pieces = iter(found[at : at + _DIGEST_BYTES] for at in range(0, len(found), _DIGEST_BYTES))
        return {part: Look(next(pieces), next(pieces)) for part in self._parts}

    def abandon(self) -> None:
        """Nobody wants to know any more."""
        os.close(self._said)
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


def is_running(part: str) -> bool:
    """Whether it runs already when the first line of ROM does: the interpreter, and what it stands on."""
    return part == PYTHON or part.startswith("/")


def unmeasured(process: int | str, parts: Iterable[str], packages: str) -> list[str]:
    """Files of which a process (``self``, or its number) has code mapped, and that are in none of these parts."""
    known = tuple(place for part in parts for place in _places(part, packages))
    with open(f"/proc/{process}/maps", encoding="utf-8", errors="surrogateescape") as maps:
        rows = [line.rstrip("\n").split(maxsplit=5) for line in maps]
    paths = {row[5] for row in rows if len(row) == 6 and "x" in row[1] and row[5].startswith("/")}
    # Memory that was never a file of anybody's, in which libffi keeps what it has built.
    paths = {path for path in paths if not path.startswith("/memfd:")}
    return sorted(
        path for path in paths if not any(path == k or (k[-1] == "/" and path.startswith(k)) for k in known)
    )


def require_measured(process: int | str, parts: Iterable[str], packages: str) -> None:
    """Raises ``Refused`` (``platform``) when a process has code mapped that is in none of these parts."""
    found = unmeasured(process, parts, packages)
    if found:
        raise _refused(
            f"{found[0]!a} is mapped into a process of the device, and nobody has measured it",
            "have the release built on this platform, or take out what loads that library",
        )


def _places(part: str, packages: str) -> Iterator[str]:
    """Where the code of a part lies: files, and folders with a slash at their end."""
    if part.startswith("/"):
        yield part
    elif part == PYTHON:
        yield os.path.realpath(sys.executable)
        yield from _mapped("libpython")
        yield from (f"{folder}/" for folder in _library_folders())
    else:
        for name in (part, *_BESIDE.get(part, ())):
            yield os.path.realpath(f"{packages}/{name}") + "/"
        for suffix in EXTENSION_SUFFIXES:
            yield os.path.realpath(f"{packages}/{part}{suffix}")


def require(part: str, found: bytes, wanted: bytes) -> None:
    """Raises ``Refused`` (``platform``) when a part is not the one that the manifest names."""
    if found != wanted:
        raise _refused(
            f"{part} has the digest {found.hex()[:16]}, and the manifest says {wanted.hex()[:16]}",
            "install the release that was built for this platform, or the platform that it was built for",
        )


def _files(part: str, packages: str) -> Iterator[tuple[str, str]]:
    if part == PYTHON:
        return _of_python()
    if part.startswith("/"):
        return iter([(part, part)])
    return _of_package(part, packages)


def _library_folders() -> list[str]:
    """The standard library's, and that of its compiled modules where it has one apart."""
    library = os.path.dirname(os.__file__)
    apart = [path for path in sys.path if path.endswith("lib-dynload") and not path.startswith(library)]
    return [library, *apart]


def _of_python() -> Iterator[tuple[str, str]]:
    """Names and paths, in order: the program, its library where it has one apart, and the standard library."""
    yield "program", os.path.realpath(sys.executable)
    for path in _mapped("libpython"):
        yield f"mapped/{os.path.basename(path)}", path
    for path in (os.path.join(os.path.dirname(sys.executable), "..", "pyvenv.cfg"), *sys.path):
        if os.path.basename(path) in ("pyvenv.cfg", _ZIP) and os.path.isfile(path):
            yield os.path.basename(path), path
    library, *apart = _library_folders()
    yield from _below(library, "library", LEFT_OUT)
    for folder in apart:
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


def _file(path: str, *, reads: bool) -> tuple[bytes, bytes]:
    """The digest of a file, and what the file system said of it before it was read."""
    try:
        if not reads:
            return b"", _said(os.stat(path))
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            facts = os.fstat(file)
            if not stat.S_ISREG(facts.st_mode) and path != os.devnull:  # which stands for a link to a folder
                raise _refused(f"{path} is no plain file", "pin installed packages and libraries only")
            digest = hashlib.sha256()
            while piece := os.read(file, facts.st_size + 1):
                digest.update(piece)
                if len(piece) <= facts.st_size:  # less than was asked for: that was all of it
                    break
        finally:
            os.close(file)
    except OSError as error:
        raise _refused(f"{path} cannot be read ({error.strerror})", "make it readable") from None
    return digest.digest(), _said(facts)


def _said(facts: os.stat_result) -> bytes:
    return _FACTS.pack(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _refused(sentence: str, remedy: str) -> Refused:
    return Refused("platform", sentence, remedy)
