"""The secure element's cells: what it keeps without power, in one folder, whole or refused.

Two files. ``state`` is a digest and the canonical ``State`` under it; ``secret`` is the device secret, apart from the
state so that it is written once and can be overwritten in place. Each change writes a new file, synchronises it,
renames it over the old one and synchronises the folder: a power cut at any step leaves the old or the new. A file
that is missing, cut or changed is refused; there are no defaults. Opening never creates: a blank element is made by
``make_blank``, so that an element whose state was deleted is refused and does not begin anew with floors of zero.

What files cannot hold: who can read the folder has the device secret; who can write it can put back an older whole
copy, floors and fuses with it, or write a state of his own with a right digest; and what a disk keeps of overwritten
blocks is the disk's affair. Hardware keeps its cells inside the chip and counts with a monotonic counter. The folder
stands for the inside of the chip: whoever holds it has opened the chip.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os

from boot.refusal import Refused
from ipc_schemas import codec
from ipc_schemas.element import State, StateBefore

SECRET_BYTES = 32
STATE_FILE = "state"
SECRET_FILE = "secret"
_NEW = ".new"
_MAGIC = b"BHCELL1\n"
_HEAD_BYTES = len(_MAGIC) + hashlib.sha256().digest_size
_FILE_BYTES_MAX = 64 << 10
_STATES = codec.Codec(State)
_STATES_BEFORE = codec.Codec(StateBefore)


class Disk:
    """The steps of which every change is made, in one folder that no other process holds meanwhile.

    Raises ``Refused`` when the folder is not there or another process holds it. A test puts its own steps in the
    place of these to cut the power between them.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _refused(f"the element's folder cannot be opened ({error.strerror})") from None
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._folder)
            sentence = "another process holds this secure element's folder"
            raise Refused(
                "element", sentence, "end that process first, or give this device its own"
            ) from None

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._folder)

    def names(self) -> set[str]:
        """What is in the folder."""
        return set(os.listdir(self._folder))

    def read(self, name: str) -> bytes:
        """A whole file, up to one byte more than any may have."""
        with os.fdopen(self._open(name, os.O_RDONLY), "rb") as file:
            return file.read(_FILE_BYTES_MAX + 1)

    def create(self, name: str) -> int:
        """A descriptor of a new, empty file."""
        return self._open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def open_over(self, name: str) -> int:
        """A descriptor for writing over a file in place."""
        return self._open(name, os.O_WRONLY)

    def write(self, file: int, data: bytes) -> None:
        """All of ``data``."""
        while data:
            data = data[os.write(file, data) :]

    def sync(self, file: int) -> None:
        """What was written is on the disk."""
        os.fsync(file)

    def rename(self, old: str, new: str) -> None:
        """``old`` takes the place of ``new``."""
        os.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def unlink(self, name: str) -> None:
        """The file is gone."""
        os.unlink(name, dir_fd=self._folder)

    def sync_folder(self) -> None:
        """New, renamed and deleted names are on the disk."""
        os.fsync(self._folder)

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode=0o600, dir_fd=self._folder)


def make_blank(disk: Disk) -> None:
    """Make a new element, as the chip's maker does. Raises ``Refused`` when there is, or was, one in the folder."""
    there = disk.names() & {STATE_FILE, SECRET_FILE}
    if there:
        sentence = f"there is already a secure element in this folder ({', '.join(sorted(there))})"
        raise Refused("element", sentence, "a new device needs an empty folder of its own")
    write_whole(disk, STATE_FILE, _sealed_up(State()))


class Cells:
    """The cells of one element. Raises ``Refused`` unless they are whole.

    ``state`` and ``secret`` are what lies on the disk: they change only after the disk has it. An ``OSError`` from a
    change means that it is unknown which of the two lies there; then the element ends, and the next start reads it.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        there = disk.names()
        if STATE_FILE not in there:
            sentence = "the secure element's state is missing: its floors and its identity cannot be known"
            raise _refused(sentence)
        self.state = _opened_up(disk.read(STATE_FILE))
        for name in sorted(there & {STATE_FILE + _NEW, SECRET_FILE + _NEW}):
            disk.unlink(name)  # what a power cut left of a change that never happened
        self.secret = self._read_secret(there)

    def replace(self, state: State) -> None:
        """Keep ``state`` from now on. Returns when a power cut cannot undo it."""
        write_whole(self._disk, STATE_FILE, _sealed_up(state))
        self.state = state

    def keep_secret(self, secret: bytes) -> None:
        """Write the device secret. It counts from the state on that has its digest."""
        write_whole(self._disk, SECRET_FILE, secret)
        self.secret = secret

    def wipe_secret(self) -> None:
        """Overwrite the device secret in place, then delete it. Called after the state that needs it no longer."""
        self.secret = b""
        file = self._disk.open_over(SECRET_FILE)
        try:
            self._disk.write(file, bytes(SECRET_BYTES))
            self._disk.sync(file)
        finally:
            os.close(file)
        self._disk.unlink(SECRET_FILE)
        self._disk.sync_folder()

    def _read_secret(self, there: set[str]) -> bytes:
        if self.state.lifecycle == "blank":
            return b""  # what a power cut may have left of a manufacture that never happened is written over
        if self.state.lifecycle == "decommissioned":
            if SECRET_FILE in there:
                self.wipe_secret()
            return b""
        secret = self._disk.read(SECRET_FILE) if SECRET_FILE in there else b""
        if len(secret) != SECRET_BYTES or hashlib.sha256(secret).digest() != self.state.secret_sha256:
            raise _refused("the secure element's device secret is missing or is not this element's")
        return secret


def write_whole(disk: Disk, name: str, content: bytes) -> None:
    """``content`` as the file ``name``: a power cut leaves the old one or the new one."""
    file = disk.create(name + _NEW)
    try:
        disk.write(file, content)
        disk.sync(file)
    finally:
        os.close(file)
    disk.rename(name + _NEW, name)
    disk.sync_folder()


def _sealed_up(state: State) -> bytes:
    payload = codec.encode(state)
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def _opened_up(content: bytes) -> State:
    head, payload = content[:_HEAD_BYTES], content[_HEAD_BYTES:]
    if head != _MAGIC + hashlib.sha256(payload).digest():
        raise _refused("the secure element's state is cut or changed: its digest does not fit")
    try:
        return _STATES.decode(payload)
    except codec.Refused as error:
        with contextlib.suppress(codec.Refused):
            return _brought_up(_STATES_BEFORE.decode(payload))
        raise _refused(f"the secure element's state has a shape that is not ours ({error.detail})") from None


def _brought_up(before: StateBefore) -> State:
    """The state of an element from before: without floors of lists, which its next confirmed boot sets.

    The next change writes it in the present format, and no element writes the former one any more.
    """
    kept = {name: getattr(before, name) for name in before.__struct_fields__ if name != "format"}
    return State(**kept)


def _refused(sentence: str) -> Refused:
    return Refused("element", sentence, "the device stays in its safe state: send it to its manufacturer")
