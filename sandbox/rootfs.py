"""An empty read-only root file system with only what a process needs.

The root is a fresh tmpfs in the process's own mount namespace. Into it come: the image (written from the
verified bytes, not linked to the disk), the interpreter's standard library and the named packages (bind
mounts, read-only, at the paths the running interpreter already knows), ``/dev/null``, the channel directory,
and a bounded scratch tmpfs where the design grants one. Then the old root is detached and the new one made
read-only.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

import msgspec

from ipc_schemas import interpreter
from sandbox import linux

IMAGE_DIR = "/image"
CHANNEL_DIR = "/channel"
SCRATCH_DIR = "/scratch"
_READ_ONLY = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
ROOT_BYTES_MAX = 16 << 20
#: Folders of the standard library that are covered: no device needs them, and nobody has measured them.
HIDDEN = interpreter.LIBRARY_LEFT_OUT


class PackageMissing(Exception):
    """A package that the design names is not installed."""


def packages_folder() -> str:
    """Where packages are installed."""
    return str(Path(msgspec.__file__).parent.parent)


@cache
def package_paths(packages: tuple[str, ...]) -> tuple[str, ...]:
    """The folders and single files that hold the named top-level packages. Raises ``PackageMissing``."""
    paths: list[str] = []
    for name in packages:
        # Not only those that this very process finds: a partition has some of its own.
        spec = PathFinder.find_spec(name, [packages_folder()])
        if spec is None or spec.origin is None:
            raise PackageMissing(
                f"package {name!r} is not installed; install it, or take it out of device.toml"
            )
        origin = Path(spec.origin)
        paths.append(str(origin.parent if spec.submodule_search_locations else origin))
    return tuple(dict.fromkeys(paths))


@cache
def interpreter_paths() -> tuple[str, ...]:
    """The folders of the standard library (some of their own folders are covered, see ``HIDDEN``)."""
    stdlib = sysconfig.get_path("stdlib")
    dynload = [p for p in sys.path if p.endswith("lib-dynload") and not p.startswith(stdlib)]
    return (stdlib, *dynload)


@cache
def hidden_in(folder: str) -> tuple[str, ...]:
    """The folders below a folder of the interpreter's that nobody sees."""
    return tuple(f"{folder}/{name}" for name in HIDDEN if os.path.isdir(f"{folder}/{name}"))


def build(staging: str, image: dict[str, bytes], packages: tuple[str, ...]) -> None:
    """Build the root under ``staging``, an existing empty folder. Needs a mount namespace of its own."""
    linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    linux.mount(
        "tmpfs", staging, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, f"size={ROOT_BYTES_MAX},mode=755"
    )
    write_image(staging + IMAGE_DIR, image)
    _device_null(staging)
    for path in interpreter_paths():
        bind(path, staging + path)
        for hidden in hidden_in(path):
            linux.mount("tmpfs", staging + hidden, "tmpfs", _READ_ONLY, "size=4k,mode=755")
    for path in package_paths(packages):
        _bind_over(path, staging + path)


def _device_null(staging: str) -> None:
    os.makedirs(f"{staging}/dev", exist_ok=True)
    os.close(os.open(f"{staging}/dev/null", os.O_CREAT | os.O_WRONLY, 0o666))
    linux.mount("/dev/null", f"{staging}/dev/null", "", linux.MS_BIND)


def write_image(folder: str, image: dict[str, bytes]) -> None:
    """Write the image's files below ``folder``. Names come from our own packer and hold no ``..``."""
    os.makedirs(folder, mode=0o755, exist_ok=True)
    for name, content in image.items():
        path = f"{folder}/{name}"
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "wb") as out:
            out.write(content)


def bind(source: str, target: str) -> None:
    """Show ``source``, a folder or a file, read-only at ``target``."""
    if os.path.isdir(source):
        os.makedirs(target, mode=0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    linux.mount(source, target, "", linux.MS_BIND)
    # Inside a user namespace the kernel refuses a remount that would allow programs where the host does not.
    noexec = linux.MS_NOEXEC if os.statvfs(source).f_flag & os.ST_NOEXEC else 0
    linux.mount("", target, "", linux.MS_BIND | linux.MS_REMOUNT | _READ_ONLY | noexec)


def _bind_over(source: str, target: str) -> None:
    """As ``bind``, where the target may lie inside a folder that was mounted read-only before."""
    try:
        bind(source, target)
    except OSError:
        parent = os.path.dirname(target)
        linux.mount("", parent, "", linux.MS_REMOUNT | linux.MS_NOSUID | linux.MS_NODEV, "size=4k,mode=755")
        bind(source, target)
        linux.mount("", parent, "", linux.MS_REMOUNT | _READ_ONLY, "size=4k,mode=755")


def add_channel(staging: str, channel: str, *, writable: bool) -> None:
    """Bind the channel directory; a gate may create its socket there, a partition may not create anything."""
    target = staging + CHANNEL_DIR
    os.makedirs(target, mode=0o755, exist_ok=True)
    linux.mount(channel, target, "", linux.MS_BIND)
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC | (0 if writable else linux.MS_RDONLY)
    linux.mount("", target, "", linux.MS_BIND | linux.MS_REMOUNT | flags)


def add_scratch(staging: str, bytes_max: int, owner_id: int) -> None:
    """A writable tmpfs of bounded size and number of files, from which nothing can be executed."""
    target = staging + SCRATCH_DIR
    os.makedirs(target, mode=0o755, exist_ok=True)
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    options = f"size={bytes_max},nr_inodes=256,mode=700,uid={owner_id},gid={owner_id}"
    linux.mount("tmpfs", target, "tmpfs", flags, options)


def add_host_procfs(staging: str) -> None:
    """Show the host's procfs: what an experiment gets that leaves out the ``procfs`` wall."""
    os.makedirs(f"{staging}/proc", mode=0o755, exist_ok=True)
    linux.mount("/proc", f"{staging}/proc", "", linux.MS_BIND | linux.MS_REC)


def enter(staging: str) -> None:
    """Make ``staging`` the root, detach the old one, and make the new one read-only."""
    os.chdir(staging)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")
    linux.mount("", "/", "", linux.MS_BIND | linux.MS_REMOUNT | _READ_ONLY)
