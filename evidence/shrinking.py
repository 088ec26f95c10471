"""Shrinking: from an experiment in which something got through to a smaller one in which it still does.

What got through has a name, its *symptom*: an attack's effect, a secret that came out, harm, or an output that differs.
A smaller experiment counts only if it shows one of the original's gravest symptoms. Injections are left out by delta
debugging (Zeller and Hildebrandt, IEEE Transactions on Software Engineering 28, 2002), each parameter is made as mild
as its range allows, walls are put back (QuickXplain: Junker, AAAI 2004), then the attack comes earlier, the run ends
sooner, and seed and patient become the usual ones. That is gone through again until nothing changes.

An answer that cannot be told is asked again, a bounded number of times, and never taken for "it still gets through".
What is found is confirmed by repeats: where they differ, that is said, and a larger experiment that is sure goes
before it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256

from evidence.experiment import Experiment
from evidence.outcome import Outcome
from evidence.workers import Summary
from faults import attack_files, usual
from faults.attack import Attack, Between, Injection, Value
from sandbox import walls

Ask = Callable[[str], Summary]
#: All questions to the device together; so many are kept back to confirm what was found.
QUESTIONS_MAX = 200
CONFIRMING_MAX = 30
#: How often one question is asked at most while its answer cannot be told.
ASKED_MAX = 3
#: How often an experiment has to show the symptom, out of as many, to be called sure.
REPEATS = 3
ROUNDS_MAX = 4


@dataclass(frozen=True, slots=True)
class Symptom:
    """One way in which something got through. ``what``: the attack's id, or the port whose output differs first."""

    kind: str
    what: str = ""

    def __str__(self) -> str:
        return {
            "effect": f"the effect of {self.what}",
            "secret": "a secret that came out",
            "harm": "harm to the patient",
            "divergence": f"a different output on {self.what}",
        }[self.kind]


#: The gravest first, as far as this can be put into an order: an effect is what an experiment looks for.
_KINDS = ("effect", "secret", "harm", "divergence")


def symptoms(told: Summary) -> tuple[Symptom, ...]:
    """What got through, the gravest kind first."""
    found = [Symptom("effect", one.attack_id) for one in told.effects if one.succeeded]
    found += [Symptom("secret")] if told.leaks else []
    found += [Symptom("harm")] if told.severity not in ("", "S0") else []
    if told.difference:  # "frame 15, therapy.status.mode: ..."
        place = told.difference.partition(", ")[2].partition(":")[0]
        found += [Symptom("divergence", ".".join(place.split(".")[:2]))]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Step:
    """Progress: what is being tried or was found, and the smallest experiment so far."""

    sentence: str
    smallest: Experiment
    questions: int


@dataclass(frozen=True, slots=True)
class Shrunk:
    """``smallest`` still shows ``kept``; ``lost`` are symptoms of the original that it does not show any more.

    It got through ``confirmed`` times of ``repeats``. ``is_whole``: the search came to its end within its questions.
    ``doubts`` are answers that nobody could tell, and repeats that differ, as sentences.
    """

    original: Experiment
    smallest: Experiment
    told: Summary
    kept: tuple[Symptom, ...]
    lost: tuple[Symptom, ...]
    questions: int
    confirmed: int
    repeats: int
    is_whole: bool
    doubts: tuple[str, ...] = ()

    @property
    def is_sure(self) -> bool:
        """Whether every repeat got through."""
        return self.confirmed == self.repeats > 0

    @property
    def is_breach(self) -> bool:
        """Whether a replay is judged BREACH. Without a wall, an output that merely differs is none."""
        return self.told.outcome == Outcome.BREACH.value


class NothingToShrink(Exception):
    """Nothing got through, or it cannot be told; the sentence says which."""


