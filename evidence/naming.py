"""Names for the numbers in the words of gates and monitor, who know ports and partitions by number only."""

from __future__ import annotations

import re

from ipc_schemas import wire
from monitor.design import WORLD, Design

_NO_OUTPUT = re.compile(r"\bport (\d+) is no output port of this partition")
_PORT = re.compile(r"\bport (\d+)\b")
_PARTITION = re.compile(r"\bpartition (\d+)\b")


def named(text: str, design: Design) -> str:
    """``port 14`` and ``partition 65534`` by their names in the design; numbers that it does not have stay."""
    ports = {port.number: port for port in design.ports}
    partitions = {p.number: p.name for p in design.partitions} | {wire.WORLD: WORLD}

    def why_not(match: re.Match[str]) -> str:
        port = ports.get(int(match[1]))
        if port is None:
            return f"there is no port {match[1]}"
        if port.is_output:
            return f"{port.full_name} is another partition's to send on"
        return f"{port.full_name} is an input, on which nobody sends"

    text = _NO_OUTPUT.sub(why_not, text)
    text = _PORT.sub(lambda m: ports[int(m[1])].full_name if int(m[1]) in ports else m[0], text)
    return _PARTITION.sub(lambda m: partitions.get(int(m[1]), m[0]), text)
