"""A stand-in for a compromised partition, run as a process without walls:
runs one attack and prints its report.
"""

from __future__ import annotations

import json
import sys
from typing import Any, cast

from faults import attack_files
from faults.implant.foothold import Foothold
from ipc_schemas.insulin_pump import TherapySettings


class Door:
    """The window as far as attacks on the host use it:
    a frame, and an upload port that prints what goes out.
    """

    def __init__(self, frame: int) -> None:
        self.frame = frame

    def send(self, port: str, message: Any) -> None:
        """One upload, in hex."""
        print(json.dumps({"sent": port, "chunk": message.chunk.hex()}), flush=True)


def main() -> None:
    """``attacker.py NAME ATTACK FRAME PARAMETERS_JSON SETTINGS_JSON``;
    the attack begins with a line of input.
    """
    name, attack_id, frame, parameters, settings = sys.argv[1:]
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(name)
    attack, given = attack_files.built()[attack_id], json.loads(parameters)
    if attack.at_start is not None:
        attack.at_start(given)
    print("ready", flush=True)
    sys.stdin.readline()
    known = json.loads(settings)
    foothold = Foothold(cast(Any, Door(int(frame))))
    foothold.settings = TherapySettings(at_min=0, **known) if known else None
    assert attack.inject is not None
    report = attack.inject(foothold, given)
    print(json.dumps({"report": report}, default=str), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
