"""The journal: append-only, hash-chained, one record per frame.

File format: the magic ``BHJ1``, then records of a 4-byte big-endian length, a MessagePack payload and a 32-byte
chain value, SHA-256(previous chain value + payload). The first record is the header, the last an end record. A
record is in the kernel's hands before the next frame starts, so killing the monitor loses no finished frame.
Nothing of the wall clock or the host goes in: two runs of one (design, seed, faults) have the same last value.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from ipc_schemas import codec

MAGIC = b"BHJ1"
FORMAT = 2
GENESIS = hashlib.sha256(MAGIC).digest()
RECORD_BYTES_MAX = 1 << 28
FILE_BYTES_MAX = 1 << 32
_CHAIN_BYTES = 32


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class Header(_Record, frozen=True, tag="header"):
    """What was switched on. ``accepts`` are the rules that the design breaks by its own word."""

    format: int
    design: str
    design_digest: str
    frames: int
    without: tuple[str, ...]  # walls, or ``partition.wall`` for one that a partition lacks by its design
    images: dict[str, str]  # partition -> SHA-256 of its image
    ports: tuple[tuple[int, str], ...]  # number and "partition.port"
    accepts: tuple[str, ...] = ()


class Admitted(_Record, frozen=True):
    """Messages that became visible to their readers in the next frame, and whose channel they came over."""

    sender: str
    port: int
    count: int
    messages: bytes


class Exhibit(_Record, frozen=True):
    """A refused message as it came, header included, and how many of its port the gate had admitted before it."""

    place: int
    message: bytes


class Refusal(_Record, frozen=True):
    """Messages refused by a gate. ``exhibits`` are those of them that were kept; journals of format 1 have none."""

    partition: str
    port: int
    event: str
    reason: str
    detail: str
    count: int
    exhibits: tuple[Exhibit, ...] = ()


class Ruling(_Record, frozen=True):
    """What the health table made of an event."""

    partition: str
    event: str
    action: str
    reason: str


class Life(_Record, frozen=True):
    """A life of a partition began or ended (``what``)."""

    partition: str
    epoch: int
    what: str


class Frame(_Record, frozen=True, tag="frame"):
    """All that happened in one frame."""

    frame: int
    admitted: tuple[Admitted, ...]
    refusals: tuple[Refusal, ...]
    rulings: tuple[Ruling, ...]
    lives: tuple[Life, ...]


class End(_Record, frozen=True, tag="end"):
    """The run ended, with the frames it did and why it stopped."""

    frames: int
    why: str


Entry = Header | Frame | End
_READER: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)


class JournalLost(Exception):
    """The journal could not be written (for example because the disk is full)."""


class JournalBroken(Exception):
    """A journal whose chain does not hold: the sentence names the record, ``held`` are those before it."""

    def __init__(self, sentence: str, held: tuple[Entry, ...] = ()) -> None:
        super().__init__(sentence)
        self.held = held


class NotAJournal(JournalBroken):
    """Another kind of file: there is nothing in it that could hold or break."""


class Writer:
    """Appends records. ``chain`` is the last chain value."""

    def __init__(self, path: Path) -> None:
        """Create the file. Raises ``JournalLost``."""
        self.chain = GENESIS
        self._path = path
        self._size = 0
        try:
            self._file = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            self._write(MAGIC)
        except OSError as error:
            raise JournalLost(f"{path}: {error.strerror}") from None

    def append(self, entry: Entry) -> None:
        """Add one record. Raises ``JournalLost``; what was written before stays readable."""
        payload = codec.encode(entry)
        chain = hashlib.sha256(self.chain + payload).digest()
        self._write(len(payload).to_bytes(4, "big") + payload + chain)
        self.chain = chain

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self._cut_back()
            raise JournalLost(f"{self._path}: {error.strerror}") from None
        self._size += len(data)

    def _cut_back(self) -> None:
        """Take half a record away: it would hide whatever can still be written after it."""
        with contextlib.suppress(
            OSError
        ):  # a file that cannot be shortened either is read up to the torn record
            os.ftruncate(self._file, self._size)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Reading(msgspec.Struct, frozen=True):
    """What ``read`` found: all whole records, the last chain value, and how many bytes of a torn record follow."""

    entries: tuple[Entry, ...]
    chain: Annotated[str, "hex"]
    torn_bytes: int

    @property
    def is_complete(self) -> bool:
        """Whether the run wrote its end record."""
        return bool(self.entries) and isinstance(self.entries[-1], End)


def read(path: Path) -> Reading:
    """Verify the chain and decode every record. Raises ``NotAJournal``, ``JournalBroken`` and ``OSError``."""
    is_bounded = path.is_file() and path.stat().st_size <= FILE_BYTES_MAX
    if path.exists() and not path.is_dir() and not is_bounded:
        raise NotAJournal(
            f"{path}: this is not a journal (no plain file of at most {FILE_BYTES_MAX >> 30} GiB)"
        )
    content = path.read_bytes()
    if content[:4] != MAGIC:
        raise NotAJournal(f"{path}: this is not a journal (it does not begin with {MAGIC.decode()})")
    entries: list[Entry] = []
    chain, position = GENESIS, 4
    for index, (payload, stored, end) in enumerate(_records(content)):
        chain = hashlib.sha256(chain + payload).digest()
        where = f"{path}: record {index} (byte {position})"
        if chain != stored:
            raise JournalBroken(f"{where} does not fit the chain: it was changed", tuple(entries))
        try:
            entries.append(_READER.decode(payload))
        except Exception as error:
            raise JournalBroken(f"{where} cannot be read: {error}", tuple(entries)) from None
        position = end
    if not entries or not isinstance(entries[0], Header):
        raise JournalBroken(f"{path}: the header record is missing")
    _check_order(path, entries)
    return Reading(tuple(entries), chain.hex(), len(content) - position)


def _check_order(path: Path, entries: list[Entry]) -> None:
    """One header, each frame in its turn, nothing behind the end, and as many frames as the end says.

    What an unfinished frame has brought is a record of its own, the last before the end: of the next frame, or, when
    the run stopped between two, of the last one once more.
    """
    frames = 0
    for index, entry in enumerate(entries[1:], 1):
        fits = not isinstance(entries[index - 1], End)
        match entry:
            case Header():
                fits = False
            case Frame():
                is_second = 0 < frames == entry.frame + 1
                fits = fits and (entry.frame == frames or is_second)
                frames = entry.frame + 1
            case End():
                fits = fits and entry.frames in (frames, frames - 1)
        if not fits:
            sentence = f"{path}: record {index} stands where no such record may stand"
            raise JournalBroken(sentence, tuple(entries[:index]))


def _records(content: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    position = 4
    while position + 4 <= len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        end = position + 4 + size + _CHAIN_BYTES
        if size > RECORD_BYTES_MAX or end > len(content):
            return
        yield content[position + 4 : position + 4 + size], content[end - _CHAIN_BYTES : end], end
        position = end
