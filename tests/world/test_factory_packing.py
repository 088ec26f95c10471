"""What goes into an image: a folder whole, no way out of it, and under ``lib/`` nothing but ours."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from world.factory import packing
from world.factory.packing import ImageError, read_folder


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


def test_a_gates_image_holds_no_monitor_and_a_partitions_no_gate() -> None:
    gate, cell = packing.gate_files(), packing.cell_files()
    assert {name for name in gate if "monitor" in name and name.endswith(".py")} == {
        "lib/monitor/__init__.py", "lib/monitor/gate.py", "lib/monitor/judge.py",
    }  # fmt: skip
    assert not [name for name in cell if "monitor" in name or "sandbox" in name]
    assert "lib/partitions/sdk/runner.py" in cell


def test_only_our_own_files_are_compiled_ahead_and_as_python_would(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def (")  # the author's to find out, not the monitor's
    files = {"lib/room/answer.py": b"ANSWER = 42\n", "app/main.py": b"def (", "lib/note.txt": b"no code"}
    whole = packing.with_compiled(files)
    assert whole.keys() - files.keys() == {importlib.util.cache_from_source("lib/room/answer.py")}
    for name, content in whole.items():
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
        packing.partition_files(tmp_path, {name: b"x"})
    assert packing.partition_files(tmp_path, {"a/..b/.c": b"x"})


def test_extra_files_replace_those_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("old")
    found = packing.partition_files(tmp_path, {"main.py": b"new", "implant.py": b"x"})
    assert found == {"main.py": b"new", "implant.py": b"x"}


@pytest.mark.parametrize("name", [b"e\x1b[31m.py", b"two\nlines.py", b"\xff.py"])
def test_a_file_name_that_does_not_print_is_refused_and_shown_harmlessly(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(ImageError, match="do not print") as refused:
        read_folder(tmp_path)
    assert str(refused.value).isprintable()
