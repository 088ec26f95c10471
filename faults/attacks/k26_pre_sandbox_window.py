"""K26: start a thread with the first line of code that is read, in the hope that the walls are not up yet."""

from __future__ import annotations

import contextlib
import socket
import threading

from faults.attack import Attack, Effect, Injection, Parameters, Report
from faults.effects import got_out
from faults.implant import bodies
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound

THREAD_S_MAX = 60.0
#: The interpreter's own, and the two of the messaging library.
THREADS_MAX = 3


class _Early:
    """The thread, which waits for its frame; ``note`` says why there is none."""

    def __init__(self) -> None:
        self.is_due = threading.Event()
        self.note = "never started"
        self.mark = b""


_early = _Early()


def at_start(parameters: Parameters) -> None:
    """As soon as the image is imported, before its first window: a thread that ends with the process, or by itself."""
    try:
        threading.Thread(target=_wait, args=(parameters,), name="early", daemon=True).start()
    except RuntimeError as error:
        _early.note = str(error)
    else:
        _early.note = ""


def _wait(parameters: Parameters) -> None:
    if not _early.is_due.wait(THREAD_S_MAX):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.sendto(_early.mark, ("127.0.0.1", int(parameters["collector_udp_port"])))


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """Lets the early thread try the network with whatever rights it has kept."""
    _early.mark = f"EGRESS K26 frame={foothold.window.frame} udp\n".encode()
    bodies.hold(parameters, 0.15)  # while it can be seen to be there
    _early.is_due.set()
    bodies.hold(parameters, 0.05)
    return {"note": _early.note}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A thread was seen that does not belong to the process, or its message arrived at the attacker's server."""
    limit = bound(injection, "threads_max", THREADS_MAX)
    most = max(peak.threads_max for peak in seen.peaks_of(injection, seen.attacker))
    if most > limit:
        return Effect(
            True, f"A thread that was started before the first window lived on: {most} in one process."
        )
    if seen.received is not None and got_out("K26")(seen, injection).succeeded:
        return Effect(
            True, "Code that was started before the first window sent a message to the attacker's server."
        )
    return Effect(False, "Nothing that was started before the first window lived on.")


ATTACK = Attack(
    "K26",
    "It starts a helper with its very first line of code, hoping that the walls are not up yet.",
    effect,
    inject,
    at_start=at_start,
    needs=("collector",),
    walls=("seccomp", "pidscg"),
)
