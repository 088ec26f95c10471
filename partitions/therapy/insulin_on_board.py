"""How much of the delivered insulin has yet to act.

The curve is Loop's exponential model (LoopKit, ExponentialInsulinModel): 10 minutes of delay, then an action
of 360 minutes with its peak at 75. It is tabulated once and rounded, so a dose never depends on the last
digit of a host's ``exp``.

Insulin counts *net of the profile basal*: a patient on plain basal has none on board. The truth about
delivery is the pump's own log. What the log cannot hold yet, the command that is being carried out right now,
is added from what was commanded, as if it were delivered in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from math import exp
from operator import add, mul

from ipc_schemas.insulin_pump import DeliveryLog

SLOT_MIN = 5
ACTION_MIN = 360.0
PEAK_MIN = 75.0
DELAY_MIN = 10.0
#: Slots after which nothing is left to act.
SLOTS = 74
#: A log that ends earlier than this is not believed to describe the present.
LOG_AGE_MAX_MIN = 30


def remaining(age_min: float) -> float:
    """The part (0 .. 1) of a dose that has yet to act ``age_min`` after it was delivered."""
    t = age_min - DELAY_MIN
    if t <= 0.0:
        return 1.0
    if t >= ACTION_MIN:
        return 0.0
    tau = PEAK_MIN * (1.0 - PEAK_MIN / ACTION_MIN) / (1.0 - 2.0 * PEAK_MIN / ACTION_MIN)
    a = 2.0 * tau / ACTION_MIN
    s = 1.0 / (1.0 - a + (1.0 + a) * exp(-ACTION_MIN / tau))
    shape = (t * t / (tau * ACTION_MIN * (1.0 - a)) - t / tau - 1.0) * exp(-t / tau) + 1.0
    return 1.0 - s * (1.0 - a) * shape


def _weights(ahead_slots: int) -> tuple[float, ...]:
    """Oldest first: what of each slot is left ``ahead_slots`` from now. A slot is taken at its middle."""
    ages = (SLOT_MIN * (ahead_slots + SLOTS - 1 - place + 0.5) for place in range(SLOTS))
    return tuple(round(remaining(age), 12) for age in ages)


#: How far ahead predictions look, in slots of five minutes.
HORIZONS_SLOTS = (6, 12, 18, 24, 36, 48, 72)
_NOW = _weights(0)
_AHEAD = tuple(_weights(slots) for slots in HORIZONS_SLOTS)
_AGO_3 = tuple(round(remaining(SLOT_MIN * (SLOTS - 1 - place + 0.5 - 3)), 12) for place in range(SLOTS))
_ACTED_15_MIN = tuple(before - now for before, now in zip(_AGO_3, _NOW, strict=True))


class OnBoard:
    """Net delivery per slot, oldest first, and what was commanded since. Built anew in each life."""

    def __init__(self) -> None:
        self._net_u: list[float] = [0.0] * SLOTS
        self._ends_at_min = 0
        self._in_flight_u = 0.0
        #: Net insulin on board now, what is being delivered included. Negative after a long suspension.
        self.units = 0.0
        self.is_known = False

    def read(
        self, log: DeliveryLog | None, in_flight_net_u: float, profile_u_per_h: float, now_min: int
    ) -> None:
        """Take in the newest log and the net insulin of commands that no log can show yet.

        Without a log of the last ``LOG_AGE_MAX_MIN`` minutes, insulin on board is unknown.
        """
        self._in_flight_u = in_flight_net_u
        self.is_known = log is not None and 0 <= now_min - log.ends_at_min <= LOG_AGE_MAX_MIN
        if log is None or not self.is_known:
            self.units = _dot(self._net_u, _NOW) + in_flight_net_u
            return
        basal_u = profile_u_per_h * SLOT_MIN / 60.0
        missing = (now_min - log.ends_at_min) // SLOT_MIN
        net = [u - basal_u for u in log.delivered_u[-SLOTS:]]
        net += [0.0] * missing  # slots that no log has shown: in_flight holds what was commanded for them
        if len(net) < SLOTS:
            net = [0.0] * (SLOTS - len(net)) + net
        self._net_u = net[-SLOTS:]
        self.units = _dot(self._net_u, _NOW) + in_flight_net_u

    def left_at_horizons(self) -> list[float]:
        """What of ``units`` is left at each of ``HORIZONS_SLOTS``."""
        net = self._net_u
        newest = self._in_flight_u
        return [_dot(net, weights) + newest * weights[-1] for weights in _AHEAD]

    def acted_in_15_min_u(self) -> float:
        """Net insulin that has acted in the quarter of an hour that is over."""
        return _dot(self._net_u, _ACTED_15_MIN)


def add_up(values: Iterable[float]) -> float:
    """Plain left-to-right addition. ``sum`` rounds otherwise from Python 3.12 on, and a dose must not."""
    return reduce(add, values, 0.0)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return add_up(map(mul, a, b))
