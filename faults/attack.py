"""What an attack file offers: one ``ATTACK`` value with everything there is to say of one row of the catalogue.

The file that holds it travels in the image of the partition that is taken over, and is read by the harness, too. So
this module, like ``faults.seen``, ``faults.effects`` and ``faults.implant``, imports nothing that an image lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from faults.implant.foothold import Foothold
    from faults.outside import Stage
    from faults.seen import Observations
    from faults.workshop import Workshop

Value = int | float | str | bool
Parameters = dict[str, Any]
Report = dict[str, Any]
#: The partition that is taken over when an injection does not say otherwise.
ATTACKED = "transfer"


class Effect(NamedTuple):
    """``succeeded`` is ``None`` when it cannot be told: neither stopped nor let through.

    ``culprit`` is what it got through by, where that has a name: a field (``partition.port.field``), or a file that was
    open; empty otherwise.
    """

    succeeded: bool | None
    sentence: str
    culprit: str = ""


class CannotTell(Exception):
    """What a detector needs was not observed; the text says what."""


@dataclass(frozen=True, slots=True)
class Injection:
    """One attack in one frame, by whoever holds ``partition``.

    Its effects are looked for in ``[frame, until_frame)``; ``None``: to the end.
    """

    frame: int
    attack_id: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    until_frame: int | None = None
    partition: str = ATTACKED

    def covers(self, frame: int) -> bool:
        """Whether an effect seen in ``frame`` is put down to this attack."""
        return self.frame <= frame and (self.until_frame is None or frame < self.until_frame)


@dataclass(frozen=True, slots=True)
class Between:
    """Whole numbers from ``low`` to ``high``, both included; ``by_factor`` draws each order of magnitude alike."""

    low: int
    high: int
    by_factor: bool = False

    def draw(self, chance: Random) -> Value:
        """One of them."""
        if not self.by_factor:
            return chance.randint(self.low, self.high)
        drawn: float = self.low * (self.high / self.low) ** chance.random()
        return int(min(max(round(drawn), self.low), self.high))

    def has(self, value: Value) -> bool:
        """Whether the value may be given."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"whole numbers from {self.low} to {self.high}"

    def smaller(self, value: Value) -> list[Value]:
        """Milder values to try in place of ``value``, the mildest first."""
        assert isinstance(value, int)
        steps = {self.low, (self.low + value) // 2, value - 1}
        return sorted(step for step in steps if self.low <= step < value)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few values, the mildest first. Those in ``on_request`` can be given, but are not drawn."""

    values: tuple[Value, ...]
    on_request: tuple[Value, ...] = ()

    def draw(self, chance: Random) -> Value:
        """One of them."""
        return chance.choice(self.values)

    def has(self, value: Value) -> bool:
        """Whether the value may be given."""
        return any(value == one and type(value) is type(one) for one in (*self.values, *self.on_request))

    def __str__(self) -> str:
        return "one of " + ", ".join(json.dumps(one) for one in (*self.values, *self.on_request))

    def smaller(self, value: Value) -> list[Value]:
        """Milder values to try in place of ``value``, the mildest first."""
        return list(self.values[: self.values.index(value)]) if value in self.values else []


Range = Between | OneOf
Inject = Callable[["Foothold", Parameters], Report]
Begin = Callable[[Parameters], None]
Strike = Callable[["Stage", Parameters], Report]
Tamper = Callable[["Workshop", Parameters], Report]
Detect = Callable[["Observations", Injection], Effect]


#: What an attack on a device that is off strikes, in words.
OFF = {"flash": "the flash of a device that is off", "device": "a device that is off"}


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack or fault: a family of experiments, one for each draw of its parameters.

    ``inject`` runs inside the taken-over partition, ``strike`` outside the device, as the environment does, ``tamper``
    before the device is switched on, at its flash; an attack has one of the three, and one from outside says what it
    ``strikes``. ``effect`` looks at what the harness saw, never at an error code.
    """

    id: str
    #: What it does, in a sentence for everyone.
    plain: str
    effect: Detect
    inject: Inject | None = None
    strike: Strike | None = None
    tamper: Tamper | None = None
    #: What an attack from outside strikes: the "world", whose faults are part of the run of comparison, too, the
    #: "monitor", or, with ``tamper``, the "flash" or the whole "device". Empty for one from inside.
    strikes: str = ""
    #: Whether the run ends with it: it "must" (by its nature), or it "may" (the device goes to its safe state over it,
    #: in order). Then what was done until then counts, and no more is expected.
    ends_the_run: str = ""
    #: What an injector inside does before, in each life, as soon as code of the image can run at all.
    at_start: Begin | None = None
    #: What may vary from experiment to experiment, each with its range. What is not given is the injector's usual.
    parameters: Mapping[str, Range] = field(default_factory=dict)
    #: Parameters of the experiments by which ablation asks which walls carry it: one set for each group of walls that
    #: it can run against.
    variants: tuple[Mapping[str, Value], ...] = ({},)
    #: What an injection gets that does not say otherwise, where that is not what the injector takes by itself.
    usual: Mapping[str, Value] = field(default_factory=dict)
    #: What only the harness knows and the injector needs: names of ``faults.means.GIVES``.
    needs: tuple[str, ...] = ()
    #: The output port whose honest message of that frame gives way, so that the port's rate is kept.
    replaces: str = ""
    #: Whether a walled partition may lose its life over it.
    costs_a_restart: bool = False
    #: Whether it has to be faster than somebody else, so that one run without its effect says little.
    is_a_race: bool = False
    #: Walls that stand against it as far as its author knows: named beside what was seen, and where ablation begins
    #: to ask. Nothing is believed of it.
    walls: tuple[str, ...] = ()
    #: For how many frames after its own the effect may show.
    shows_within_frames: int = 3
    #: Which partitions can be taken over with it; none: only one that is named, so that nothing draws it by itself.
    partitions: tuple[str, ...] = (ATTACKED,)
    #: For an attack that is no row of the catalogue: its name there.
    name: str = ""

    def draw(self, chance: Random) -> dict[str, Value]:
        """Parameters of one experiment."""
        return {name: each.draw(chance) for name, each in self.parameters.items()}
