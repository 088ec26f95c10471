"""What a design makes of a partition's messages: the contract that its gate enforces. Pure."""

from __future__ import annotations

from ipc_schemas import links, wire
from monitor.design import WORLD, Action, Design


def number_of(design: Design, name: str) -> int:
    """The number of a partition, or of the world, in headers. Raises ``KeyError``."""
    return wire.WORLD if name == WORLD else design.partition(name).number


def ports_in(design: Design) -> tuple[links.PortContract, ...]:
    """What is enforced on each output port of the design."""
    return tuple(
        links.PortContract(
            port.number,
            number_of(design, port.partition),
            port.message,
            port.bytes_max,
            port.messages_per_frame_max,
            port.rejections_per_frame_max,
        )
        for port in design.ports
        if port.is_output
    )


def fatal_in(design: Design, name: str) -> tuple[str, ...]:
    """The events that end the partition; none for the world, which has no health table."""
    if name == WORLD:
        return ()
    health = design.partition(name).health
    return tuple(event.value for event, action in health.items() if action not in (Action.NOTE, Action.DROP))
