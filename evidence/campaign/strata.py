"""What a campaign tries: strata of attack family, set of walls and phase of the therapy, and the trials in them.

Trial ``i`` is a pure function of the campaign and ``i``. Strata are gone through in turn: each family once, then each
once more in the next phase. Where a family has no more parameter sets than its share of the trials, they are gone
through in turn as well; elsewhere they are drawn. What strikes the flash of a device that is off knows no phase: its
parameter sets are gone through in turn, each once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from evidence.experiment import MARGIN_FRAMES, Experiment
from faults.attack import Attack, Between, Injection, OneOf, Value
from sandbox import walls

#: Runs end at a multiple of this, so that many of them can share a run of comparison.
LENGTH_STEP_FRAMES = 24
#: How many days (seed and patient) the trials are spread over.
DAYS = 6
#: The phase of attacks on the flash, and the frame that stands in their lines: the device is off, no frame passes.
OFF, OFF_FRAME = "off", 14
#: Where the world does not name phases.
ANY_TIME: Mapping[str, tuple[int, int]] = {"any": (14, 60)}
#: The sets of walls that a campaign may leave out: none, one at a time, or all.
WALL_SETS = ("all", "one-out", "none")


class Campaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is tried. ``design`` is the folder as experiments name it; ``phases`` name -> first and last frame.

    ``wall_sets`` of ``WALL_SETS`` say what stands: all walls, all but one in turn, or none. ``targets`` say for each
    attack which partitions may be taken over with it.
    """

    design: str
    seed: int
    trials: int
    attacks: tuple[str, ...]
    targets: dict[str, tuple[str, ...]]
    phases: dict[str, tuple[int, int]]
    wall_sets: tuple[str, ...] = ("all",)


class Stratum(NamedTuple):
    """``walls`` is ``all``, ``none``, or ``without NAME``."""

    attack_id: str
    walls: str
    phase: str


class Trial(NamedTuple):
    """One numbered experiment of a campaign."""

    number: int
    stratum: Stratum
    experiment: Experiment


def space(attack: Attack) -> int:
    """How many parameter sets an attack has."""
    return math.prod(_size(each) for each in attack.parameters.values())


def _size(each: Between | OneOf) -> int:
    return len(each.values) if isinstance(each, OneOf) else each.high - each.low + 1


def parameter_set(attack: Attack, place: int) -> dict[str, Value]:
    """Parameter set number ``place`` of ``space(attack)``, the mildest first."""
    found: dict[str, Value] = {}
    for name, each in attack.parameters.items():
        place, digit = divmod(place, _size(each))
        found[name] = each.values[digit] if isinstance(each, OneOf) else each.low + digit
    return found


@dataclass(frozen=True)
class Sampler:
    """Makes the trials of a campaign. ``attacks`` are those of the design, by id."""

    campaign: Campaign
    attacks: Mapping[str, Attack]

    @cached_property
    def share(self) -> int:
        """How many trials each family gets at the least, over all sets of walls."""
        return self.campaign.trials // len(self.campaign.attacks)

    def enumerates(self, attack_id: str) -> bool:
        """Whether all parameter sets of a family have their turn."""
        return space(self.attacks[attack_id]) * len(self.campaign.wall_sets) <= self.share

    def trial(self, number: int) -> Trial:
        """Trial ``number``, counted from 0."""
        campaign = self.campaign
        chance = Random(f"{campaign.seed}/{number}")
        turn, place = divmod(number, len(campaign.attacks))
        attack_id = campaign.attacks[place]
        attack = self.attacks[attack_id]
        turn, wall_place = divmod(turn, len(campaign.wall_sets))
        is_off = attack.tamper is not None
        is_listed = is_off or self.enumerates(attack_id)
        phases, sets = list(campaign.phases), space(attack)
        # Both go round; where they would meet in the same pairs again, the phases move on.
        moved_on = turn // math.lcm(sets, len(phases)) if is_listed else 0
        phase = OFF if is_off else phases[(turn + place + moved_on) % len(phases)]
        standing, without = self._walls(campaign.wall_sets[wall_place], turn + place)
        parameters = parameter_set(attack, turn % sets) if is_listed else attack.draw(chance)
        injection = Injection(
            OFF_FRAME if is_off else chance.randint(*campaign.phases[phase]),
            attack_id,
            parameters,
            partition=chance.choice(campaign.targets[attack_id]),
        )
        day = 0 if is_off else chance.randrange(DAYS)
        last = injection.frame + attack.shows_within_frames + MARGIN_FRAMES
        experiment = Experiment(
            Path(campaign.design),
            (injection,),
            math.ceil(last / LENGTH_STEP_FRAMES) * LENGTH_STEP_FRAMES,
            seed=1_000 * campaign.seed + day,
            patient=day,
            without=without,
        )
        return Trial(number, Stratum(attack_id, standing, phase), experiment)

    @property
    def trials_max(self) -> int | None:
        """More trials would repeat some: an attack on the flash is the same in every phase, on every day. ``None``: no
        such attack is in it.
        """
        campaign = self.campaign
        sets = [
            space(self.attacks[name]) for name in campaign.attacks if self.attacks[name].tamper is not None
        ]
        return min(sets) * len(campaign.wall_sets) * len(campaign.attacks) if sets else None

    def _walls(self, wall_set: str, turn: int) -> tuple[str, frozenset[str]]:
        if wall_set == "one-out":
            name = list(walls.WALLS)[turn % len(walls.WALLS)]
            return f"without {name}", frozenset((name,))
        return wall_set, walls.ALL if wall_set == "none" else frozenset()


def phases_of(world: Any) -> dict[str, tuple[int, int]]:
    """The phases that a world names in ``PHASES`` (name -> first and last frame), or one for any time."""
    return dict(getattr(world, "PHASES", ANY_TIME))
