"""ROM's first lines: nothing is imported that was not measured before.

The mask holds, beside ROM's own code, the digests of the interpreter, of the system's libraries below it, and of each
package that ROM imports: it cannot change, and they cannot either. Packages are measured before the first of them is
imported, by the standard library alone; what is running already, meanwhile by a child, and ROM waits for that before it
believes anything in flash. Nothing can be encoded yet when a package is refused: so the refusal lies in the mask, too.
"""

from __future__ import annotations

import os
import pkgutil
import socket
import sys
from contextlib import suppress
from typing import NamedTuple, NoReturn

from boot import platform
from boot.refusal import Refused
from ipc_schemas import interpreter

#: Beside this module: a line for each part, with its name, its digest, and the note that refuses another, in hex.
PINS_FILE = "mask.pins"
#: In that note, where the digest that was found comes, or as many letters for none.
FOUND, NOTHING = "f" * 16, "nothing readable"
EXIT_SAFE_STATE = 3


class Pin(NamedTuple):
    """One part of the platform that ROM was made with."""

    part: str
    digest: bytes
    refusal: bytes


def main() -> NoReturn:
    """Become ROM. ``argv``: the folder of packages, what is needed before the handover can be read, its descriptor, and
    what the device is to be. What is needed: the descriptor to whoever switched the device on and, where an experiment
    leaves that wall out, ``,platform`` behind it.
    """
    _, packages, needed, _, _ = sys.argv
    control, *left_out = needed.split(",")
    pins = {pin.part: pin for pin in read_pins(pkgutil.get_data("boot", PINS_FILE) or b"")}
    running = platform.Begun(filter(platform.is_running, pins), packages)
    found: dict[str, platform.Look] = {}
    for part, pin in pins.items():
        if platform.is_running(part):
            continue
        try:
            found[part] = platform.look(part, packages)
            if "platform" not in left_out:
                platform.require(part, found[part].digest, pin.digest)
        except Refused:
            running.abandon()
            _refuse(pin, found[part].digest if part in found else b"", int(control))
    interpreter.find_only(packages, found)
    from boot import rom

    rom.main(found, running, {part: pin.digest for part, pin in pins.items()})


def read_pins(content: bytes) -> list[Pin]:
    """What lies in the mask."""
    rows = (line.split() for line in content.decode("ascii").splitlines())
    return [Pin(part, bytes.fromhex(digest), bytes.fromhex(refusal)) for part, digest, refusal in rows]


def _refuse(pin: Pin, found: bytes, control: int) -> NoReturn:
    """The device stays in its safe state."""
    said = found.hex()[: len(FOUND)] or NOTHING
    with suppress(OSError), socket.socket(fileno=os.dup(control)) as link:
        link.send(pin.refusal.replace(FOUND.encode(), said.encode()), socket.MSG_DONTWAIT)
    sys.exit(EXIT_SAFE_STATE)
