"""Therapy and transfer take any message that their ports admit, and send only what their ports admit."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc_schemas import insulin_pump, window, wire
from ipc_schemas.codec import encode
from tests.therapy.coupling import FRAME_MS, _wire_up, load_image
from world.insulin import InsulinWorld

CONFIG = InsulinWorld(7).configs()["prescription"]
NEAR_MIN = 600


def values(kind: Any, name: str) -> st.SearchStrategy[Any]:
    """Any value of a field's type, its bounds included; minutes mostly near the present."""
    meta = next((m for m in getattr(kind, "__metadata__", ()) if isinstance(m, msgspec.Meta)), msgspec.Meta())
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if base is bool:
        return st.booleans()
    if base is int:
        whole = st.integers(int(meta.ge or 0), int(meta.le or 0))
        return st.integers(NEAR_MIN - 40, NEAR_MIN + 40) | whole if name.endswith("at_min") else whole
    if base is float:
        return st.floats(meta.ge, meta.le)
    if base is bytes:
        return st.binary(min_size=meta.min_length or 0, max_size=meta.max_length)
    if get_origin(base) is tuple:
        return st.lists(values(get_args(base)[0], name), max_size=meta.max_length).map(tuple)
    return st.sampled_from(tuple(base.__members__.values()))


def messages(name: str) -> st.SearchStrategy[Any]:
    message_type = getattr(insulin_pump, name)
    hints = get_type_hints(message_type, include_extras=True)
    return st.builds(message_type, **{field: values(kind, field) for field, kind in hints.items()})


def windows(cards: list[wire.PortCard]) -> st.SearchStrategy[dict[int, tuple[int, list[bytes]]]]:
    """What may be visible to a member: per input port nothing, or messages with their age."""
    ports = {
        card.number: st.none()
        | st.tuples(
            st.integers(0, 5),
            st.lists(messages(card.message), min_size=1, max_size=1 if card.is_sampling else 4),
        )
        for card in cards
        if not card.is_output
    }
    return st.fixed_dictionaries(ports).map(
        lambda found: {
            port: (shown[0], [encode(message) for message in shown[1]])
            for port, shown in found.items()
            if shown is not None
        }
    )


def drive(name: str, member: Any, steps: list[dict[int, tuple[int, list[bytes]]]]) -> None:
    line = _wire_up()[0][name]
    for place, visible in enumerate(steps):
        frame = NEAR_MIN // 5 + place
        line.visible = {port: (frame - age, payloads) for port, (age, payloads) in visible.items()}
        member.window(line.open(frame))


def cards_of(name: str) -> list[wire.PortCard]:
    return list(_wire_up()[0][name].ports.hello.ports)


@settings(max_examples=150)
@given(st.lists(windows(cards_of("therapy")), max_size=6))
def test_therapy_never_raises_and_speaks_within_its_ports(steps: list[Any]) -> None:
    drive("therapy", load_image("therapy").Therapy(window.Setup("therapy", CONFIG, FRAME_MS)), steps)


@settings(max_examples=60)
@given(st.lists(windows(cards_of("transfer")), max_size=6))
def test_transfer_never_raises_and_speaks_within_its_ports(steps: list[Any]) -> None:
    drive("transfer", load_image("transfer").Transfer(window.Setup("transfer", b"", FRAME_MS)), steps)
