"""Noninterference, tested: what the critical partitions emit does not depend on who attacks.

Let T be everything the critical partitions emit: (frame, port, canonical bytes), actuator commands included. Run A
is attacked; L is what the gates admitted from the other partitions in A. Run R has the same seed and world and no
attacker: a player in each of the other partitions' places sends exactly L through the same ports in the same
frames. The claim holds if and only if T(A) = T(R), byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ipc_schemas import codec
from monitor import journal
from monitor.design import WORLD, Design
from world.devices import Overlay

_SPLIT = msgspec.msgpack.Decoder(list[msgspec.Raw])
_PLAYER_FOLDER = Path(__file__).parent / "player"


class Emission(NamedTuple):
    """One message that the monitor admitted from a partition, under the full name of the output port it named."""

    frame: int
    port: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two runs' emissions part: ``one`` and ``other`` are ``None`` where a message is missing."""

    frame: int
    port: str
    field: str
    one: Any
    other: Any

    def __str__(self) -> str:
        if self.one is None or self.other is None:
            which = "only the first" if self.other is None else "only the second"
            return f"frame {self.frame}, {self.port}: {which} run sent a message"
        one, other = _short(self.one), _short(self.other)
        if one == other:  # they part further behind the point
            one, other = str(self.one), str(self.other)
        return f"frame {self.frame}, {self.port}.{self.field}: {one} against {other}"


def _short(value: Any) -> str:
    return str(float(f"{value:.6g}")) if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Comparison:
    """``messages`` is how many emissions were compared; with none there is nothing to claim (``is_vacuous``)."""

    messages: int
    difference: Difference | None

    @property
    def is_vacuous(self) -> bool:
        """Whether the critical partitions emitted nothing at all."""
        return self.messages == 0

    @property
    def holds(self) -> bool:
        """Whether the runs are identical, and not by being empty."""
        return self.difference is None and not self.is_vacuous


def emissions(reading: journal.Reading, partitions: frozenset[str]) -> tuple[Emission, ...]:
    """Everything that the journal says was admitted from ``partitions``, in the journal's order."""
    header = reading.entries[0]
    assert isinstance(header, journal.Header)
    names = dict(header.ports)
    found: list[Emission] = []
    for entry in reading.entries:
        if not isinstance(entry, journal.Frame):
            continue
        for admitted in entry.admitted:
            if admitted.sender in partitions:
                name = names[admitted.port]
                found += [Emission(entry.frame, name, bytes(raw)) for raw in _SPLIT.decode(admitted.messages)]
    return tuple(found)


def critical(design: Design) -> frozenset[str]:
    """The partitions whose emissions make up T."""
    return frozenset(p.name for p in design.partitions if p.is_critical)


def others(design: Design) -> frozenset[str]:
    """The partitions whose admitted messages make up L; the world is the same in both runs and not among them."""
    return frozenset(p.name for p in design.partitions if not p.is_critical and p.name != WORLD)


def players(design: Design, recorded: tuple[Emission, ...]) -> dict[str, Overlay]:
    """For each non-critical partition the image of a player with its part of the recording."""
    overlays = {}
    for name in others(design):
        parts: dict[tuple[int, str], list[bytes]] = {}
        for emission in recorded:
            partition, _, port = emission.port.partition(".")
            if partition == name:
                parts.setdefault((emission.frame, port), []).append(emission.payload)
        recording = codec.encode([(frame, port, payloads) for (frame, port), payloads in parts.items()])
        overlays[name] = Overlay(_PLAYER_FOLDER, "main:Player", {"recording.msgpack": recording})
    return overlays


def compare(one: tuple[Emission, ...], other: tuple[Emission, ...]) -> Comparison:
    """Compare T of two runs, message by message."""
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            return Comparison(len(one), _difference(mine, theirs))
    if len(one) != len(other):
        longer = one if len(one) > len(other) else other
        first = longer[min(len(one), len(other))]
        present = codec.decode_any(first.payload)
        pair = (present, None) if longer is one else (None, present)
        return Comparison(len(one), Difference(first.frame, first.port, "", *pair))
    return Comparison(len(one), None)


def _difference(mine: Emission, theirs: Emission) -> Difference:
    if (mine.frame, mine.port) != (theirs.frame, theirs.port):
        mine_first = (mine.frame, mine.port) < (theirs.frame, theirs.port)
        first = mine if mine_first else theirs
        value = codec.decode_any(first.payload)
        return Difference(first.frame, first.port, "", *((value, None) if mine_first else (None, value)))
    one, other = codec.decode_any(mine.payload), codec.decode_any(theirs.payload)
    if isinstance(one, dict) and isinstance(other, dict):
        for field in one:
            if one.get(field) != other.get(field):
                return Difference(mine.frame, mine.port, field, one.get(field), other.get(field))
    return Difference(mine.frame, mine.port, "", one, other)
