"""The journal: any change is found, a torn end is told, and what cannot be written stops the device."""

from __future__ import annotations

import hashlib
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import journal
from monitor.journal import (
    Admitted,
    End,
    Exhibit,
    Frame,
    Header,
    JournalBroken,
    JournalLost,
    Life,
    Refusal,
    Ruling,
    Writer,
)

HEADER = Header(1, "toy", "d" * 64, 9, ("seccomp",), {"a": "f" * 64}, ((1, "a.p"),))
FRAMES = [
    Frame(
        number,
        (Admitted("a", 1, 2, b"\x92\x01\x02"),),
        (Refusal("a", 1, "bad_message", "range", "too much", 3, (Exhibit(2, b"\xc1\x1b[2J"),)),),
        (Ruling("a", "bad_message", "restart", "because"),),
        (Life("a", number, "up"),),
    )
    for number in range(4)
]
ENTRIES: list[Any] = [HEADER, *FRAMES, End(4, "asked to stop")]


def written(folder: Path, entries: list[Any] = ENTRIES) -> Path:
    """A journal of these entries."""
    path = folder / "journal.bhj"
    path.unlink(missing_ok=True)
    writer = Writer(path)
    for entry in entries:
        writer.append(entry)
    writer.close()
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = journal.read(written(tmp_path))
    assert list(found.entries) == ENTRIES
    assert (found.torn_bytes, found.is_complete) == (0, True)


def test_a_journal_from_before_refused_messages_were_kept_is_read(tmp_path: Path) -> None:
    kept, bare = FRAMES[0].refusals[0], ["a", 1, "bad_message", "range", "too much", 3]
    old: list[Any] = [HEADER, ["frame", 0, [], [bare], [], []], End(1, "")]
    (row,) = journal.read(written(tmp_path, old)).entries[1].refusals  # type: ignore[union-attr]
    assert row == Refusal(kept.partition, kept.port, kept.event, kept.reason, kept.detail, kept.count, ())


