"""What this host's platform is, part by part: what images are built for, and what ROM is made with."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from boot import platform
from world import power
from world.factory import images

#: What ROM and bootloader import beside what is ours. A package's own needs are named, too.
BOOT = (platform.PYTHON, "OpenSSL", "_cffi_backend", "cryptography", "msgspec", "typing_extensions")
#: The same of the monitor, and of what it starts.
MONITOR = (*BOOT, "_cbor2", "cbor2", "pyseccomp", "zmq")


@cache
def _measured(part: str) -> bytes:
    return platform.measure(part, power.packages_folder())


def pinned(parts: Iterable[str]) -> tuple[tuple[str, bytes], ...]:
    """Each part with its digest on this host, in order."""
    return tuple((part, _measured(part)) for part in sorted(parts))


@cache
def rom() -> bytes:
    """The image of ROM for this host."""
    return images.rom(pinned(BOOT))
