"""Attacks in the header: who sends, to which port, in which place in line."""

from __future__ import annotations

from faults.implant.foothold import Foothold, Parameters, Report
from ipc_schemas import codec, wire
from ipc_schemas.insulin_pump import CgmReading, PumpCommand

REPLAYS_MAX = 16
#: A forged command's id: no honest therapy counts this far in a run.
FORGED_COMMAND_ID = 0xF0F0_0000


def forged_reading(at_min: int) -> CgmReading:
    """The glucose that makes a controller dose: 400 mg/dL, clean."""
    return CgmReading(at_min, 400.0, 1)


def forged_command(at_min: int) -> PumpCommand:
    """A bolus of 25 U that nobody prescribed."""
    return PumpCommand(FORGED_COMMAND_ID, at_min, 0.0, 25.0, 5)


def replay(foothold: Foothold, _parameters: Parameters) -> Report:
    """C14: captured messages of earlier frames again: first in their old headers, then in this frame's."""
    old = [seen for seen in foothold.captured if seen.header.frame < foothold.window.frame]
    sent = 0
    for seen in old[-REPLAYS_MAX:]:
        sent += foothold.send_raw(wire.pack(seen.header, seen.payload))
        stale_place = seen.header._replace(frame=foothold.window.frame)
        sent += foothold.send_raw(wire.pack(stale_place, seen.payload))
    return {"captured": len(old), "sent": sent}


def spoofed_sender(foothold: Foothold, parameters: Parameters) -> Report:
    """C15: a sensor reading in the world's name and a bolus in therapy's.

    ``world_cgm_port``, ``therapy_pump_command_port``, ``therapy_number``: what the published design says.
    """
    at_min = int(foothold.window.time_min)
    sent = 0
    header = foothold.header(int(parameters["world_cgm_port"]), source=wire.WORLD)
    sent += foothold.send_raw(wire.pack(header, codec.encode(forged_reading(at_min))))
    header = foothold.header(
        int(parameters["therapy_pump_command_port"]), source=int(parameters["therapy_number"])
    )
    sent += foothold.send_raw(wire.pack(header, codec.encode(forged_command(at_min))))
    return {"sent": sent}


def wrong_direction(foothold: Foothold, parameters: Parameters) -> Report:
    """C18: in its own name, a dose to ports it may not send to, its own input ``status`` among them."""
    at_min = int(foothold.window.time_min)
    payload = codec.encode(forged_command(at_min))
    ports = [int(parameters["therapy_pump_command_port"]), int(parameters["world_pump_command_port"])]
    ports.append(foothold.port("status"))
    sent = sum(foothold.send_raw(wire.pack(foothold.header(port), payload)) for port in ports)
    return {"sent": sent}
