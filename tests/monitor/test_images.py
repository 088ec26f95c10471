"""Images: one digest over names and contents, sealed bytes that nobody changes, no way out of the folder."""

from __future__ import annotations

import importlib.util
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_schemas import codec, links
from monitor import images
from monitor.images import Image, ImageChanged, ImageError, digest_of, read_folder, sealed_file

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


def test_a_folder_is_read_whole_but_for_caches(tmp_path: Path) -> None:
    (tmp_path / "sub/__pycache__").mkdir(parents=True)
    (tmp_path / "main.py").write_text("x = 1\n")
    (tmp_path / "sub/more.py").write_text("y = 2\n")
    (tmp_path / "sub/__pycache__/more.pyc").write_bytes(b"stale")
    assert read_folder(tmp_path) == {"main.py": b"x = 1\n", "sub/more.py": b"y = 2\n"}


@pytest.mark.parametrize("target", ["/etc/passwd", "main.py", "nowhere"])
def test_a_link_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "main.py").touch()
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(ImageError, match="an image may not contain links"):
        read_folder(tmp_path)


def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image/more").symlink_to("/usr/lib")
    with pytest.raises(ImageError, match="an image may not contain links"):
        read_folder(tmp_path / "image")


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ImageError, match="missing or empty"):
            read_folder(folder)


def test_too_large_an_image_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.bin").open("wb") as out:
        out.truncate(1 << 40)
    with pytest.raises(ImageError, match="larger than 8 MiB and 512 files"):
        read_folder(tmp_path)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    for number in range(513):
        (tmp_path / f"{number}.py").touch()
    with pytest.raises(ImageError, match="512 files"):
        read_folder(tmp_path)


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


def test_a_gates_image_holds_no_monitor_and_a_partitions_no_gate(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    shared = images.shared_files("ipc_schemas.insulin_pump", tmp_path)
    gate, partition = images.gate_image(shared), images.partition_image(tmp_path, {}, shared)
    assert {name for name in gate.files if "monitor" in name} == {
        "lib/monitor/__init__.py", "lib/monitor/gate.py", "lib/monitor/judge.py",
    }  # fmt: skip
    assert not [name for name in partition.files if "monitor" in name or "sandbox" in name]
    assert "lib/partitions/sdk/runner.py" in partition.files


def test_only_our_own_files_are_compiled_ahead_and_as_python_would(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def (")  # the author's to find out, not the monitor's
    files = {"lib/room/answer.py": b"ANSWER = 42\n", "app/main.py": b"def (", "lib/note.txt": b"no code"}
    ahead = images.compiled(Image(files, digest_of(files)))
    assert list(ahead) == [importlib.util.cache_from_source("lib/room/answer.py")]
    for name, content in (files | ahead).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    # A source that says otherwise shows that it is the compiled file that runs.
    (tmp_path / "lib/room/answer.py").write_text("ANSWER = 0\n")
    said = subprocess.run(
        [sys.executable, "-c", "import answer; print(answer.ANSWER)"],
        cwd=tmp_path / "lib/room", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "42\n"


@pytest.mark.parametrize("name", ["../x.py", "a/../../x.py", "a/..", "/etc/x", "a//x.py", "./x.py", "a/", ""])
def test_no_name_of_an_image_leads_out_of_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "main.py").touch()
    with pytest.raises(ImageError, match="is no plain path"):
        images.partition_image(tmp_path, {name: b"x"}, {})
    assert images.partition_image(tmp_path, {"a/..b/.c": b"x"}, {})


def test_extra_files_replace_those_of_the_folder_and_change_the_digest(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("old")
    plain = images.partition_image(tmp_path, {}, {})
    overlaid = images.partition_image(tmp_path, {"main.py": b"new", "implant.py": b"x"}, {})
    assert overlaid.files["app/main.py"] == b"new"
    assert "app/implant.py" in overlaid.files
    assert plain.digest != overlaid.digest


@pytest.mark.parametrize("name", [b"e\x1b[31m.py", b"two\nlines.py", b"\xff.py"])
def test_a_file_name_that_does_not_print_is_refused_and_shown_harmlessly(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(ImageError, match="do not print") as refused:
        read_folder(tmp_path)
    assert str(refused.value).isprintable()
