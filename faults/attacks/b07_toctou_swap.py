"""B07: the image is another one by the time it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.attack import Attack, Parameters, Report
from faults.effects import foreign_image_ran

if TYPE_CHECKING:
    from faults.workshop import Workshop


def tamper(shop: Workshop, _: Parameters) -> Report:
    """As soon as the bootloader has opened the monitor's image to judge it, another one takes its name; the own one is
    back before the monitor looks at it.
    """
    return shop.swap_monitor_once_opened()


ATTACK = Attack(
    "B07",
    "It swaps a program for another one in the moment between its check and its start.",
    foreign_image_ran,
    tamper=tamper,
    strikes="flash",
    is_a_race=True,
    walls=("swap",),
)
