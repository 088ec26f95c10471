"""The catalogue of attacks as frozen values, and the schedules made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from faults import attack_files
from faults.attack import Injection
from faults.words import some_of

FRAME_MINUTES = 5
ONSET_FRAME = 96  # 08:00
END_FRAME = 264  # 22:00

#: Rows that are not built because the reference device offers them nothing to be tried on, each with the reason.
NOT_BUILT: Mapping[str, str] = MappingProxyType(
    {
        "B02": "The reference device has no updates yet, and no release of it expires.",
        "B03": "The reference device has no updates yet that a version beyond all others could lock out.",
        "B06": "The reference device has no updates yet, so nothing is downloaded.",
        "B10": "A name in an image that leads out of it is refused by the rule form, which no experiment leaves out; "
        "so there is no control to compare it with, and a test of the boot stages shows it instead.",
        "C09": "Every hint in it is legal and no wall is there to refuse it: what bounds it is therapy's own limiter, "
        "which no experiment leaves out, so that it would do the same with and without walls.",
        "C11": "No message of the reference device has a text field, so there is no pattern to burn time on; a schema "
        "with a pattern that is not anchored is refused when the design is loaded.",
        "C13": "Nothing in the device unpickles anything, with or without walls, so pickled bytes are bytes like any "
        "others.",
        "C17": "No message of the reference device names a path, an address or a command; the one request that asks "
        "for therapy's authority, a target, counts only with the clinician's signature, and that check is no wall.",
        "C20": (
            "It has no effect that is seen or not: which of the legal messages is sent carries a number of bits per "
            "second whatever wall stands, and that number is measured, not judged."
        ),
        "F06": "The reference device has no updates yet, so there is none that a loss of power could interrupt.",
        "R10": (
            "A monitor that cannot write its journal stops the device in its safe state whatever wall stands, so that "
            "there is no control to compare it with; a test of the device shows it instead."
        ),
        "K14": "No two processes of the device share a folder in which both may write: there is no spool and no inbox "
        "of updates, and the one name in a channel's folder is gone before code of a partition runs.",
    }
)

#: What the demonstration day runs, in this order. The overwriting of memory comes first, so that harm has
#: time to develop where no wall stands; what may end therapy's life there, and with it the overwritten
#: memory, comes late. Attacks that cost a walled attacker a restart alternate with those that do not, as far
#: as may be, so that the restart budget lets every attack have its turn.
DEMO_ORDER = (
    "K01", "K23", "C14", "K16", "K18", "K02", "K09", "K10", "K17", "K19", "K24", "F02",
    "C07", "C05", "C01", "C18", "C15", "C08", "C03", "C06", "K03", "C10", "K25",
)  # fmt: skip


class UnknownAttack(ValueError):
    """An id that the catalogue does not have, or that is not built, or a time that is no time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One attack of the catalogue. ``plain`` is empty when it is not built."""

    id: str
    name: str
    family: str
    attempt: str
    expected: str
    defence: str
    cwe: str
    emb3d: str | None
    ics: str | None
    plain: str
    built: bool


_FAMILIES = {
    "C": "channel",
    "K": "kernel",
    "B": "boot and update",
    "N": "network",
    "F": "fault",
    "R": "referee",
}


@cache
def rows() -> Mapping[str, Row]:
    """The whole catalogue by id, in its own order."""
    raw = json.loads((Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8"))
    return MappingProxyType({entry["id"]: _row(entry) for entry in raw})


def _row(entry: Mapping[str, str]) -> Row:
    attack_id = entry["id"]
    built = attack_files.built().get(attack_id)
    return Row(
        id=attack_id,
        name=entry["name"],
        family=_FAMILIES[attack_id[0]],
        attempt=entry["attempt"],
        expected=entry["expected"],
        defence=entry["defence"],
        cwe=entry["cwe"],
        emb3d=entry["emb3d"],
        ics=entry["ics"],
        plain=built.plain if built else "",
        built=built is not None,
    )


def row(attack_id: str) -> Row:
    """Raises ``UnknownAttack``."""
    found = rows().get(attack_id.upper())
    if found is None:
        raise UnknownAttack(f"no attack is called {attack_id!r}; those that can be run are {_names()}")
    return found


def _names() -> str:
    return (
        f"{some_of(attack_id for attack_id in rows() if rows()[attack_id].built)} (the verb attack lists all)"
    )


def parse_attack(
    text: str, *, onset_frame: int = ONSET_FRAME, frame_minutes: int = FRAME_MINUTES
) -> Injection:
    """``"K01@08:30"`` or ``"K01"`` (at the onset). Raises ``UnknownAttack``."""
    name, at, when = text.partition("@")
    found = row(name.strip())
    if not found.built:
        raise UnknownAttack(
            f"{found.id} ({found.name}) is in the catalogue but not built; there are {_names()}"
        )
    if not at:
        return Injection(onset_frame, found.id)
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", when.strip())
    if match is None:
        raise UnknownAttack(f"{when!r} is not a time of the day; write it as {found.id}@08:30")
    minutes = 60 * int(match[1]) + int(match[2])
    return Injection(minutes // frame_minutes, found.id)


def default_schedule(onset_frame: int = ONSET_FRAME, end_frame: int = END_FRAME) -> list[Injection]:
    """The demonstration day: every attack of ``DEMO_ORDER`` once, evenly from ``onset_frame`` to
    ``end_frame``.

    The overwriting of memory comes first, so that harm has time to develop where no wall stands; killing
    therapy comes late, and what outlives the kill last.
    """
    steps = len(DEMO_ORDER) - 1
    frames = [
        onset_frame + round(index * (end_frame - onset_frame) / steps) for index in range(len(DEMO_ORDER))
    ]
    return with_spans(
        [Injection(frame, attack_id) for frame, attack_id in zip(frames, DEMO_ORDER, strict=True)]
    )


def with_spans(schedule: Iterable[Injection]) -> list[Injection]:
    """In order of frames, each reaching to the next one's frame."""
    ordered = sorted(schedule, key=lambda one: one.frame)
    ends = [*(one.frame for one in ordered[1:]), None][: len(ordered)]
    return [replace(one, until_frame=end) for one, end in zip(ordered, ends, strict=True)]
