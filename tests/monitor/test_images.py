"""Images: one digest over names and contents, sealed bytes that nobody changes, started only if unchanged."""

from __future__ import annotations

import mmap
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_schemas import codec, links
from monitor.images import Image, ImageChanged, digest_of, sealed_file

files = st.dictionaries(st.text("ab/.", min_size=1, max_size=4), st.binary(max_size=6), max_size=4)


@given(files, files)
def test_two_images_have_one_digest_only_if_they_are_the_same(
    one: dict[str, bytes], two: dict[str, bytes]
) -> None:
    assert (digest_of(one) == digest_of(two)) == (one == two)


@given(files)
def test_the_order_of_files_does_not_matter(found: dict[str, bytes]) -> None:
    assert digest_of(dict(reversed(found.items()))) == digest_of(found)


def test_bytes_cannot_move_between_names_and_contents() -> None:
    assert digest_of({"a": b"b", "c": b""}) != digest_of({"a": b"", "bc": b""})
    assert digest_of({"ab": b"c"}) != digest_of({"a": b"bc"})


def sealed() -> int:
    """A sealed image of one file."""
    content = {"app/main.py": b"pass\n"}
    return sealed_file(Image(content, digest_of(content)), "program", "main:Main", b"config")


def test_a_sealed_file_holds_the_payload_and_nobody_changes_it() -> None:
    descriptor = sealed()
    size = os.fstat(descriptor).st_size
    payload = codec.Codec(links.Payload).decode(os.pread(descriptor, size, 0))
    assert (payload.image, payload.program, payload.config) == (
        {"app/main.py": b"pass\n"},
        "program",
        b"config",
    )
    for change in (
        lambda: os.pwrite(descriptor, b"x", 0),
        lambda: os.ftruncate(descriptor, 0),
        lambda: os.ftruncate(descriptor, size + 1),
        lambda: mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_WRITE | mmap.PROT_READ),
        lambda: os.pwrite(os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR), b"x", 0),
    ):
        with pytest.raises(OSError, match=r"not permitted|Permission"):
            change()
    assert os.pread(descriptor, size, 0) == codec.encode(payload)
    os.close(descriptor)


def test_an_image_that_changed_since_boot_is_not_started() -> None:
    image = Image({"app/main.py": b"pass\n"}, digest_of({"app/main.py": b"pass\n"}))
    image.files["app/main.py"] = b"evil\n"
    with pytest.raises(ImageChanged, match="no longer has the digest"):
        sealed_file(image, "program", "main:Main", b"")
