"""C05: correct messages, far more of them than agreed."""

from __future__ import annotations

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.implant import messages
from faults.implant.foothold import Foothold
from faults.seen import Observations, bound
from ipc_schemas import codec
from ipc_schemas.insulin_pump import ActivityHint

FLOOD_MESSAGES_MAX = 20_000
MESSAGES_PER_FRAME_MAX = 8


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """``count`` (200) perfectly valid activity hints."""
    count = min(int(parameters.get("count", 200)), FLOOD_MESSAGES_MAX)
    message = codec.encode(ActivityHint(messages.minute_now(foothold), 120.0))
    for _ in range(count):
        foothold.emit(messages.HINT, message)
    return {"sent": count}


def effect(seen: Observations, injection: Injection) -> Effect:
    """More messages were let through in a frame than the port's contract says."""
    limit = bound(injection, "messages_per_frame_max", MESSAGES_PER_FRAME_MAX)
    most = 0
    for one in seen.admitted_in(injection):
        if one.port == f"{seen.attacker}.{messages.HINT}":
            most = max(most, len(one.payloads))
    if most > limit:
        return Effect(True, f"{most} messages went through in one frame; {limit:.0f} are agreed.")
    return Effect(False, f"At most {most} messages went through in one frame, as agreed.")


ATTACK = Attack(
    "C05",
    "It sends correct messages, but many times more than agreed, to drown therapy.",
    effect,
    inject,
    parameters={"count": Between(12, FLOOD_MESSAGES_MAX, by_factor=True)},
    needs=("contract",),
    costs_a_restart=True,
    walls=("rate",),
)
