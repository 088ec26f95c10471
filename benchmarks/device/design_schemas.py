"""Message types of the measured devices. ``build`` copies this file and adds what a design's load is."""

from __future__ import annotations

from typing import Annotated

import msgspec

DATA_BYTES_MAX = 8_192


class Packet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of a chosen size: 8 bytes of encoding (9 from 256 on) and the data."""

    data: Annotated[bytes, msgspec.Meta(max_length=DATA_BYTES_MAX)]


class Tally(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many packets a sink has received in its life."""

    packets: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
