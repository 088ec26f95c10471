"""What a factory's folder holds, as a page: who issues and signs, how far and how long, and every device."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ipc_schemas.element import State
from world.factory.ledger import Ledger
from world.factory.overview import DeviceSeen, Person


def page(
    held: Ledger, people: Sequence[Person], devices: Sequence[DeviceSeen], now: datetime
) -> RenderableType:
    """Two tables."""
    rows: list[RenderableType] = [
        Text(f"{held.maker}, on {now:%Y-%m-%d}", style="bold"),
        _people(people, now),
        Text(),
    ]
    if devices:
        rows.append(_devices(devices))
    else:
        rows.append(Text("no device was made yet"))
    return Group(*rows)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _people(people: Sequence[Person], now: datetime) -> Table:
    table = _table("who", "is", "may vouch for", "until", "list", "")
    for one in people:
        is_over = one.valid_until < f"{now:%Y-%m-%d}"
        state = f"revoked {one.revoked}" if one.revoked else "over" if is_over else ""
        number = "" if one.list_number is None else str(one.list_number)
        table.add_row(one.name, one.role, one.scope, one.valid_until, number, Text(state, style="bold red"))
    return table


def _devices(devices: Sequence[DeviceSeen]) -> Table:
    table = _table("device", "life", "IDevID", "operator", "attempts a, b", "")
    for one in devices:
        attempts = ", ".join(map(str, one.attempts)) if one.attempts else ""
        state = f"revoked {one.revoked}" if one.revoked else ""
        table.add_row(one.serial, one.life, one.idevid, one.operator, attempts, Text(state, style="bold red"))
    return table


def cells(state: State) -> RenderableType:
    """What an element keeps without power, but for its secret."""
    table = _table("cell", "value")
    for name, value in cells_as_json(state).items():
        table.add_row(name, str(value))
    return table


def cells_as_json(state: State) -> dict[str, Any]:
    """The same as plain values; certificates are counted."""
    return {
        "life": state.lifecycle,
        "serial": state.serial.decode("ascii", "replace"),
        "hardware_id": state.hardware_id.decode("ascii", "replace"),
        "root_key_sha256": state.root_key_sha256.hex(),
        "slot_active": state.slot_active,
        "attempts": list(state.attempts),
        "floors": {floor.image: floor.counter for floor in state.floors},
        "time_floor_s": state.time_floor_s,
        "idevid_certificates": len(state.idevid),
        "ldevid_certificates": len(state.ldevid),
    }
