"""What this host's platform is, part by part: what images are built for, and what ROM is made with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from boot import platform
from boot.refusal import Refused
from ipc_schemas import interpreter
from world import power
from world.factory import images

#: What ROM and bootloader import beside what is ours. A package's own needs are named, too.
_BOOT = (platform.PYTHON, "OpenSSL", "_cffi_backend", "cryptography", "msgspec", "typing_extensions")
#: The same of the monitor, and of what it starts.
_MONITOR = (*_BOOT, "_cbor2", "cbor2", "pyseccomp", "zmq")
#: Loads what the stages load, one after the other, and tells of which libraries beside their parts code is mapped.
_LOADING = """
import sys
root, packages, names = sys.argv[1:]
sys.path.insert(0, root)
from ipc_schemas import interpreter
interpreter.find_only(packages, names.split(","))
from boot import platform

def tell():
    print(",".join(platform.unmeasured("self", names.split(","), packages)), flush=True)

from boot import bootloader, mask, rom
tell()
from monitor import nursery, power_on
from sandbox import template
template.warm_up()
tell()
"""


class Platforms(NamedTuple):
    """The parts of which the stages consist: names of packages, and paths of the system's libraries."""

    boot: tuple[str, ...]
    monitor: tuple[str, ...]


@cache
def parts() -> Platforms:
    """What ROM and bootloader stand on here, and what the monitor does, and all that it starts.

    Raises ``Refused`` (``platform``) when that cannot be loaded here.
    """
    arguments = [str(images.ROOT), power.packages_folder(), ",".join(_MONITOR)]
    told = subprocess.run(
        [sys.executable, *interpreter.FLAGS, "-c", _LOADING, *arguments],
        capture_output=True, text=True, check=False, cwd="/", env=interpreter.ENVIRONMENT,
    )  # fmt: skip
    if told.returncode != 0:
        why = (told.stderr.splitlines() or ["no word why"])[-1]
        sentence = f"what the boot stages need cannot be loaded here ({why})"
        raise Refused("platform", sentence, "install what the lock file names, and libseccomp")
    boot, monitor = (tuple(filter(None, line.split(","))) for line in told.stdout.splitlines())
    return Platforms((*_BOOT, *boot), (*_MONITOR, *monitor))


@cache
def _measured(part: str) -> bytes:
    return platform.measure(part, power.packages_folder())


@cache
def rom() -> bytes:
    """The image of ROM for this host."""
    return images.rom(pinned(parts().boot))


def pinned(names: Iterable[str]) -> tuple[tuple[str, bytes], ...]:
    """Each part with its digest on this host, in order."""
    return tuple((part, _measured(part)) for part in sorted(names))
