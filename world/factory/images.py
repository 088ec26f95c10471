"""Builds the images of a release from the sources: the same sources give the same bytes.

A stage is a zip archive of compiled modules, stored, in order, all of one time. Code is marshalled in version 2, which
keeps no count of references, so that it does not matter what else the building process has in memory. The names in it
are relative to Bulkhead's folder. All other images hold sources as they are.
"""

from __future__ import annotations

import importlib.util
import io
import marshal
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from msgspec import to_builtins

from boot import image, mask
from boot.refusal import Refused
from boot.stage import refusal_of
from ipc_schemas import codec, links

ROOT = Path(__file__).resolve().parent.parent.parent
#: The rooms in each stage's image, or single modules of them.
STAGES: Mapping[str, tuple[str, ...]] = {
    "rom": ("boot", "ipc_schemas"),
    "bootloader": ("boot", "ipc_schemas"),
    "monitor": ("boot", "ipc_schemas", "sandbox", "monitor"),
}
#: A stage lives for a moment, and what it imports stays: there is nothing for the collector of cycles. Packages come
#: last, behind the image and the standard library, and only those whose names the stage before has handed on.
_START = """import gc, sys

gc.disable()
from ipc_schemas import interpreter

interpreter.find_only(sys.argv[1], sys.argv[2].split(","))
from {program} import main

main()
"""
#: ROM is the first: nobody has handed it anything.
_START_OF_ROM = """import gc

gc.disable()
from boot.mask import main

main()
"""
_MADE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def rom(pins: Iterable[tuple[str, bytes]]) -> bytes:
    """The image of ROM, made for these parts of the platform, each with its digest."""
    lines = []
    for part, digest in pins:
        refused = Refused(
            "platform",
            f"{part} has the digest {mask.FOUND}, and ROM was made with {digest.hex()[:16]}",
            "put back the platform that this device was made with",
        )
        said = to_builtins(refusal_of("rom", refused))
        note = codec.encode(links.Note(0, "safe_state", "", str(refused), said))
        lines.append(f"{part} {digest.hex()} {note.hex()}\n")
    return _stage("rom", _START_OF_ROM, {f"boot/{mask.PINS_FILE}": "".join(lines).encode()})


def stage(name: str, program: str, more: Mapping[str, bytes] | None = None) -> bytes:
    """The image of a later stage, which runs ``program``'s ``main``. ``more`` are files that it reads, by name."""
    return _stage(name, _START.format(program=program), more or {})


def _stage(name: str, start: str, more: Mapping[str, bytes]) -> bytes:
    files = {"__main__.pyc": compiled("__main__.py", start.encode())}
    for source in _sources(STAGES[name]):
        relative = source.relative_to(ROOT)
        files[relative.with_suffix(".pyc").as_posix()] = compiled(relative.as_posix(), source.read_bytes())
    return archive({**files, **more})


def _sources(rooms: Iterable[str]) -> list[Path]:
    found = []
    for room in rooms:
        path = ROOT / room
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return [path for path in found if "__pycache__" not in path.parts]


@cache
def compiled(name: str, source: bytes) -> bytes:
    """What Python caches of a source file (PEP 552, by hash, unchecked), with ``name`` as where it came from."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    return head + marshal.dumps(code, 2)


def archive(files: Mapping[str, bytes]) -> bytes:
    """A zip archive of these files that depends on nothing else."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as whole:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _MADE)
            entry.external_attr, entry.create_system = _MODE, 3
            whole.writestr(entry, files[name])
    return out.getvalue()


def packed(files: Mapping[str, bytes]) -> bytes:
    """The image of these files. Raises ``boot.refusal.Refused``."""
    return image.pack(dict(files))