def shrink(
    experiment: Experiment,
    ask: Ask,
    on_step: Callable[[Step], None] = lambda _: None,
    *,
    at_once: int = 1,
) -> Shrunk:
    """Find a smaller experiment that gets through in the same way. Raises ``NothingToShrink`` and ``AttackFileWrong``.

    ``ask`` performs the experiment of a line; with ``at_once`` above 1 it is called from so many threads. The same
    answers give the same result. An attack that the design lacks raises ``KeyError``: see ``evidence.fitting`` before.
    """
    first = _first_answer(experiment, ask)
    all_of_it = symptoms(first.told)
    gravest = min(_KINDS.index(one.kind) for one in all_of_it)
    target = frozenset(one for one in all_of_it if one.kind == _KINDS[gravest])
    attacks = {one.attack_id: first.attacks[one.attack_id] for one in experiment.injections}
    with ThreadPoolExecutor(at_once) as threads:
        search = _Search(
            ask, target, attacks, threads, at_once, on_step, experiment, questions=first.questions
        )
        search.answers[experiment.line] = first.told
        is_whole = search.run()
        told, confirmed = search.confirm()
    found = symptoms(told)
    return Shrunk(
        experiment,
        search.smallest,
        told,
        tuple(one for one in all_of_it if one in found),
        tuple(one for one in all_of_it if one not in found),
        search.questions,
        confirmed,
        REPEATS,
        is_whole,
        tuple(search.doubts),
    )


@dataclass(frozen=True, slots=True)
class _First:
    told: Summary
    questions: int
    attacks: dict[str, Attack]


def _first_answer(experiment: Experiment, ask: Ask) -> _First:
    """The first of a few answers in which something got through. Raises ``NothingToShrink``."""
    folder = experiment.design
    attacks = dict(attack_files.built(folder if folder.is_dir() else folder.parent))
    told = Summary(experiment.line, Outcome.NO_REPLY.value)
    for asked in range(1, ASKED_MAX + 1):
        told = ask(experiment.line)
        if symptoms(told):
            return _First(told, asked, attacks)
        if not _is_blind(told, may_lose_its_window=False):
            break
    reasons = "; ".join(told.reasons) or told.outcome
    if _is_blind(told, may_lose_its_window=True):
        raise NothingToShrink(f"whether anything got through cannot be told: {told.outcome}: {reasons}")
    raise NothingToShrink(f"nothing got through ({told.outcome}: {reasons}); there is nothing to shrink")


def _is_blind(told: Summary, *, may_lose_its_window: bool) -> bool:
    """Whether an answer without a symptom may be the host's doing."""
    if told.outcome in (Outcome.NO_REPLY.value, Outcome.UNKNOWN.value) or not told.effects:
        return True
    if any(one.succeeded is None for one in told.effects) and told.outcome != Outcome.NOT_ACTIVATED.value:
        return True
    return told.lost_a_window and not may_lose_its_window


