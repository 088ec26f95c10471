"""C14: messages of the past, sent again as if they were new."""

from __future__ import annotations

from faults.attack import Attack, Between, Effect, Injection, Parameters, Report
from faults.implant.foothold import Foothold
from faults.seen import Observations
from ipc_schemas import wire

REPLAYS_MAX = 16


def inject(foothold: Foothold, parameters: Parameters) -> Report:
    """The last ``count`` (16) captured messages again: first in their old headers, then in this frame's."""
    old = [seen for seen in foothold.captured if seen.header.frame < foothold.window.frame]
    sent = 0
    for seen in old[-min(int(parameters.get("count", REPLAYS_MAX)), REPLAYS_MAX) :]:
        sent += foothold.send_raw(wire.pack(seen.header, seen.payload))
        stale_place = seen.header._replace(frame=foothold.window.frame)
        sent += foothold.send_raw(wire.pack(stale_place, seen.payload))
    return {"captured": len(old), "sent": sent}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A message of an earlier frame was admitted again. Every honest message carries its minute or its number."""
    fresh = [(one, data) for one, data in seen.payloads(injection) if one.frame <= injection.frame + 1]
    earlier = {
        (one.port, payload)
        for one in seen.admitted or ()
        if one.frame < injection.frame
        for payload in one.payloads
    }
    again = sum((one.port, payload) in earlier for one, payload in fresh)
    if again:
        return Effect(True, f"{again} old messages were taken for new ones.")
    return Effect(False, "No old message was taken for a new one.")


ATTACK = Attack(
    "C14",
    "It records messages of the past and sends them again, as if they were new.",
    effect,
    inject,
    parameters={"count": Between(1, REPLAYS_MAX)},
    costs_a_restart=True,
    walls=("sequence",),
)
