"""Which walls carry what: minimal cut sets, found by asking the device.

A *cut set* of an attack is a set of walls without which it gets through; it is minimal when each of its walls, put
back alone, stops it. What is printed as a minimal cut set has been seen to let the attack through, and each set that
lacks one of its walls has been seen not to. The search asks few questions: shrink one set by halves (QuickXplain:
Junker, AAAI 2004), then look for others along a hitting-set tree (Reiter, Artificial Intelligence 32, 1987), which ends
where the attack fails with only some walls up: then those walls alone suffice.

The search believes that leaving out more walls never stops an attack, and asks once for each cut set whether that is
so. Where an answer contradicts it, the row says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from evidence.outcome import Outcome
from evidence.workers import Summary
from sandbox import walls

Ask = Callable[[frozenset[str]], Summary]
#: More cut sets or questions than this, and the row says that there may be more.
CUT_SETS_MAX = 12
QUESTIONS_MAX = 400
#: How often one question is asked at most when its answer may be the host's doing.
ASKED_MAX = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """A minimal cut set, and the line of the experiment in which the attack got through."""

    walls: frozenset[str]
    line: str


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one attack: its outcome with all walls, and its cut sets.

    ``is_complete``: no other minimal cut set exists, if the search's belief holds. ``doubts`` are answers that nobody
    could tell, or that contradict it, as sentences.
    """

    attack_id: str
    outcome: Outcome
    reason: str
    cuts: tuple[Cut, ...] = ()
    is_complete: bool = False
    questions: int = 0
    doubts: tuple[str, ...] = ()
    #: Parameters that the attack was given, as ``signer=revoked``; empty: what it takes by itself.
    variant: str = ""

    @property
    def name(self) -> str:
        """``B09``, or ``B09(signer=revoked)``."""
        return f"{self.attack_id}({self.variant})" if self.variant else self.attack_id

    @property
    def carriers(self) -> frozenset[str]:
        """Walls that stand in at least one cut set."""
        return frozenset[str]().union(*(cut.walls for cut in self.cuts))


class _TooMany(Exception):
    """The search has asked all that it may."""


@dataclass(slots=True)
class _Oracle:
    """Asks the device, once for each set of walls that stands."""

    ask: Ask
    is_root: bool
    #: Whether the attack works by chance, so that once without effect says little.
    is_a_race: bool = False
    #: Whether losing its window is what happens to the attack when it is stopped.
    loses_its_window: bool = False
    questions: int = 0
    answers: dict[frozenset[str], Summary] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def gets_through(self, without: frozenset[str]) -> bool:
        """Whether the attack has its effect without these walls. An answer that cannot be told is a doubt, and no."""
        return bool(self.summary(without).got_through)

    def summary(self, without: frozenset[str]) -> Summary:
        """What became of the attack without these walls; asked once for what then stands."""
        up = walls.standing(without, is_root=self.is_root)
        if up not in self.answers:
            if self.questions >= QUESTIONS_MAX:
                raise _TooMany
            told = self._ask(without)
            if told.got_through is None:
                self.doubts.append(f"without {_names(without)}: {told.outcome}: {'; '.join(told.reasons)}")
            elif not told.got_through and told.lost_a_window and not self.loses_its_window:
                self.doubts.append(f"without {_names(without)}: it lost its window each time it was asked")
            self.answers[up] = told
        return self.answers[up]

    def behind_all_walls(self) -> Summary:
        """As ``summary``; where the attack itself had no effect but outputs differed, asked again.

        A busy host that takes a critical partition's window makes outputs differ, too. What was seen stays a doubt.
        """
        told = self.summary(frozenset())
        for _ in range(ASKED_MAX - 1):
            if (
                told.outcome != Outcome.BREACH.value
                or any(one.succeeded for one in told.effects)
                or told.leaks
            ):
                break
            self.doubts.append(f"behind all walls, once: {'; '.join(told.reasons)}")
            self.questions += 1
            told = self.ask(frozenset())
        self.answers[walls.standing(frozenset(), is_root=self.is_root)] = told
        return told

    def _ask(self, without: frozenset[str]) -> Summary:
        """Once; and again when a sample may have been missed, a busy host may have taken the attacker's window, or the
        attack is a race that it may have lost.
        """
        for asked in range(1, ASKED_MAX + 1):
            self.questions += 1
            told = self.ask(without)
            may_be_chance = told.lost_a_window or self.is_a_race
            is_sure = told.got_through is not None and (told.got_through or not may_be_chance)
            if is_sure or asked == ASKED_MAX:
                return told
        raise AssertionError("asked no question")

    def contradictions(self) -> list[str]:
        """Pairs of answers in which fewer walls stopped what more walls let through."""
        found = []
        for more, stopped in self.answers.items():
            for fewer, through in self.answers.items():
                if more < fewer and stopped.got_through is False and through.got_through:
                    found.append(
                        f"it got through with {_names(fewer - more)} up and was stopped with less; "
                        "its cut sets may be wrong"
                    )
        return found


def _names(some: frozenset[str]) -> str:
    return ", ".join(walls.in_order(some)) or "no wall"


