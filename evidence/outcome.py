"""What became of an attack: one of a few names, of which only HELD is good news."""

from __future__ import annotations

import enum


class Outcome(enum.StrEnum):
    """Only HELD is good news; UNKNOWN is never a pass."""

    HELD = "HELD"  # it ran, it works without walls, and here its effect is absent
    BREACH = "BREACH"  # its effect was seen
    NOT_ACTIVATED = "NOT-ACTIVATED"  # it never ran
    VACUOUS = "VACUOUS"  # it held, but it does not work without walls either: it shows nothing
    MASKED_BY_HOST = "MASKED-BY-HOST"  # it held, but this host stops it even without our walls
    NO_REPLY = "NO-REPLY"  # the run ended before it could be judged
    UNKNOWN = "UNKNOWN"  # what would show its effect was not observed
