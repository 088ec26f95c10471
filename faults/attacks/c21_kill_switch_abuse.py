"""C21: make the monitor kill an innocent, again and again, until its restart budget is spent."""

from __future__ import annotations

import os
import signal

from faults.attack import Attack, Between, Effect, Injection, OneOf, Parameters, Report
from faults.effects import innocent_ended
from faults.implant import messages, victim
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import codec

#: More would spend the attacker's own restart budget.
FRAMES_MAX = 5


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """One blow in each of ``for_frames`` windows. ``how``: with "gate" (usual) it kills the gate of ``victim``,
    whose monitor then ends the partition behind it; with "poison" it sends a request that its reader dies of.
    """
    if parameters.get("how", "gate") == "poison":
        minute = messages.minute_now(foothold)
        foothold.emit(
            messages.REQUEST, codec.encode(messages.request(minute, counter="none", expires_at_min={}))
        )
        return {"sent": 1}
    name = f"gate-{parameters.get('victim', 'therapy')}"[:15]
    search = victim.find(name, int(parameters.get("run_pid", 0)))
    if not search.pids:
        os.kill(os.getpid(), 0)  # harmless, and enough to trip a filter
        return victim.not_found(search)
    errors = []
    for pid in search.pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError as error:
            errors.append(str(error))
    return {"gates": len(search.pids), "errors": errors}


def effect(seen: Observations, injection: Injection) -> Effect:
    """The innocent lost lives, or all of them."""
    return innocent_ended(seen, injection)


ATTACK = Attack(
    "C21",
    "It tries to trick the monitor into killing the innocent therapy program, until it may not be started again.",
    effect,
    inject,
    parameters={"how": OneOf(("poison", "gate")), "for_frames": Between(1, FRAMES_MAX)},
    needs=("victim",),
    costs_a_restart=True,
    walls=("pidns", "procfs", "uid", "seccomp", "landlock", "schema", "recheck"),
    shows_within_frames=FRAMES_MAX + 2,
)