def search(
    attack_id: str,
    ask: Ask,
    available: frozenset[str],
    hint: tuple[str, ...] = (),
    *,
    is_root: bool,
    loses_its_window: bool = False,
    is_a_race: bool = False,
    masked_by: str = "",
) -> Row:
    """Find the minimal cut sets of one attack. ``available`` are the walls that this host can raise.

    ``masked_by`` is why the host itself forbids the attack, empty when nothing is known to: if it has no effect without
    any wall, that is the reason.

    ``loses_its_window``: the attacker does, or its life, when the attack is stopped. For any other a lost window may be
    the doing of a busy host, and an answer that rests on one is a doubt.
    """
    oracle = _Oracle(ask, is_root, is_a_race, loses_its_window)
    walled = oracle.behind_all_walls()
    if walled.outcome == Outcome.NOT_ACTIVATED.value and masked_by:
        outcome, why = _without_effect(oracle.summary(walls.ALL), masked_by)
        if outcome is Outcome.MASKED_BY_HOST:
            return Row(attack_id, outcome, why, questions=oracle.questions)
    if walled.outcome != Outcome.HELD.value:
        return Row(attack_id, Outcome(walled.outcome), "; ".join(walled.reasons), questions=oracle.questions)
    everything = frozenset(available)
    control = oracle.summary(walls.ALL)
    if control.got_through is not True:
        outcome, why = _without_effect(control, masked_by)
        return Row(attack_id, outcome, why, questions=oracle.questions, doubts=tuple(oracle.doubts))
    cuts: list[frozenset[str]] = []
    is_complete = True
    try:
        is_complete = _tree(oracle, everything, frozenset(hint) & everything, cuts)
    except _TooMany:
        is_complete = False
    cuts = [
        cut for cut in cuts if not any(other < cut for other in cuts)
    ]  # answers may have contradicted each other
    found = tuple(Cut(cut, oracle.answers[walls.standing(cut, is_root=is_root)].line) for cut in cuts)
    doubts = (*oracle.doubts, *oracle.contradictions())
    return Row(
        attack_id,
        Outcome.HELD,
        "; ".join(walled.reasons),
        found,
        is_complete and not doubts,
        oracle.questions,
        doubts,
    )


def _without_effect(control: Summary, masked_by: str) -> tuple[Outcome, str]:
    """What to call an attack that did not get through without any wall, and why."""
    why = f"without any wall: {'; '.join(control.reasons)}"
    if masked_by:
        never_ran = control.outcome == Outcome.NOT_ACTIVATED.value
        if control.got_through is False or never_ran:
            return Outcome.MASKED_BY_HOST, f"this host itself forbids it, {masked_by} ({why})"
    return (Outcome.UNKNOWN if control.got_through is None else Outcome.VACUOUS), why


def _tree(
    oracle: _Oracle, everything: frozenset[str], hint: frozenset[str], cuts: list[frozenset[str]]
) -> bool:
    """Reiter's tree: each node keeps some walls up and asks whether the attack gets through without the others.

    Fills ``cuts``; returns whether all were found.
    """
    waiting: list[frozenset[str]] = [frozenset()]
    asked: set[frozenset[str]] = set()
    while waiting:
        kept = waiting.pop(0)
        if kept in asked:
            continue
        asked.add(kept)
        known = next((cut for cut in cuts if not cut & kept), None)
        if known is None:
            if len(cuts) >= CUT_SETS_MAX:
                return False
            free = everything - kept
            if not oracle.gets_through(free):
                continue
            start = hint & free
            known = _shrink(oracle, start if start and oracle.gets_through(start) else free, hint)
            while smaller := _smaller(oracle, known):  # answers by chance may have misled the halves
                known = _shrink(oracle, smaller, hint)
            cuts.append(known)
            oracle.gets_through(known | _every_second(everything - known))  # what the search believes
        waiting += [kept | {wall} for wall in sorted(known)]
    return True


def _smaller(oracle: _Oracle, known: frozenset[str]) -> frozenset[str]:
    """``known`` with one wall put back, if the attack still gets through; empty: ``known`` is minimal."""
    fewer = (known - {wall} for wall in sorted(known))
    return next((some for some in fewer if some and oracle.gets_through(some)), frozenset())


def _every_second(some: frozenset[str]) -> frozenset[str]:
    return frozenset(walls.in_order(some)[::2])


def _shrink(oracle: _Oracle, without: frozenset[str], hint: frozenset[str]) -> frozenset[str]:
    """A minimal subset of ``without`` without which the attack still gets through (QuickXplain).

    Walls that the attack's file names come first, so that they are kept when there is a choice.
    """
    order = sorted(walls.in_order(without), key=lambda name: name not in hint)
    return _explain(oracle, frozenset(), [], order)


def _explain(
    oracle: _Oracle, background: frozenset[str], added: list[str], order: list[str]
) -> frozenset[str]:
    if added and oracle.gets_through(background):
        return frozenset()
    if len(order) == 1:
        return frozenset(order)
    half = len(order) // 2
    first, second = order[:half], order[half:]
    from_second = _explain(oracle, background | frozenset(first), first, second)
    from_first = _explain(oracle, background | from_second, sorted(from_second), first)
    return from_first | from_second
