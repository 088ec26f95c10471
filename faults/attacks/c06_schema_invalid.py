"""C06: messages of the wrong shape."""

from __future__ import annotations

from faults.attack import Attack, OneOf, Parameters, Report
from faults.effects import admitted_although
from faults.implant import messages
from faults.implant.foothold import Foothold
from ipc_schemas import codec


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``shape``: a ``wrong type``, ``missing`` fields, ``another`` type's message, or (the usual) ``all`` three."""
    minute = messages.minute_now(foothold)
    dose = {"command_id": 1, "at_min": minute, "basal_u_per_h": 35.0, "bolus_u": 25.0, "valid_for_min": 120}
    shapes = {
        "wrong type": (messages.HINT, {"at_min": minute, "steps_per_min": "fast"}),
        "missing": (messages.REQUEST, {"counter": 1}),
        "another": (messages.REQUEST, dose),
    }
    wanted = str(parameters.get("shape", "all"))
    chosen = [shape for name, shape in shapes.items() if wanted in (name, "all")]
    for port, value in chosen:
        foothold.emit(port, codec.encode(value))
    return {"sent": len(chosen)}


ATTACK = Attack(
    "C06",
    "It sends messages of the wrong shape, so that a reader trips over them.",
    admitted_although("schema", "messages of the wrong shape", one="message of the wrong shape"),
    inject,
    parameters={"shape": OneOf(("wrong type", "missing", "another", "all"))},
    replaces=messages.HINT,
    walls=("schema",),
)
