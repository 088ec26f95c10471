"""F07: the monitor dies at once, as when the kernel has no memory left."""

from __future__ import annotations

import os
import signal
import time

from faults.attack import Attack, Between, CannotTell, Effect, Injection, Parameters, Report
from faults.outside import Stage
from faults.seen import Observations

AFTER_MS_MAX = 20
#: The pump's watchdog waits for 15 minutes from the last command; that is at most two frames old.
STANDS_STILL_AFTER_FRAMES = 5


def strike(stage: Stage, parameters: Parameters) -> Report:
    """SIGKILL to the monitor, ``after_ms`` (0) after the world has answered: in the middle of whatever it is doing."""
    time.sleep(min(int(parameters.get("after_ms", 0)), AFTER_MS_MAX) / 1000)
    os.kill(stage.monitor_pid, signal.SIGKILL)
    return {"killed": stage.monitor_pid}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A partition or a gate outlived the monitor, or the pump went on giving insulin beyond its watchdog's time."""
    if seen.survivors is None or seen.delivered_u is None:
        raise CannotTell("nobody looked for survivors, or at the pump")
    # Processes of other attacks bear another name: whether they outlive their partition is asked of those attacks.
    names = (seen.attacker, seen.victim)
    left = [one for one in seen.survivors if one.comm in names or one.comm.startswith("gate-")]
    if left:
        return Effect(True, f"{left[0].comm} (process {left[0].pid}) lived on with nobody to watch it.")
    late_u = sum(seen.delivered_u[injection.frame + STANDS_STILL_AFTER_FRAMES :])
    if late_u > 0.0:
        return Effect(
            True, f"The pump gave {late_u:.2f} U after its watchdog's time, with nobody in command."
        )
    return Effect(
        False, "No partition and no gate outlived the monitor, and the pump stood still in its time."
    )


ATTACK = Attack(
    "F07",
    "The monitor itself dies, without a chance to tidy up, and leaves everything else to itself.",
    effect,
    strike=strike,
    strikes="monitor",
    ends_the_run="must",
    parameters={"after_ms": Between(0, AFTER_MS_MAX)},
    walls=("lifeline",),
    shows_within_frames=STANDS_STILL_AFTER_FRAMES + 1,
)
