"""An image is read once, into memory that nobody can change, and holds plain relative paths only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boot import image
from boot.refusal import Refused
from ipc_schemas import codec


def test_what_was_taken_stays_as_it_was_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "therapy.img"
    path.write_bytes(b"verified" * 1_000)
    file = image.taken(path, 100_000)
    path.write_bytes(b"swapped")
    assert file.content() == b"verified" * 1_000
    assert image.is_sealed(file.descriptor)
    for change in (
        lambda: os.write(file.descriptor, b"x"),
        lambda: os.ftruncate(file.descriptor, 1),
        lambda: os.truncate(f"/proc/self/fd/{file.descriptor}", 100_000),
        lambda: os.pwrite(os.open(f"/proc/self/fd/{file.descriptor}", os.O_RDWR), b"x", 0),
    ):
        with pytest.raises(OSError, match=r"not permitted|Permission denied"):
            change()
    assert file.content() == b"verified" * 1_000
    file.close()


def test_what_is_no_plain_file_of_bounded_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for name in ("link", "missing"):
        with pytest.raises(Refused, match=f"{name} cannot be read"):
            image.taken(tmp_path / name, 100)
    with pytest.raises(Refused, match="folder is no plain file"):
        image.taken(tmp_path / "folder", 100)
    with pytest.raises(Refused, match="real is longer than 4 bytes"):
        image.taken(tmp_path / "real", 4)
    with pytest.raises(Refused, match="pipe is no plain file"):
        image.taken(tmp_path / "pipe", 100)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../b", "a//b", "a/./b", "", ".", "a\n", "a\\b", "\u202eab", "a/"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="no plain path"):
        image.pack({name: b"", "app/main.py": b""})
    with pytest.raises(Refused, match="no plain path"):
        image.unpack(codec.encode(image.Packed({name: b""})))


@pytest.mark.parametrize(
    ("file", "beneath"), [("a", "a/b"), ("a/b.py", "a/b.py/c"), ("app", "app/x/y/z"), ("a", "a/b/c")]
)
def test_a_file_and_a_folder_of_one_name_are_refused(file: str, beneath: str) -> None:
    """Seen: admitted, and the partition could not be unpacked in its cell."""
    files = {file: b"", beneath: b"", "z": b""}
    with pytest.raises(
        Refused, match=f"holds a file called '{file}' and, as if it were a folder, '{beneath}'"
    ):
        image.pack(files)
    with pytest.raises(Refused, match="rename one of the two"):
        image.unpack(codec.encode(image.Packed(files)))
    assert image.pack({f"{file}x": b"", beneath: b""})


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,8}(\.d/[a-z_]{1,8}\.py)?\Z"), st.binary(max_size=40)))
def test_what_is_packed_comes_out_again_and_in_one_way_only(files: dict[str, bytes]) -> None:
    content = image.pack(files)
    assert image.unpack(content) == files
    assert image.pack(dict(reversed(files.items()))) == content


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        files = image.unpack(content)
    except Refused:
        return
    assert image.pack(files) == content