def test_a_broken_journal_hands_out_what_stands_before_the_break(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    for at, held in ((len(content) - 1, 5), (len(content) // 2, 2), (10, 0)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(JournalBroken) as broken:
            journal.read(path)
        assert list(broken.value.held) == ENTRIES[:held]
    disordered = written(tmp_path, [HEADER, *FRAMES[:2], FRAMES[3]])
    with pytest.raises(JournalBroken) as broken:
        journal.read(disordered)
    assert list(broken.value.held) == [HEADER, *FRAMES[:2]]


def test_the_chain_is_what_the_format_says(tmp_path: Path) -> None:
    path = written(tmp_path)
    content, chain, position = path.read_bytes(), hashlib.sha256(b"BHJ1").digest(), 4
    while position < len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        payload = content[position + 4 : position + 4 + size]
        chain = hashlib.sha256(chain + payload).digest()
        assert content[position + 4 + size : position + 36 + size] == chain
        position += 36 + size
    assert journal.read(path).chain == chain.hex()
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_every_flipped_byte_is_found_or_ends_the_reading_with_bytes_left_over(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    for place in range(len(content)):
        for mask in (0x01, 0x80):
            path.write_bytes(content[:place] + bytes((content[place] ^ mask,)) + content[place + 1 :])
            try:
                found = journal.read(path)
            except JournalBroken:
                continue
            # A length made larger than the file cannot be told from a torn end: then nothing after it counts.
            assert found.torn_bytes > 0, place
            assert not found.is_complete
            assert list(found.entries) == ENTRIES[: len(found.entries)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_records_cannot_be_taken_out_swapped_or_doubled(tmp_path: Path, data: st.DataObject) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    records, position = [], 4
    while position < len(content):
        end = position + 36 + int.from_bytes(content[position : position + 4], "big")
        records.append(content[position:end])
        position = end
    order = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=8))
    path.write_bytes(content[:4] + b"".join(records[n] for n in order))
    if order == list(range(len(order))) and order:
        assert list(journal.read(path).entries) == ENTRIES[: len(order)]
        return
    with pytest.raises(JournalBroken):
        journal.read(path)


def test_a_torn_end_is_told_and_all_whole_records_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    whole = len(written(tmp_path, ENTRIES[:4]).read_bytes())
    following = len(written(tmp_path, ENTRIES[:5]).read_bytes())
    for length in range(whole, following):
        path.write_bytes(content[:length])
        found = journal.read(path)
        assert list(found.entries) == ENTRIES[:4]
        assert found.torn_bytes == length - whole
        assert not found.is_complete


@pytest.mark.parametrize("content", [b"", b"BHJ", b"BHJ2", b"BHJ1", b"BHJ1\0\0\0\0", bytes(99)])
def test_what_is_no_journal_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(JournalBroken, match=r"this is not a journal|the header record is missing"):
        journal.read(tmp_path / "x")


def test_a_record_that_fits_the_chain_but_no_shape_is_broken(tmp_path: Path) -> None:
    payload = b"\x93\xa5frame\x01\x02"
    chain = hashlib.sha256(journal.GENESIS + payload).digest()
    (tmp_path / "x").write_bytes(b"BHJ1" + len(payload).to_bytes(4, "big") + payload + chain)
    with pytest.raises(JournalBroken, match=r"record 0 \(byte 4\) cannot be read"):
        journal.read(tmp_path / "x")


def test_a_journal_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = path.read_bytes()
    with pytest.raises(JournalLost, match="File exists"):
        Writer(path)
    assert path.read_bytes() == before


def test_a_full_device_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this host has no /dev/full")
    writer = Writer.__new__(Writer)
    writer.chain, writer._path, writer._size = journal.GENESIS, Path("/dev/full"), 0
    writer._file = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(JournalLost, match="No space left on device"):
        writer.append(HEADER)
    assert writer.chain == journal.GENESIS
    writer.close()


@pytest.mark.parametrize("room_bytes", [0, 1, 4, 40, 100])
def test_half_a_record_is_taken_back_and_a_smaller_one_may_still_follow(
    tmp_path: Path, room_bytes: int
) -> None:
    path = tmp_path / "journal.bhj"
    writer = Writer(path)
    writer.append(HEADER)
    writer.append(FRAMES[0])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room_bytes, before[1]))
    try:
        with pytest.raises(JournalLost, match="File too large"):
            writer.append(FRAMES[1])
        if room_bytes >= 100:
            writer.append(End(1, "full"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    found = journal.read(path)
    assert list(found.entries[:2]) == [HEADER, FRAMES[0]]
    assert (found.torn_bytes, found.is_complete) == (0, room_bytes >= 100)
    assert found.chain == writer.chain.hex()


NUMBERED = [journal.Frame(number, (), (), (), ()) for number in (0, 1, 2)]
#: Each is wrong in one way only.
ORDERS: dict[str, list[journal.Entry]] = {
    "something behind the end": [HEADER, NUMBERED[0], journal.End(1, ""), NUMBERED[1]],
    "two ends": [HEADER, NUMBERED[0], journal.End(1, ""), journal.End(1, "")],
    "two headers": [HEADER, NUMBERED[0], HEADER, journal.End(1, "")],
    "frames go back": [HEADER, NUMBERED[0], NUMBERED[1], NUMBERED[0]],
    "a frame is missing": [HEADER, NUMBERED[0], NUMBERED[2], journal.End(3, "")],
    "a frame before the first": [HEADER, journal.Frame(-1, (), (), (), ()), journal.End(0, "")],
    "the end tells too many": [HEADER, NUMBERED[0], journal.End(2, "")],
    "the end tells too few": [HEADER, *NUMBERED, journal.End(1, "")],
}


def _written(path: Path, entries: list[journal.Entry]) -> Path:
    writer = journal.Writer(path)
    for entry in entries:
        writer.append(entry)
    writer.close()
    return path


@pytest.mark.parametrize("entries", ORDERS.values(), ids=list(ORDERS))
def test_a_chain_that_holds_over_records_in_an_impossible_order_is_broken(
    tmp_path: Path, entries: list[journal.Entry]
) -> None:
    with pytest.raises(journal.JournalBroken, match="stands where no such record may stand"):
        journal.read(_written(tmp_path / "j", entries))


def test_what_an_unfinished_frame_has_brought_may_stand_before_the_end(tmp_path: Path) -> None:
    for name, last in (("next", NUMBERED[1]), ("again", NUMBERED[0])):
        found = journal.read(_written(tmp_path / name, [HEADER, NUMBERED[0], last, journal.End(1, "why")]))
        assert found.is_complete


def test_a_journal_without_its_header_is_broken(tmp_path: Path) -> None:
    headless: tuple[list[journal.Entry], ...] = ([], [NUMBERED[0], journal.End(1, "")])
    for entries in headless:
        with pytest.raises(journal.JournalBroken, match="the header record is missing"):
            journal.read(_written(tmp_path / str(len(entries)), entries))


def test_a_record_or_a_file_beyond_its_bound_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _written(tmp_path / "j", [HEADER, *NUMBERED[:2], journal.End(2, "w" * 500)])
    monkeypatch.setattr(journal, "RECORD_BYTES_MAX", 400)
    assert journal.read(path).torn_bytes > 500
    monkeypatch.setattr(journal, "FILE_BYTES_MAX", path.stat().st_size - 1)
    with pytest.raises(journal.JournalBroken, match="this is not a journal"):
        journal.read(path)
