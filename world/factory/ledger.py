"""The ledger of a factory's folder: who was given which certificate, and what was taken back. One writer at a time.

```
FOLDER/ledger.json      all that was issued; what is not in it does not exist
       keys/            private keys, if they are in no token
       suppliers/NAME/  a subcontractor's own key, where it was made here for convenience
       lists/           revocation lists, by who issued them
       devices/SERIAL/  element/ (the inside of the chip), rom.img, request.der, flash/
```

A change writes the ledger anew beside the old one, synchronises it, and renames it: a power cut leaves the old or the
new. What takes more than one step says first, in ``unfinished``, what it is about to do, and whoever opens the folder
next brings that to its end. Drafts are called ``.NAME.new``, and are removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography import x509
from msgspec import Meta

from ipc_schemas.release import Shape

FORMAT = 1
LEDGER = "ledger.json"
KEYS, SUPPLIERS, LISTS, DEVICES = "keys", "suppliers", "lists", "devices"
LEDGER_BYTES_MAX = 64 << 20
_DRAFT, _NEW = ".", ".new"

Der = Annotated[bytes, Meta(min_length=1, max_length=8_192)]


class FactoryRefused(Exception):
    """What the factory does not do; the sentence names the value and the remedy."""


class Issuer(Shape, frozen=True):
    """Who issues certificates: its own, the label of its key, its latest list, and what that list takes back.

    ``revoked`` has the serial numbers of certificates, in hexadecimal.
    """

    certificate: Der
    key: str
    revoked: dict[str, datetime] = msgspec.field(default_factory=dict)
    list_number: int = 0
    list_der: bytes = b""

    @property
    def parsed(self) -> x509.Certificate:
        """Its own certificate."""
        return x509.load_der_x509_certificate(self.certificate)


class SignerRow(Shape, frozen=True):
    """Who signs: the chain of certificates below the root, its own first. ``key`` is a label in ``keys/``.

    Empty, the key is the subcontractor's, and lies at its side.
    """

    chain: tuple[Der, ...]
    key: str = ""


class DeviceRow(Shape, frozen=True):
    """A device: which factory named it, its IDevID, and its LDevID if an operator gave it one."""

    factory: str
    idevid: Der
    operator: str = ""
    ldevid: bytes = b""


class Token(Shape, frozen=True):
    """Where the keys of authorities lie, if not in files: the library, and the token behind it."""

    module: str
    label: str


class Unfinished(Shape, frozen=True):
    """What was begun with a device and takes several steps.

    ``enrol``: its element is to have the ledger's LDevID; ``rename``: the ledger's IDevID; ``renew``: there is to be a
    new element in the place of the old one, named by ``factory``.
    """

    what: Literal["enrol", "rename", "renew"]
    serial: str
    factory: str = ""


class Ledger(Shape, frozen=True):
    """Everything. ``house`` is drawn once and stands in the label of each key, so that two makers share a token."""

    maker: str
    house: str
    hardware_id: str
    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)] = FORMAT
    token: Token | None = None
    root: Issuer | None = None
    platform: Issuer | None = None
    factories: dict[str, Issuer] = msgspec.field(default_factory=dict)
    operators: dict[str, Issuer] = msgspec.field(default_factory=dict)
    signers: dict[str, SignerRow] = msgspec.field(default_factory=dict)
    devices: dict[str, DeviceRow] = msgspec.field(default_factory=dict)
    unfinished: Unfinished | None = None

    def names(self) -> set[str]:
        """All names that are taken. None is free again, also when what bears it was revoked."""
        return {"root", "platform", *self.factories, *self.operators, *self.signers, *self.devices}


class Folder:
    """A factory's folder, held. ``ledger`` is what lies on the disk; ``said`` what was mended when it was opened."""

    def __init__(self, path: Path, ledger: Ledger | None) -> None:
        self.path = path
        self._ledger = ledger
        self.said: list[str] = []

    @property
    def is_new(self) -> bool:
        """Whether there is no ledger yet."""
        return self._ledger is None

    @property
    def ledger(self) -> Ledger:
        """Raises ``FactoryRefused`` in a folder that has none."""
        if self._ledger is None:
            raise FactoryRefused(
                f"{self.path}: there is no factory in this folder; begin with provision root, or name the right one"
            )
        return self._ledger

    def keep(self, ledger: Ledger) -> None:
        """This ledger from now on. Returns when a power cut cannot undo it."""
        content = msgspec.json.format(msgspec.json.encode(ledger), indent=1)
        replace_file(self.path / LEDGER, content + b"\n")
        self._ledger = ledger

    def change(self, **fields: object) -> Ledger:
        """Keep the ledger with these fields replaced."""
        self.keep(msgspec.structs.replace(self.ledger, **fields))
        return self.ledger

    def device(self, serial: str) -> Path:
        """Where a device of this factory lies. Raises ``FactoryRefused`` when there is none of that serial number."""
        if serial not in self.ledger.devices:
            known = ", ".join(sorted(self.ledger.devices)[:4]) or "none yet"
            raise FactoryRefused(f"{serial!r}: no such device was made here (there are: {known})")
        return self.path / DEVICES / serial


@contextmanager
def opened(path: Path, *, creates: bool = False) -> Iterator[Folder]:
    """The factory in ``path``, which nobody else has meanwhile.

    With ``creates``, a folder that is not there or is empty will do. Raises ``FactoryRefused``.
    """
    is_ours = creates and _make(path)
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FactoryRefused(
            f"{path}: {error.strerror}; name a factory's folder, or begin one with provision root"
        ) from None
    is_held = False
    try:
        _hold(path, lock)
        is_held = True
        yield Folder(path, _read(path, creates=creates))
    finally:
        os.close(lock)
        if is_ours and is_held:  # or it is somebody else's by now
            with suppress(OSError):  # what was refused leaves no empty folder; one that holds something stays
                path.rmdir()


def _make(path: Path) -> bool:
    """Whether the folder is new."""
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise FactoryRefused(f"{path}: cannot be made ({error.strerror}); name another folder") from None
    return True


def _hold(path: Path, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise FactoryRefused(
            f"{path}: another command is at work in this factory; wait until it has ended, and try again"
        ) from None


def _read(path: Path, *, creates: bool) -> Ledger | None:
    try:
        with open(path / LEDGER, "rb") as file:
            content = file.read(LEDGER_BYTES_MAX + 1)
    except FileNotFoundError:
        if not creates or any(not is_draft(one) for one in path.iterdir()):
            raise FactoryRefused(
                f"{path}: this is no factory's folder; name one that provision root has made, or for a new one "
                "a folder that is empty or not there yet"
            ) from None
        return None
    except OSError as error:
        raise FactoryRefused(f"{path / LEDGER}: {error.strerror}; make it readable") from None
    try:
        return msgspec.json.decode(content, type=Ledger)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise FactoryRefused(
            f"{path / LEDGER}: this is no ledger of a factory ({error}); put back the one that was there"
        ) from None


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """``content`` under this name: after a power cut there is the old file or the new one, whole."""
    draft = draft_of(path)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    finally:
        os.close(file)
    os.rename(draft, path)
    synchronise(path.parent)


def synchronise(path: Path) -> None:
    """Names that were made, changed or removed in this folder are on the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def draft_of(path: Path) -> Path:
    """Where ``path`` is made before it bears its name."""
    return path.with_name(f"{_DRAFT}{path.name}{_NEW}")


def is_draft(path: Path) -> bool:
    """Whether this is what a power cut left of something that never happened."""
    return path.name.startswith(_DRAFT) and path.name.endswith(_NEW)


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
