"""C08: the right shape, an impossible value."""

from __future__ import annotations

import math

from faults.attack import Attack, Effect, Injection, OneOf, Parameters, Report
from faults.effects import admitted_although, impossible_number
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import codec

_VALUES = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "huge": 1.0e300,
    "-huge": -1.0e300,
    "off": 1.0e4,
}


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``value`` in a hint and in a request; without it not a number, infinity and far out of range, one each."""
    minute = messages.minute_now(foothold)
    if "value" in parameters:
        value = _VALUES[str(parameters["value"])]
        steps, targets = value, [value]
    else:
        steps, targets = math.nan, [math.inf, -1.0e300]
    foothold.emit(messages.HINT, codec.encode({"at_min": minute, "steps_per_min": steps}))
    for target in targets:
        foothold.emit(messages.REQUEST, codec.encode(messages.request(minute, target_mg_dl=target)))
    return {"sent": 1 + len(targets)}


_refused_by_type = admitted_although("range", "impossible values", one="impossible value")


def effect(seen: Observations, injection: Injection) -> Effect:
    """A number went through that its type refuses, or that no type should take: a type may have forgotten a bound."""
    for one, payload in seen.payloads(injection):
        found = impossible_number(payload)
        if found is not None:
            field = f"{one.port}.{found.field}"
            return Effect(True, f"{field} took {found.value!r} in frame {one.frame}.", field)
    return _refused_by_type(seen, injection)


ATTACK = Attack(
    "C08",
    "It sends impossible numbers, such as infinity steps per minute, to upset therapy's sums.",
    effect,
    inject,
    parameters={"value": OneOf(tuple(_VALUES))},
    replaces=messages.HINT,
    walls=("range",),
)
