"""R01: make the record of one frame so large that the journal fills the disk."""

from __future__ import annotations

from faults.attack import Attack, Between, CannotTell, Effect, Injection, Parameters, Report
from faults.effects import in_mib
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound
from ipc_schemas import codec
from ipc_schemas.insulin_pump import Upload

MESSAGES_MAX = 2_048
CHUNK_BYTES = 1_024
RECORD_BYTES_MAX = 65_536
#: Uploads of its own count from here, so that they never collide with honest ones.
_SEQUENCE = 0x5201_0000


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``count`` (1,024) uploads of 1 KiB in one window, each beyond reproach: all of them get written down."""
    count = min(int(parameters.get("count", 1_024)), MESSAGES_MAX)
    for number in range(count):
        foothold.emit(messages.UPLOAD, codec.encode(Upload(_SEQUENCE + number, b"\xa5" * CHUNK_BYTES)))
    return {"sent": count}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A frame took more of the journal than all honest traffic together could."""
    if seen.record_bytes is None:
        raise CannotTell("there is no journal whose records could be measured")
    limit = bound(injection, "record_bytes_max", RECORD_BYTES_MAX)
    sizes = [size for frame, size in seen.record_bytes.items() if injection.covers(frame)]
    largest = max(sizes, default=0)
    if largest > limit:
        return Effect(
            True, f"One frame took {in_mib(largest)} of the journal; {limit:.0f} bytes are the most."
        )
    if not sizes:
        raise CannotTell("the journal has no record of these frames")
    return Effect(False, f"No frame took more than {largest} bytes of the journal.")


ATTACK = Attack(
    "R01",
    "It sends more and more, so that writing all of it down fills the disk under the journal.",
    effect,
    inject,
    parameters={"count": Between(256, MESSAGES_MAX, by_factor=True)},
    needs=("journal",),
    costs_a_restart=True,
    walls=("rate", "recheck", "size"),
)
