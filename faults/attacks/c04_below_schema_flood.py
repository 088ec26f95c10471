"""C04: the channel's own small change, pings by the million: work for the reader, and no message for any check."""

from __future__ import annotations

import time

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.implant.foothold import Foothold, raw_stream_fds
from faults.implant.stream import PING, write_all
from faults.seen import Observations, bound

FLOOD_S_MAX = 15.0
PINGS_MIN, PINGS_MAX = 3_000_000, 4_000_000
#: More processor time than a reader can use in a window of the reference design, which ends after one second.
READER_S_MAX = 1.25


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """Writes ``pings`` (3,500,000) straight into the connection; libzmq answers each, and nobody above it learns of it.

    The last one is whole, so that honest messages can follow.
    """
    pings = PING * min(int(parameters.get("pings", 3_500_000)), PINGS_MAX)
    until_s = time.monotonic() + FLOOD_S_MAX
    written, errors = 0, []
    for fd in raw_stream_fds():
        try:
            done = write_all(fd, pings, until_s)
            rest = -done % len(PING)
            written += done + write_all(fd, pings[len(pings) - rest :], until_s + 1.0)
        except OSError as error:
            errors.append(str(error))
    return {"written_bytes": written, "errors": errors}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The reader's processor time in a frame went beyond what it can use in a window."""
    limit = bound(injection, "reader_s_max", READER_S_MAX)
    most = max(peak.cpu_s for peak in seen.peaks_of(injection, seen.gate_label))
    if most > limit:
        return Effect(
            True, f"Its reader worked {most:.2f} s for nothing in one frame; {limit:.2f} s are the most."
        )
    return Effect(False, f"Its reader worked at most {most:.2f} s in a frame, within {limit:.2f} s.")


ATTACK = Attack(
    "C04",
    "It keeps the reader busy with millions of signals below any message, so that no check ever sees one.",
    effect,
    inject,
    parameters={"pings": Between(PINGS_MIN, PINGS_MAX)},
    costs_a_restart=True,
    walls=("window",),
)
