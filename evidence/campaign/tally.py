"""Results counted: by stratum, over trials that count, with bounds both ways. Pure but for SciPy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from evidence.campaign import statistics
from evidence.campaign.results import Result
from evidence.campaign.statistics import Bounds, Latency
from evidence.campaign.strata import Campaign, Sampler, space
from evidence.outcome import Outcome
from faults.attack import Attack
from faults.words import some_of
from sandbox import walls

#: Outcomes that say something: the attack ran, works without walls, and its effect was looked for.
COUNT = (Outcome.HELD, Outcome.BREACH)
#: Outcomes that may hide a breach. The others are known not to: nothing ran, or nothing could have come of it.
NO_ANSWER = (Outcome.NO_REPLY, Outcome.UNKNOWN)
#: A trial without an answer is given up after this long; its kill, if it had one, took longer.
CENSORED_MS = 45_000.0
#: How many breaches, and how many trials without an answer, are told one by one.
TOLD_MAX = 20


@dataclass(slots=True)
class Cell:
    """The outcomes of one group of trials."""

    outcomes: Counter[str] = field(default_factory=Counter)

    def of(self, *some: Outcome) -> int:
        """How many had one of these outcomes."""
        return sum(self.outcomes[one.value] for one in some)

    @property
    def trials(self) -> int:
        """How many there are."""
        return self.outcomes.total()

    @property
    def breaches(self) -> Bounds:
        """Breaches among the trials that count."""
        return statistics.at_most(self.of(Outcome.BREACH), self.of(*COUNT))

    @property
    def breaches_at_worst(self) -> Bounds:
        """Breaches if every trial without an answer had been one."""
        lost = self.of(*NO_ANSWER)
        return statistics.at_most(self.of(Outcome.BREACH) + lost, self.of(*COUNT) + lost)


@dataclass(frozen=True, slots=True)
class Family:
    """One attack's trials with all walls. ``tried`` parameter sets counted, of ``space``, all of which were planned for
    when it ``is_enumerated``.
    """

    attack_id: str
    cell: Cell
    tried: int
    space: int
    is_enumerated: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """A campaign counted. ``walled`` has the trials with all walls, ``by_walls`` the others, by what was left out."""

    campaign: Campaign
    done: int
    walled: Cell
    families: tuple[Family, ...]
    by_phase: Mapping[str, Cell]
    by_walls: Mapping[str, Cell]
    kills: Latency
    breaches: tuple[Result, ...]
    without_answer: tuple[Result, ...]
    without_count: tuple[Result, ...]
    #: The walls that stood in each trial behind all walls that counted; empty when none did.
    standing: frozenset[str] = frozenset()

    @property
    def is_whole(self) -> bool:
        """Whether every trial has its result."""
        return self.done == self.campaign.trials

    @property
    def problems(self) -> list[str]:
        """Why this campaign is no evidence that all held, as sentences."""
        found = []
        if not self.is_whole:
            found.append(
                f"{self.campaign.trials - self.done} of {self.campaign.trials} trials are still to come"
            )
        breaches = self.walled.of(Outcome.BREACH)
        if breaches:
            ids = ", ".join(sorted({one.attack_id for one in self.breaches}))
            found.append(f"{breaches} of {self.walled.trials} trials behind all walls are breaches ({ids})")
        lost = self.walled.of(*NO_ANSWER)
        if lost:
            found.append(f"{lost} of {self.walled.trials} trials behind all walls have no answer")
        if self.done and not self.walled.of(*COUNT):
            found.append("no trial behind all walls counts, so nothing can be said")
        silent = [
            f.attack_id
            for f in self.families
            if f.cell.trials and not f.cell.of(*COUNT, Outcome.MASKED_BY_HOST)
        ]
        if silent:
            found.append(f"of {', '.join(silent)} no trial counts")
        return found


def tally(sampler: Sampler, results: Iterable[Result]) -> Tally:
    """Count. ``results`` in any order; each number once."""
    walled, by_phase, by_walls = Cell(), _cells(), _cells()
    families = {attack_id: (Cell(), set[str]()) for attack_id in sampler.campaign.attacks}
    kills_ms: list[float] = []
    stood: list[frozenset[str]] = []
    notable: dict[str, list[Result]] = {"breaches": [], "lost": [], "uncounted": []}
    done = 0
    for result in results:
        done += 1
        outcome = Outcome(result.outcome)
        if result.walls != "all":
            _count(by_walls, result.walls, result)
            continue
        walled.outcomes[result.outcome] += 1
        cell, tried = families[result.attack_id]
        cell.outcomes[result.outcome] += 1
        _count(by_phase, result.phase, result)
        kills_ms += result.kill_ms
        if outcome in COUNT:
            stood.append(frozenset(result.summary.standing))
            tried.add(_parameters(sampler, result.number))
        if outcome is Outcome.BREACH:
            notable["breaches"].append(result)
        elif outcome in NO_ANSWER:
            notable["lost"].append(result)
        elif outcome is not Outcome.HELD:
            notable["uncounted"].append(result)
    lost = [CENSORED_MS] * sum(1 for one in notable["lost"] if one.outcome == Outcome.NO_REPLY.value)
    return Tally(
        sampler.campaign,
        done,
        walled,
        tuple(_family(sampler, attack_id, *found) for attack_id, found in families.items()),
        by_phase,
        by_walls,
        statistics.latency(kills_ms, lost),
        tuple(notable["breaches"]),
        tuple(notable["lost"]),
        tuple(notable["uncounted"]),
        frozenset.intersection(*stood) if stood else frozenset(),
    )


def _cells() -> dict[str, Cell]:
    return {}


def _count(cells: dict[str, Cell], name: str, result: Result) -> None:
    cells.setdefault(name, Cell()).outcomes[result.outcome] += 1


def _parameters(sampler: Sampler, number: int) -> str:
    return str(sorted(sampler.trial(number).experiment.injections[0].parameters.items()))


def _family(sampler: Sampler, attack_id: str, cell: Cell, tried: set[str]) -> Family:
    attack: Attack = sampler.attacks[attack_id]
    return Family(attack_id, cell, len(tried), space(attack), sampler.enumerates(attack_id))


def walls_told(standing: frozenset[str]) -> str:
    """``all 50 walls stood``, or which did not in some trial that counted."""
    missing = walls.in_order(walls.ALL - standing)
    if not missing:
        return f"all {len(walls.WALLS)} walls stood"
    return f"{len(standing)} of {len(walls.WALLS)} walls stood in every trial; not everywhere: {some_of(missing)}"


def told(bounds: Bounds) -> str:
    """``0 breaches in 2,995: below 0.1 % at 95 %``."""
    if not bounds.of:
        return "no trial that counts, so nothing can be said"
    word = "breach" if bounds.count == 1 else "breaches"
    limit, confidence = per_cent(bounds.upper), per_cent(statistics.CONFIDENCE)
    return f"{bounds.count:,} {word} in {bounds.of:,}: below {limit} at {confidence}"


def per_cent(proportion: float) -> str:
    """``0.1 %``, ``45 %``, ``100 %``: two digits that count."""
    return f"{100 * proportion:.2g} %" if proportion < 0.995 else "100 %"
