"""Whether an attack had its effect: asks the detector in the attack's own file, and whether it ran at all.

A detector is given what the harness saw of a run (``Observations``) and one injection, and says yes, no, or
that it cannot tell. What the harness did not look at is ``None`` in the observations, and a detector that
needs it cannot tell. Not being able to tell is never a pass.
"""

from __future__ import annotations

import re
from pathlib import Path

from faults import attack_files
from faults.attack import CannotTell, Effect, Injection
from faults.seen import Observations


def detect(
    attack_id: str, seen: Observations, injection: Injection, design_folder: Path | None = None
) -> Effect:
    """Whether the attack had its effect in its frames. ``design_folder`` is where a design's own attacks are.

    Raises ``KeyError`` for an attack that is not built.
    """
    detector = attack_files.built(design_folder)[attack_id].effect
    try:
        return detector(seen, injection)
    except CannotTell as blind:
        return Effect(None, f"It cannot be told: {blind}.")


def was_activated(attack_id: str, seen: Observations, injection: Injection) -> bool:
    """Whether the attack really ran: it announced itself, and its interlock did not hold it back.

    The interlock keeps an attack from processes of another run on the same machine.
    """
    if (attack_id, injection.frame) in seen.struck:
        return True
    lines = [
        line.text
        for line in seen.log_lines
        if line.partition == seen.attacker and injection.covers(line.frame)
    ]
    begin = re.compile(rf"ATTACK {attack_id} begin frame={injection.frame}\b")
    held = re.compile(rf'ATTACK {attack_id} end frame={injection.frame} .*"interlock": true')
    return any(begin.search(text) for text in lines) and not any(held.search(text) for text in lines)