@dataclass(slots=True)
class _Search:
    """Holds the smallest experiment so far, and asks whether smaller ones still get through."""

    ask: Ask
    target: frozenset[Symptom]
    attacks: dict[str, Attack]
    threads: ThreadPoolExecutor
    at_once: int
    on_step: Callable[[Step], None]
    smallest: Experiment
    questions: int = 0
    answers: dict[str, Summary] = field(default_factory=dict)
    trail: list[Experiment] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def run(self) -> bool:
        """All reductions, again and again until none applies. Returns whether it came to that."""
        self.trail.append(self.smallest)
        try:
            for _ in range(ROUNDS_MAX):
                before = self.smallest
                self._injections()
                self._fewer_frames()
                self._parameters()
                self._walls()
                self._earlier()
                self._fewer_frames()
                self._usual_chance()
                if self.smallest == before:
                    return True
        except _TooMany:
            self.doubts.append(
                f"the search ended after {self.questions} questions; there may be a smaller one"
            )
            return False
        self.doubts.append(f"the search ended after {ROUNDS_MAX} rounds; there may be a smaller one")
        return False

    # --- asking ---

    def still(self, candidate: Experiment, sentence: str) -> bool:
        """Whether the candidate still gets through; then it is the smallest."""
        return candidate == self.smallest or self.first([(candidate, sentence)])

    def first(self, candidates: Iterable[tuple[Experiment, str]]) -> bool:
        """Take the first candidate that still gets through, if any; so many are asked at once. Raises ``_TooMany``."""
        waiting = list(candidates)
        for start in range(0, len(waiting), self.at_once):
            some = waiting[start : start + self.at_once]
            for (candidate, sentence), told in zip(some, self._tell([one for one, _ in some]), strict=True):
                if self.target & set(symptoms(told)):
                    self.smallest = candidate
                    self.trail.append(candidate)
                    self.on_step(Step(sentence, candidate, self.questions))
                    return True
        return False

    def _tell(self, candidates: Sequence[Experiment]) -> list[Summary]:
        """The answer to each; what cannot be told is asked again, and noted if it stays so."""
        lines = list(dict.fromkeys(one.line for one in candidates if one.line not in self.answers))
        for asked in range(1, ASKED_MAX + 1):
            if not lines:
                break
            if self.questions + len(lines) > QUESTIONS_MAX - CONFIRMING_MAX:
                raise _TooMany
            self.questions += len(lines)
            for line, told in zip(lines, self.threads.map(self.ask, lines), strict=True):
                self.answers[line] = told
            lines = [line for line in lines if self._is_unsure(self.answers[line])]
            if asked == ASKED_MAX:
                self.doubts += [
                    f"not told in {ASKED_MAX} times: {line}: {_why(self.answers[line])}" for line in lines
                ]
        return [self.answers[one.line] for one in candidates]

    def _is_unsure(self, told: Summary) -> bool:
        if self.target & set(symptoms(told)):
            return False
        loses = any(attack.costs_a_restart for attack in self.attacks.values())
        return _is_blind(told, may_lose_its_window=loses)

    def confirm(self) -> tuple[Summary, int]:
        """Ask again for the smallest; where repeats differ, look by halves for the smallest before it that is sure.

        Returns an answer, and how many repeats got through. When none is sure, the one that got through most often is
        taken; of two alike, the smaller.
        """
        tried: dict[int, tuple[Summary, int]] = {}
        sure, unsure = -1, len(self.trail)
        place = len(self.trail) - 1
        while unsure - sure > 1 and self.questions + REPEATS <= QUESTIONS_MAX:
            tried[place] = self._repeat(self.trail[place])
            times = tried[place][1]
            if times == REPEATS:
                sure = place
            else:
                unsure = place
                self.doubts.append(
                    f"flaky: it got through in {times} of {REPEATS} repeats of {self.trail[place].line}"
                )
            place = (sure + unsure) // 2
        place = max(tried, key=lambda at: (tried[at][1], at))
        self.smallest = self.trail[place]
        return tried[place]

    def _repeat(self, one: Experiment) -> tuple[Summary, int]:
        """The last answer in which it got through (else the one before), and how many of ``REPEATS`` did."""
        last, times = self.answers[one.line], 0
        for told in self.threads.map(self.ask, [one.line] * REPEATS):
            self.questions += 1
            if self.target & set(symptoms(told)):
                last, times = told, times + 1
        return last, times

    # --- what is made smaller ---

    def _injections(self) -> None:
        """Delta debugging: leave out ever smaller parts while it still gets through."""
        parts = 2
        while len(self.smallest.injections) > 1:
            all_of_them = self.smallest.injections
            size = -(-len(all_of_them) // parts)
            places = [range(at, min(at + size, len(all_of_them))) for at in range(0, len(all_of_them), size)]
            only = [[all_of_them[i] for i in each] for each in places]
            rest = [[one for i, one in enumerate(all_of_them) if i not in each] for each in places]
            told = f"of {len(all_of_them)} injections are enough"
            if self.first((self._with(some), f"{len(some)} {told}") for some in (*only, *rest)):
                is_part = len(self.smallest.injections) <= size
                parts = 2 if is_part else max(parts - 1, 2)
            elif size == 1:
                return
            else:
                parts = min(parts * 2, len(all_of_them))

    def _with(self, injections: Sequence[Injection]) -> Experiment:
        return replace(self.smallest, injections=tuple(injections))

    def _parameters(self) -> None:
        for place in range(len(self.smallest.injections)):
            for name in sorted(self.smallest.injections[place].parameters):
                self._milder(place, name)
                one = self.smallest.injections[place]
                if usual.of(self.attacks[one.attack_id]).get(name, ...) == one.parameters[name]:
                    kept = {key: value for key, value in one.parameters.items() if key != name}
                    self.still(
                        self._at(place, replace(one, parameters=kept)), f"{one.attack_id}: {name} is as usual"
                    )

    def _milder(self, place: int, name: str) -> None:
        """Make one parameter as mild as its range allows."""
        known = self.attacks[self.smallest.injections[place].attack_id].parameters.get(name)
        value = self.smallest.injections[place].parameters[name]
        if known is None or not known.has(value):
            return
        if isinstance(known, Between):
            assert isinstance(value, int)
            low, high = known.low, value
            if not self.still(self._set(place, name, low), f"{name} {low} is enough"):
                self._bisect(low, high, lambda middle: self._set(place, name, middle), name)
            return
        self.first((self._set(place, name, one), f"{name} {one} is enough") for one in known.smaller(value))

    def _bisect(self, fails: int, holds: int, candidate: Callable[[int], Experiment], name: str) -> None:
        """The least number that gets through, between one that does not and one that does."""
        while holds - fails > 1:
            middle = (fails + holds) // 2
            if self.still(candidate(middle), f"{name} {middle} is enough"):
                holds = middle
            else:
                fails = middle

    def _set(self, place: int, name: str, value: Value) -> Experiment:
        one = self.smallest.injections[place]
        return self._at(place, replace(one, parameters={**one.parameters, name: value}))

    def _at(self, place: int, one: Injection) -> Experiment:
        injections = list(self.smallest.injections)
        injections[place] = one
        return self._with(injections)

    def _walls(self) -> None:
        """The fewest walls left out: halves by QuickXplain, then one by one."""
        out = self.smallest.without
        if not out or self.still(self._without(frozenset()), "it gets through all walls"):
            return
        self._explain(frozenset(), (), walls.in_order(out))
        for name in walls.in_order(self.smallest.without):
            fewer = self.smallest.without - {name}
            self.still(self._without(fewer), f"{name} can be put back")

    def _explain(
        self, background: frozenset[str], added: Sequence[str], order: Sequence[str]
    ) -> frozenset[str]:
        if added and self.still(self._without(background), f"without {_names(background)} is enough"):
            return frozenset()
        if len(order) == 1:
            return frozenset(order)
        half = len(order) // 2
        first, second = order[:half], order[half:]
        from_second = self._explain(background | frozenset(first), first, second)
        from_first = self._explain(background | from_second, sorted(from_second), first)
        if not background:
            self.still(
                self._without(from_first | from_second),
                f"without {_names(from_first | from_second)} is enough",
            )
        return from_first | from_second

    def _without(self, without: frozenset[str]) -> Experiment:
        return replace(self.smallest, without=without)

    def _earlier(self) -> None:
        """Each attack as early as it still works, the first one first, each in a frame of its own."""
        low = 1
        for place in sorted(
            range(len(self.smallest.injections)), key=lambda i: self.smallest.injections[i].frame
        ):
            frame = self.smallest.injections[place].frame
            if frame > low and not self.still(self._moved(place, low), f"frame {low} is late enough"):
                self._bisect(low, frame, partial(self._moved, place), "frame")
            low = self.smallest.injections[place].frame + 1

    def _moved(self, place: int, frame: int) -> Experiment:
        """With one attack in an earlier frame. A run of one attack keeps the frames after it."""
        one = self.smallest.injections[place]
        moved = self._at(place, replace(one, frame=frame))
        if len(self.smallest.injections) > 1:
            return moved
        return replace(moved, frames=self.smallest.frames - (one.frame - frame))

    def _fewer_frames(self) -> None:
        """What the attacks' files say is long enough, and no fewer: a shorter run would say nothing."""
        ends = [
            one.frame + self.attacks[one.attack_id].shows_within_frames for one in self.smallest.injections
        ]
        enough = max(ends)
        if enough < self.smallest.frames and not self.still(self._for(enough), f"{enough} frames are enough"):
            self._bisect(enough, self.smallest.frames, self._for, "frames")

    def _for(self, frames: int) -> Experiment:
        return replace(self.smallest, frames=min(frames, self.smallest.frames))

    def _usual_chance(self) -> None:
        if self.smallest.seed != 1:
            self.still(replace(self.smallest, seed=1), "it does not hang on the seed")
        if self.smallest.patient != 0:
            self.still(replace(self.smallest, patient=0), "it does not hang on the patient")
        if self.smallest.clock != "virtual":
            self.still(replace(self.smallest, clock="virtual"), "it does not hang on the clock")


class _TooMany(Exception):
    """The search has asked all that it may."""


def _names(some: frozenset[str]) -> str:
    return ", ".join(walls.in_order(some)) or "no wall"


def _why(told: Summary) -> str:
    return f"{told.outcome}: {'; '.join(told.reasons)}"


# --- as a test ---

#: By its first line a file is known to have been written here, and may be written again.
FILE_HEADER = '"""Written by run_device.py shrink.'
_FILE_DOCSTRING = f"""{FILE_HEADER}

What it replays got through when this was written, so the test fails until that is mended.
\"\"\"
"""
_LINE_CHARS_MAX = 100


class NoTest(ValueError):
    """A shrunk experiment of which no test can be made; the sentence says why."""


def as_test(shrunk: Shrunk) -> str:
    """A test for pytest that fails while this gets through, and passes once it is mended. Raises ``NoTest``.

    It needs the fixture ``bulkhead`` of ``evidence.testing.plugin``.
    """
    if not shrunk.is_breach:
        raise NoTest(
            f"a replay of it is judged {shrunk.told.outcome}, which is no breach: with walls left out an output that "
            "differs from the calm run's is none, so there is nothing for a test to fail on"
        )
    line = shrunk.smallest.line
    parts = [_quoted(part) for part in _cut(line)]
    within = parts[0] if len(parts) == 1 else "\n        " + "\n        ".join(parts) + "\n    "
    if len(parts) == 1 and len(parts[0]) > _LINE_CHARS_MAX - len("    bulkhead.replay().assert_held()"):
        within = f"\n        {within}\n    "
    signature = f"def {_name_of(shrunk.smallest)}(bulkhead):"
    return f"{signature}\n{_docstring(shrunk)}\n    bulkhead.replay({within}).assert_held()\n"


def as_file(shrunk: Shrunk) -> str:
    """A whole file that holds the test. Raises ``NoTest``."""
    return f"{_FILE_DOCSTRING}\n\n{as_test(shrunk)}"


def _name_of(one: Experiment) -> str:
    """By the first attack, and by a digest that no other experiment's line has."""
    first = one.schedule[0]
    more = f"_and_{len(one.injections) - 1}_more" if len(one.injections) > 1 else ""
    digest = sha256(one.line.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"test_{first.attack_id.lower()}_at_frame_{first.frame}{more}_{digest}_is_held"


def _docstring(shrunk: Shrunk) -> str:
    """What got through, in plain characters."""
    told = " ".join("; ".join(shrunk.told.reasons).split()) or ", ".join(map(str, shrunk.kept))
    plain = "".join(c if c.isprintable() else " " for c in told).replace("\\", "/").replace('"', "'").strip()
    lines = textwrap.wrap(plain, _LINE_CHARS_MAX - 8) or [", ".join(map(str, shrunk.kept))]
    if len(lines) == 1:
        return f'    """{lines[0]}"""'
    return '    """' + "\n    ".join(lines) + '\n    """'


def _cut(line: str) -> Iterator[str]:
    """The line in parts that fit into a file, cut behind blanks where there are some."""
    room = _LINE_CHARS_MAX - len("    bulkhead.replay().assert_held()") - 2
    if len(line) <= room:
        yield line
        return
    room = _LINE_CHARS_MAX // 2  # each character may need another before it
    while len(line) > room:
        at = line.rfind(" ", 1, room) + 1 or line.rfind(",", 1, room) + 1 or room
        yield line[:at]
        line = line[at:]
    if line:
        yield line


def _quoted(text: str) -> str:
    """A literal, with the quotes of which the text has fewer."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\\", "\\\\")
    )
    return quote + shown.replace(quote, "\\" + quote) + quote
