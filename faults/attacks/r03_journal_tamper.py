"""R03: reach for the journal's own file, and change what it says."""

from __future__ import annotations

import os

from faults.attack import Attack, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.implant.foothold import Foothold, gate_socket
from faults.seen import Observations

JOURNAL = "journal.bhj"
#: Written over what stands there, or behind it.
_FORGERY = b"nothing happened"


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """In the folder of this run, by way of its own channel's: ``how`` "overwrite" (usual) forges bytes in the middle,
    "truncate" takes the second half away, "append" adds what is no record.
    """
    channel = os.path.dirname(gate_socket(foothold, "own"))
    path = os.path.join(channel, "..", "..", JOURNAL)
    how = str(parameters.get("how", "overwrite"))
    file = os.open(path, os.O_WRONLY | (os.O_APPEND if how == "append" else 0))
    try:
        size = os.fstat(file).st_size
        if how == "truncate":
            os.ftruncate(file, size // 2)
        elif how == "append":
            os.write(file, _FORGERY)
        else:
            os.pwrite(file, _FORGERY, size // 2)
    finally:
        os.close(file)
    return {"journal_bytes": size}


def effect(seen: Observations, _injection: Injection) -> Effect:
    """The journal does not hold, or is not the one that the monitor wrote."""
    if seen.journal_problem is None:
        raise CannotTell("nobody has read the journal")
    if seen.journal_problem:
        what = os.path.basename(seen.journal_problem)
        return Effect(True, f"The journal is not the one that the monitor wrote ({what}).")
    return Effect(False, "The journal holds, and ends with the chain value that the monitor told.")


ATTACK = Attack(
    "R03",
    "It looks for the journal's file, to change what has been written about it.",
    effect,
    inject,
    parameters={"how": OneOf(("append", "truncate", "overwrite"))},
    walls=("mntns", "landlock", "uid", "seccomp"),
)
