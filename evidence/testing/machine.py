"""A state machine that is the taken-over partition: what it does, Hypothesis decides.

Its rules write a script, one part for each frame. At the end the script is run as one experiment: code in the image of
the partition sends it, on a real device behind all walls, and the result is judged. A script that gets through is
shrunk, and reported with the experiment's one line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from evidence.testing.harness import Harness, PortUnderTest, Result, UsageWrong
from evidence.testing.strategies import Kind, payloads
from faults.attacks import s01_script
from faults.attacks.s01_script import Step

FRAMES_MAX = 12
FLOOD_MAX = 200
_DATA: Any = st.data()


@dataclass(slots=True)
class _Memory:
    """Each script is run once: a device gives the same answer again. ``bulkhead`` runs them."""

    bulkhead: Harness
    known: dict[tuple[str, ...], Result] = field(default_factory=dict)
    shrinking_runs: int = 0
    shortest: AssertionError | None = None
    characters: int = 0

    def keep(self, failure: AssertionError, scripts: tuple[str, ...]) -> None:
        """Remember the failure of the shortest script."""
        characters = sum(map(len, scripts)) + len(scripts)
        if self.shortest is None or characters < self.characters:
            self.shortest, self.characters = failure, characters


class _Enough(BaseException):
    """A script got through and was shortened long enough. No ``Exception``: Hypothesis would go on."""


class CompromisedPartition(RuleBasedStateMachine):
    """Subclass it to add rules, to name another partition or to judge otherwise; ``search`` runs it."""

    #: The partition that is taken over; empty: the first that is networked.
    partition: ClassVar[str] = ""
    #: Walls to leave out: names, or ``"all"``. With any left out, only containment is judged.
    without: ClassVar[str | Iterable[str]] = ()
    #: The frame of the first part of the script.
    frame: ClassVar[int] = 4
    #: How many more runs are made, once a script got through, to find a shorter one.
    shrinking_runs_max: ClassVar[int] = 60
    #: Given by ``search``.
    memory: ClassVar[_Memory]

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[list[Step]] = [[]]
        bulkhead = self.memory.bulkhead
        self._who = self.partition or _networked(bulkhead)
        every = bulkhead.outputs()
        self._own = [port for port in every if port.name.startswith(self._who + ".")]
        self._foreign = [port for port in every if port not in self._own]

    @classmethod
    def search(cls, bulkhead: Harness, scripts: int = 12, steps: int = 6) -> tuple[Result, ...]:
        """Try so many scripts of so many steps, and return what became of each. Raises what ``judge`` raises."""
        memory = _Memory(bulkhead)
        given = settings(
            max_examples=scripts,
            stateful_step_count=steps,
            deadline=None,
            database=None,  # the experiment's line is what runs it again
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(type(cls.__name__, (cls,), {"memory": memory}), settings=given)
        except _Enough:
            assert memory.shortest is not None
            raise memory.shortest from None
        if not memory.known:
            raise AssertionError("no script was run, so nothing was observed; try more scripts")
        return tuple(memory.known.values())

    # --- the rules ---

    @rule(data=_DATA)
    def send_valid(self, data: Any) -> None:
        """A message that the port carries, edges included."""
        self._send(data, self._own, "valid")

    @rule(data=_DATA)
    def send_nearly_valid(self, data: Any) -> None:
        """A message with one thing wrong."""
        self._send(data, self._own, "nearly_valid")

    @rule(data=_DATA)
    def send_hostile(self, data: Any) -> None:
        """Bytes that are no message."""
        self._send(data, self._own, "hostile")

    @rule(data=_DATA)
    def send_to_a_port_of_others(self, data: Any) -> None:
        """A sound message, to a port to which it has no right to speak."""
        self._send(data, self._foreign, "valid")

    @rule(data=_DATA, count=st.integers(2, FLOOD_MAX))
    def flood(self, data: Any, count: int) -> None:
        """One sound message, many times in one frame."""
        self._send(data, self._own, "valid", count)

    @rule()
    def fall_silent(self) -> None:
        """Keep the window, and say nothing more in it."""
        self._step(Step("silent"))
        self.next_frame()

    @rule()
    def crash(self) -> None:
        """End its own process."""
        self._step(Step("crash"))
        self.next_frame()

    @rule()
    def next_frame(self) -> None:
        """Go on in the next frame."""
        if len(self._parts) < FRAMES_MAX:
            self._parts.append([])

    # --- what becomes of it ---

    def judge(self, result: Result) -> None:
        """What must hold of every script; raise ``AssertionError`` where it does not."""
        result.assert_contained()
        if not self.without:
            result.assert_noninterference().assert_no_missed_deadline()

    def teardown(self) -> None:
        """Run the script, and judge. Without a step there is nothing to run, nor where Hypothesis gave it up."""
        if sys.exc_info()[0] is not None:
            return
        while self._parts and not self._parts[-1]:
            self._parts.pop()
        if not self._parts:
            return
        scripts = tuple(map(s01_script.told, self._parts))
        try:
            self.judge(self._result(scripts))
        except AssertionError as failure:
            for frame, script in enumerate(scripts, self.frame):
                failure.add_note(f"frame {frame}: {script or 'nothing'}")
            self.memory.keep(failure, scripts)
            raise

    def _result(self, scripts: tuple[str, ...]) -> Result:
        memory = self.memory
        if scripts not in memory.known:
            if memory.shortest is not None:
                memory.shrinking_runs += 1
                if memory.shrinking_runs > self.shrinking_runs_max:
                    raise _Enough
            memory.known[scripts] = memory.bulkhead.send(self._who, scripts, self.frame, self.without)
        return memory.known[scripts]

    def _send(self, data: Any, ports: list[PortUnderTest], kind: Kind, count: int = 1) -> None:
        if not ports:
            return
        port = data.draw(st.sampled_from(ports), label="port")
        self._step(Step("send", port.name, data.draw(payloads(port, kind), label=kind), count))

    def _step(self, step: Step) -> None:
        part = self._parts[-1]
        if len(part) < s01_script.STEPS_MAX:
            part.append(step)


def _networked(bulkhead: Harness) -> str:
    design = bulkhead.loaded
    found = next((one.name for one in design.partitions if one.is_networked), None)
    if found is None:
        raise UsageWrong(f"no partition of {design.name} is networked; name one as partition")
    return found
