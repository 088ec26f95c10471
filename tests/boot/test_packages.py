"""A package that nobody measured does not run, in no stage; each time beside the control in which it does."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from boot import platform
from boot.refusal import Refused
from ipc_schemas import interpreter
from ipc_schemas.release import Handover
from tests.boot import chains
from tests.boot.chains import Device, Outcome
from world import power
from world.factory import images, platforms
from world.factory.development import Factory, now_utc

#: Asked for by the standard library's own ``copy``, which almost everything imports.
ASKED_FOR = "org/python/core.py"
_STAGES = {"boot.mask": "rom", "boot.bootloader": "bootloader", "probe": "monitor"}
_NOTE = f"""
import sys
with open(MARK, "a") as mark:
    mark.write("".join(stage + chr(10) for name, stage in {_STAGES!r}.items() if name in sys.modules))
PyStringMap = None
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The device's folder of packages: those that there are, and whatever is put beside them."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for path in Path(power.packages_folder()).iterdir():
        (folder / path.name).symlink_to(path)
    monkeypatch.setattr(power, "packages_folder", lambda: str(folder))
    return folder


def _note_in(path: Path, mark: Path) -> None:
    """Have a module write down in which stage it runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"MARK = {str(mark)!r}\n{_NOTE}")


def _own_copy(packages: Path, name: str) -> Path:
    """A package of this folder that may be changed."""
    link = packages / name
    whole = link.resolve()
    link.unlink()
    shutil.copytree(whole, link)
    return link


def _started(
    folder: Path, without: frozenset[str] = frozenset(), lacking: str = "/", **otherwise: bytes
) -> Outcome:
    """A start up to a monitor that imports ``copy``, too. All images are built here and now.

    ``otherwise``: ROM was made with another digest of a part; or without a part that has ``lacking`` in its name.
    """
    factory = Factory(now_utc())
    pins = dict(platforms.pinned(platforms.parts().boot)) | otherwise
    pins = {part: digest for part, digest in pins.items() if lacking == "/" or lacking not in part}
    device = Device(Path(tempfile.mkdtemp(dir=folder)), factory, images.rom(sorted(pins.items())))
    bootloader = images.stage("bootloader", "boot.bootloader")
    factory.write_release(device.flash, "a", chains.parts(chains.probe("import copy"), bootloader))
    return device.start(without)


def test_a_package_that_the_library_looks_for_and_nobody_measured_does_not_run(
    packages: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    _note_in(packages / ASKED_FOR, mark)
    assert _started(tmp_path).reached
    assert not mark.exists()


@pytest.mark.parametrize("stage", ["rom", "bootloader", "monitor"])
def test_it_would_run_in_any_stage_that_has_the_folder_on_its_path(
    stage: str, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    _note_in(packages / ASKED_FOR, mark)
    opened = "import sys\nsys.path.append(sys.argv[1])\n"
    if stage == "rom":
        monkeypatch.setattr(images, "_START_OF_ROM", opened + images._START_OF_ROM)
        assert _started(tmp_path).reached
        assert mark.read_text().split() == ["rom"]
    else:
        monkeypatch.setattr(images, "_START", opened + images._START)
        assert _started(tmp_path).reached
        assert stage in mark.read_text().split()


# --- what ROM imports is measured before ---


def _lying(packages: Path, mark: Path) -> Path:
    """Code in front of a package that ROM imports, which could say of itself whatever it likes."""
    first = _own_copy(packages, "msgspec") / "__init__.py"
    code = first.read_text()
    _note_in(first, mark)
    first.write_text(first.read_text() + code)
    return first


def test_a_changed_package_is_refused_before_one_line_of_it_has_run(packages: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    _lying(packages, mark)
    outcome = _started(tmp_path)
    assert not mark.exists()
    assert outcome.status == 3
    (note,) = outcome.notes
    assert note.kind == "safe_state"
    assert (note.facts["stage"], note.facts["rule"]) == ("rom", "platform")
    digests = (platform.measure("msgspec", str(packages)), dict(platforms.pinned(["msgspec"]))["msgspec"])
    found, wanted = (digest.hex()[:16] for digest in digests)
    assert note.text.startswith(f"msgspec has the digest {found}, and ROM was made with {wanted}; put back")


def test_the_same_package_runs_with_the_wall_left_out(packages: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    _lying(packages, mark)
    assert _started(tmp_path, frozenset({"platform"})).reached
    assert set(mark.read_text().split()) == {"rom", "bootloader", "monitor"}


def test_a_package_that_is_gone_is_refused_with_the_wall_left_out_too(packages: Path, tmp_path: Path) -> None:
    (packages / "typing_extensions.py").unlink()
    (packages / "__pycache__").unlink()
    for without in (frozenset[str](), frozenset({"platform"})):
        outcome = _started(tmp_path, without)
        assert outcome.status == 3
        (note,) = outcome.notes
        assert note.text.startswith(
            "typing_extensions has the digest nothing readable, and ROM was made with"
        )


def test_another_interpreter_than_roms_own_is_refused_before_anything_in_flash_is_believed(
    tmp_path: Path,
) -> None:
    outcome = _started(tmp_path, python=bytes(32))
    assert outcome.status == 3
    assert [note.kind for note in outcome.notes] == ["stage", "safe_state"]
    assert outcome.notes[1].facts["rule"] == "platform"
    assert _started(tmp_path, frozenset({"platform"}), python=bytes(32)).reached


def test_who_starts_rom_cannot_have_it_skip_the_check_and_not_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before ROM can read what it is handed, it goes by its arguments; afterwards both have to say the same."""
    monkeypatch.setattr(power, "Handover", lambda *given: Handover(*given[:5]))
    outcome = _started(tmp_path, frozenset({"platform"}), msgspec=bytes(32))
    assert outcome.status == 3
    assert outcome.notes[-1].facts["rule"] == "platform"


