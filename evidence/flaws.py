"""The flaw of a design that let an attack through, named: an unbounded field, a wall that is missing, an open file.

What a detector saw gives the field or the file. Which missing wall would have stopped the attack is not believed of
anybody: where the device can be asked, the experiment is done again with that wall put up for its partition.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace

from evidence import experiment
from evidence.experiment import Experiment
from evidence.outcome import Outcome
from evidence.workers import Summary, Told
from faults import attack_files
from faults.attack import Injection
from ipc_schemas.bounds import unbounded_fields
from monitor.design import Design
from monitor.loader import load_schemas
from sandbox import walls

#: Performs the experiment that a line tells of, as ``evidence.workers.Worker.ask`` does.
Ask = Callable[[str], Summary]


def named(summary: Summary, design: Design, ask: Ask | None = None) -> tuple[str, ...]:
    """What of ``design`` let through what the summary tells of, a sentence each; empty when that is not known.

    Without ``ask``, the missing walls are those that the attack's own file names, and the sentence says so. With it,
    they are those with which the attack was seen to be stopped: one to three runs for each wall that the attacked
    partition lacks. Raises ``LineWrong`` when the summary's line is no experiment.
    """
    if summary.outcome != Outcome.BREACH.value:
        return ()
    asked = experiment.read(summary.line)
    found: list[str] = []
    for one, told in zip(asked.schedule, summary.effects, strict=True):
        if told.succeeded and told.culprit:
            found.append(_field(told, design) or _open_file(told, one, design))
    attacks = attack_files.built(design.folder)
    taken_over = [one.partition for one in asked.schedule if attacks[one.attack_id].tamper is None]
    for name in dict.fromkeys(taken_over):
        lacks = walls.in_order(design.partition(name).lacks)
        against = _against([one for one in asked.schedule if one.partition == name], design)
        named_in_file = [wall for wall in lacks if wall in against]
        if ask is not None:
            found += _seen_missing(summary, asked, name, lacks, named_in_file, ask)
        else:
            found += [_by_its_file(wall, name) for wall in named_in_file]
    return tuple(dict.fromkeys(found))


def _by_its_file(wall: str, partition: str) -> str:
    return f"{wall} is not among the walls of {partition}; by the attack's own file it stands against it"


def _field(told: Told, design: Design) -> str:
    """The sentence about a field of a port, or nothing when the culprit is none."""
    port = next((p for p in design.ports if told.culprit.startswith(f"{p.full_name}.")), None)
    if port is None:
        return ""
    message_type = getattr(load_schemas(design), port.message)
    field = re.sub(r"\[\d+\]", "[]", told.culprit.removeprefix(f"{port.full_name}."))
    for unbounded in unbounded_fields(message_type):
        path, _, why = unbounded.partition(": ")
        if path.partition(".")[2] == field:
            return f"the field {told.culprit} is unbounded: {port.message}.{field} is {why}"
    return (
        f"the field {told.culprit} has bounds that are worth nothing: {told.sentence} "
        f"give {port.message}.{field} those of the quantity that it stands for"
    )


def _open_file(told: Told, one: Injection, design: Design) -> str:
    start = f"a descriptor on {told.culprit} is open in {one.partition}, which nobody gave it"
    if "fds" in design.partition(one.partition).lacks:
        return f"{start}: fds is not among its walls, so it keeps what its launcher holds"
    opened = "code of the design opened it there after the start"
    return f"{start}: {opened}; close it, and see that {os.path.basename(told.culprit)} cannot be reached"


def _against(injections: list[Injection], design: Design) -> frozenset[str]:
    attacks = attack_files.built(design.folder)
    return frozenset(wall for one in injections for wall in attacks[one.attack_id].walls)


def _seen_missing(
    summary: Summary, asked: Experiment, partition: str, lacks: list[str], in_file: list[str], ask: Ask
) -> list[str]:
    """One sentence for each missing wall that stopped it alone; or one for all, where only all together do.

    ``in_file`` are those of ``lacks`` that the attack's own file names: what is left where no answer could be had.
    """
    found, untold = [], []
    for wall in lacks:
        answer = ask(replace(asked, restored=frozenset((f"{partition}.{wall}",))).line)
        stopped = _stopped(summary, answer)
        if stopped:
            found.append(f"{wall} is not among the walls of {partition}: put up for it, it stopped {stopped}")
        elif answer.got_through is None and wall in in_file:
            untold.append(
                f"{_by_its_file(wall, partition)} (put up for it, whether it did could not be told)"
            )
    if found or untold or len(lacks) < 2:
        return found + untold
    restored = frozenset(f"{partition}.{wall}" for wall in lacks)
    stopped = _stopped(summary, ask(replace(asked, restored=restored).line))
    start = f"{', '.join(lacks)} are not among the walls of {partition}"
    return [f"{start}: put up together, they stopped {stopped}; none of them did alone"] if stopped else []


def _stopped(before: Summary, after: Summary) -> str:
    """The attacks that got through before and are seen not to any more; an answer that cannot be told is none."""
    attacks = [
        then.attack_id
        for then, now in zip(before.effects, after.effects, strict=False)
        if then.succeeded and now.succeeded is False
    ]
    if not any(then.succeeded for then in before.effects) and after.got_through is False:
        attacks = [then.attack_id for then in before.effects]
    return " and ".join(dict.fromkeys(attacks))
