"""C12: words for the log that are orders to the terminal on which somebody reads it."""

from __future__ import annotations

import os

from faults.attack import Attack, CannotTell, Effect, Injection, OneOf, Parameters, Report
from faults.implant.foothold import Foothold
from faults.seen import Observations

#: Each of them works on a terminal or on a reader, and none does lasting harm to a real one.
_ORDERS = {
    "return": "\r",  # what follows covers what stood there
    "bidi": "\u202e",  # what follows is shown in reverse
    "colour": "\x1b[8m\x1b[0m",  # hidden, and back to usual
    "clear": "\x1b[2K",  # takes the line away on which it stands
}
_CLAIM = "monitor: all partitions are well"


def inject(_foothold: Foothold, parameters: Parameters) -> Report:
    """A line on standard error in which ``what`` (``clear``) stands before words in the monitor's name."""
    order = _ORDERS[str(parameters.get("what", "clear"))]
    line = f"{order}{_CLAIM}{order}\n"
    return {"written_bytes": os.write(2, line.encode())}


def effect(seen: Observations, injection: Injection) -> Effect:
    """A character that is no plain printable one came out of the partition's log at its reader's."""
    lines = [one for one in seen.log_lines if one.partition == seen.attacker and injection.covers(one.frame)]
    if not lines:
        raise CannotTell(f"no line of {seen.attacker}'s log is from these frames")
    for line in lines:
        odd = next((character for character in line.text if not " " <= character <= "~"), "")
        if odd:
            return Effect(
                True,
                f"U+{ord(odd):04X}, an order to a terminal, came through in its log in frame {line.frame}.",
            )
    return Effect(False, f"All of its {len(lines)} log lines came out as plain text.")


ATTACK = Attack(
    "C12",
    "It writes orders to the screen into its log, to hide lines and to speak in the monitor's name.",
    effect,
    inject,
    parameters={"what": OneOf(tuple(_ORDERS))},
    walls=("escape",),
)