# --- libraries of the system ---


def test_a_library_that_rom_was_not_made_with_is_not_in_its_memory(tmp_path: Path) -> None:
    outcome = _started(tmp_path, lacking="/libcrypto")
    assert outcome.status == 3
    assert outcome.notes[-1].facts["rule"] == "platform"
    assert "/libcrypto" in outcome.notes[-1].text
    assert "is mapped into a process of the device, and nobody has measured it" in outcome.notes[-1].text
    assert _started(tmp_path, frozenset({"platform"}), lacking="/libcrypto").reached


def test_a_library_that_only_the_bootloader_loads_is_seen_by_the_bootloader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_START", "import sqlite3\n" + images._START)
    outcome = _started(tmp_path)
    assert outcome.refused == ["platform"]
    assert outcome.of_kind("boot_refused")[0].facts["stage"] == "bootloader"
    assert "sqlite3" in outcome.of_kind("boot_refused")[0].text
    assert _started(tmp_path, frozenset({"platform"})).reached


def test_a_changed_library_of_the_system_is_another(tmp_path: Path) -> None:
    library = tmp_path / "libtoy.so.1"
    library.write_bytes(b"one")
    before = platform.measure(str(library), "/nowhere")
    assert platform.measure(str(library), "/nowhere") == before
    library.write_bytes(b"two")
    assert platform.measure(str(library), "/nowhere") != before
    library.unlink()
    with pytest.raises(Refused, match=r"libtoy\.so\.1 cannot be read"):
        platform.measure(str(library), "/nowhere")


def test_what_is_mapped_is_either_measured_or_named() -> None:
    packages = power.packages_folder()
    everything = platform.unmeasured("self", [], packages)
    named = platform.unmeasured("self", ["python", "msgspec"], packages)
    assert any("/msgspec/" in path for path in everything)
    assert not any("/msgspec/" in path or "/lib-dynload/" in path for path in named)
    assert platform.unmeasured("self", ["python", "msgspec", *named], packages) == []


def test_all_code_of_a_part_that_is_mapped_here_is_in_its_digest() -> None:
    """Among it the interpreter's own library, and those that a package brings along beside itself."""
    import zmq  # noqa: F401

    packages = power.packages_folder()
    parts = ["python", "zmq", "msgspec", "cryptography", "_cffi_backend"]
    mapped = set(platform.unmeasured("self", [], packages)) - set(
        platform.unmeasured("self", parts, packages)
    )
    measured = {os.path.realpath(path) for part in parts for _, path in platform._files(part, packages)}
    assert mapped <= measured
    assert any("libzmq" in path for path in mapped)


def test_a_package_that_is_missing_here_is_named_before_any_device_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platforms, "_MONITOR", platforms._BOOT)
    with pytest.raises(
        Refused, match=r"cannot be loaded here \(ModuleNotFoundError: No module named 'zmq'\)"
    ):
        platforms.parts.__wrapped__()


# --- the finder ---


def test_only_packages_that_were_named_are_found_and_only_at_the_top(tmp_path: Path) -> None:
    for name in ("named", "other", "python"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    finder = interpreter.Packages(str(tmp_path), ["named", "missing", "python", "libc.so.6", ""])
    found = finder.find_spec("named")
    assert found is not None
    assert found.origin == str(tmp_path / "named/__init__.py")
    assert finder.find_spec("other") is None
    assert finder.find_spec("missing") is None
    assert finder.find_spec("named", [str(tmp_path)]) is None
    assert finder.find_spec("python") is None, "the interpreter's digest is of no package"


def test_what_was_found_before_is_not_found_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = list(sys.meta_path)
    for name in ("one", "other"):
        (tmp_path / f"{name}.py").touch()
        interpreter.find_only(str(tmp_path), [name])
    assert sys.meta_path[:-1] == before
    assert [importlib.util.find_spec(name) is None for name in ("one", "other")] == [True, False]
