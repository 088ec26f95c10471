"""Words for people: numbers with what they count, and lists that do not run on."""

from __future__ import annotations

from collections.abc import Iterable

#: Longer lists are cut.
SHOWN_MAX = 12


def counted(number: int, what: str) -> str:
    """``1 frame``, ``3 frames``, ``2,995 trials``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def some_of(names: Iterable[str], shown_max: int = SHOWN_MAX) -> str:
    """``C01, C02, C03``; of a long list the first few, and how many more there are."""
    listed = list(names)
    if len(listed) <= shown_max + 1:  # a single one more takes no more room than its count
        return ", ".join(listed)
    return f"{', '.join(listed[:shown_max])} and {len(listed) - shown_max} more"
