"""What happens, in plain words: the monitor's notes and the patient's state as lines that anyone can read.

Pure: a note in, lines out. Text that comes from a partition is sanitised by the monitor and shortened here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from evidence.glycaemia import RISK_LOWEST_MG_DL
from evidence.naming import named
from faults import catalogue
from faults.words import counted
from ipc_schemas import links
from monitor.design import Design, Event
from sandbox import walls

_BEGIN = re.compile(r"ATTACK (\w+) begin frame=(\d+)")
_END = re.compile(r"ATTACK (\w+) end frame=(\d+) (.*)")
_ERRNO = re.compile(r"\[Errno \d+\] ([A-Za-z ]+)")
_LOG_CHARS_MAX = 160
#: Reasons of a refusal that are not a wall's own name.
_WALL_OF_REASON = {"epoch": "sequence", "frame": "sequence", "late": "window"}

#: Who stops it, and what to say, by event. ``{who}`` is the partition, ``{detail}`` the monitor's words.
_EVENTS: dict[Event, tuple[str, str]] = {
    Event.BAD_MESSAGE: ("", "refused at the gate: {detail}"),
    Event.BAD_SEQUENCE: ("sequence", "an old or reordered message is seen: {detail}"),
    Event.SPOOFED_SENDER: ("stamp", "the sender is not who it claims to be: {detail}"),
    Event.RATE_EXCEEDED: ("rate", "too many messages: {detail}"),
    Event.REJECTIONS_EXCEEDED: ("rate", "too many refused messages: {detail}"),
    Event.WINDOW_OVERRUN: ("window", "{who}'s time is up and nobody waits for it"),
    Event.PARTITION_EXIT: ("", "{who} {detail}"),
    Event.FORBIDDEN_SYSCALL: (
        "seccomp",
        "the kernel ends {who} at a call no honest program makes",
    ),
    Event.MEMORY_EXCEEDED: ("rlimits", "{who} ran out of the memory it was given"),
    Event.CPU_EXCEEDED: ("window", "{who} used more processor time than it was given"),
    Event.GATE_DIED: ("gate", "the confined process that reads its bytes died in everyone's place"),
    Event.GATE_LIED: ("recheck", "the monitor's own check fails: {detail}"),
    Event.LOG_FLOOD: ("window", "{who} wrote more log than its bound"),
    Event.STALE_INPUT: ("", "{who} goes on without fresh input: {detail}"),
}
_ACTIONS = {
    "note": "",
    "drop": "; discarded",
    "restart": "; it is killed and started afresh",
    "quarantine": "",  # a note of its own says so
    "safe_state": "; the device goes to its safe state",
}
#: After these the process is gone already: nobody has to kill it.
_ENDED_BEFORE = frozenset((Event.PARTITION_EXIT, Event.FORBIDDEN_SYSCALL, Event.MEMORY_EXCEEDED))
_STAGES = {"rom": "ROM", "bootloader": "the bootloader", "monitor": "the monitor"}
#: What an attacker reports as done, in words.
_DONE = {"sent": "the message was sent", "ring": "it holds an io_uring", "dropped": "the program is written"}


class Line(NamedTuple):
    """One line of the story. ``kind``: attack, wall, life, bad, device, log or patient."""

    frame: int
    kind: str
    text: str
    attack_id: str = ""


def lines_of(
    note: links.Note, left_out: frozenset[str] = frozenset(), design: Design | None = None
) -> list[Line]:
    """What a note tells; nothing for notes that only machinery needs. No wall of ``left_out`` is credited.

    With a ``design``, ports and partitions are named rather than numbered.
    """
    match note.kind:
        case "log":
            return _log(note)
        case "ruling":
            return [_ruling(note, left_out, design)]
        case "ready":
            return _ready(note)
        case "killed":
            took = f"{_number(note, 'kill_ms'):.1f} ms"
            text = f"{note.partition} is gone {took} after its gate's report, none of it left"
            return [Line(note.frame, "life", text)]
        case "quarantine":
            return [Line(note.frame, "bad", f"{note.partition} stays off from now on")]
        case "overflow":
            return [Line(note.frame, "log", re.sub(r"\b1 messages\b", "1 message", note.text))]
        case "chain":
            not_asked = note.facts.get("not_asked")
            left = frozenset(not_asked) if isinstance(not_asked, list) else frozenset[str]()
            return [Line(0, "device", text) for text in chain_sentences(chain_of(note), left)]
        case "attestation":
            is_good = note.text.startswith("attested: AFFIRMING")
            return [Line(0, "device" if is_good else "bad", note.text)]
        case "settings":
            return [Line(0, "bad" if note.facts.get("failed") else "device", note.text)]
        case "boot_refused":
            return [
                Line(0, "bad", f"{note.facts.get('stage')} refuses {note.facts.get('image')}: {note.text}")
            ]
        case "booted":
            seconds = _number(note, "boot_ms") / 1000
            return [Line(0, "device", f"the device is up after {seconds:.1f} s")]
        case "end":
            kind = "bad" if note.facts.get("is_fault") else "device"
            return [Line(note.frame, kind, f"the run ends: {note.text}")]
        case _:
            return []


class Link(NamedTuple):
    """One line of the measured log: which stage has verified what, in which version, with which digest, whose."""

    stage: str
    kind: str
    name: str
    version: str
    digest: str
    signer: str


def chain_of(note: links.Note) -> tuple[Link, ...]:
    """The measured log in a note of kind ``chain``."""
    found = []
    for key, value in sorted(note.facts.items()):
        words = key.split(" ", 3)
        if len(words) == 4 and isinstance(value, list):
            found.append(Link(*words[1:], *(str(each) for each in value)))
    return tuple(found)


def chain_sentences(chain: Sequence[Link], left_out: frozenset[str]) -> list[str]:
    """``ROM verified bootloader 1.0 (Release)``: a sentence for each stage.

    With checks left out no stage has verified anything.
    """
    sentences = []
    not_asked = walls.in_order(left_out & walls.BOOT_WALL_NAMES)
    for stage in dict.fromkeys(link.stage for link in chain):
        whats = [
            f"{'the release of ' if link.kind == 'release' else ''}{link.name} {link.version} "
            f"({common_name(link.signer) or 'nobody asked who signed it'})"
            for link in chain
            if link.stage == stage and link.kind != "platform"
        ]
        parts = [link.name for link in chain if link.stage == stage and link.kind == "platform"]
        whats += [f"{counted(len(parts), 'part')} of the platform"] if parts else []
        did = f"took, without asking {', '.join(not_asked)}," if not_asked else "verified"
        did = "took, without any check," if len(not_asked) == len(walls.BOOT_WALLS) else did
        sentences.append(f"{_STAGES.get(stage, stage)} {did} {', '.join(whats)}")
    return sentences


def common_name(signer: str) -> str:
    """The common name in a distinguished one (RFC 4514)."""
    return next((part[3:] for part in signer.split(",") if part.startswith("CN=")), signer)


def _number(note: links.Note, fact: str) -> float:
    value = note.facts.get(fact, 0.0)
    return float(value) if isinstance(value, int | float | str) else 0.0


def _log(note: links.Note) -> list[Line]:
    begin = _BEGIN.search(note.text)
    if begin:
        plain = attack_sentence(begin[1])
        return [Line(note.frame, "attack", plain, begin[1])]
    end = _END.search(note.text)
    if end:
        said = _own_account(end[3])
        return [Line(note.frame, "log", said, end[1])] if said else []
    if note.text.startswith((" ", "Traceback")) or not note.text.strip():
        return []
    return [Line(note.frame, "log", f"{note.partition} writes: {note.text[:_LOG_CHARS_MAX]}")]


def announced(text: str) -> str:
    """The id of the attack that a log line announces, or nothing."""
    begin = _BEGIN.search(text)
    return begin[1] if begin else ""


def attack_sentence(attack_id: str) -> str:
    """What an attack tries, for everyone."""
    row = catalogue.rows().get(attack_id)
    return (row.plain or row.attempt) if row else "an attack that the catalogue does not know"


def _own_account(text: str) -> str:
    """What the attacker says of its own attack. A system error means that the kernel said no."""
    refused = _ERRNO.search(text)
    if refused:
        return f"the kernel says no: {refused[1].lower()}"
    try:
        report = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(report, dict):
        return ""
    note = report.get("note")
    if note:
        return f"it gets nowhere: {str(note)[:_LOG_CHARS_MAX]}"
    told = [_told(key, value) for key, value in report.items() if isinstance(value, int | float) and value]
    return f"by its own account: {', '.join(told)}" if told else ""


def _told(key: str, value: bool | float) -> str:
    """``sent 32``, ``file 8.0 MiB``; what is merely true in words."""
    name = key.replace("_", " ")
    if isinstance(value, bool):
        return _DONE.get(key, name)
    if key == "bytes" or key.endswith("_bytes"):
        size = f"{value / (1 << 20):.1f} MiB" if value >= 1 << 20 else f"{value:.0f} bytes"
        return f"{name.removesuffix('bytes')}{size}"
    return f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"


def _ruling(note: links.Note, left_out: frozenset[str], design: Design | None) -> Line:
    detail = str(note.facts.get("detail", ""))
    detail = named(detail, design) if design is not None else detail
    action = str(note.facts.get("action", ""))
    try:
        event = Event(str(note.facts.get("event", "")))
        wall, sentence = _EVENTS[event]
    except ValueError:
        return Line(note.frame, "bad", note.text)
    reason, colon, rest = detail.partition(": ")
    reason = _WALL_OF_REASON.get(reason, reason)
    if colon and reason in walls.WALLS:
        wall, detail = wall or reason, rest
    kind = "bad" if action in ("quarantine", "safe_state") else "wall"
    if left_out and event is Event.BAD_MESSAGE and (not wall or wall in left_out):
        # A gate has to find the port and read the bytes: what it cannot deliver goes nowhere, wall or no wall.
        wall, sentence, kind = "", "what cannot be delivered goes nowhere, wall or no wall: {detail}", "log"
    elif wall in left_out:
        wall, kind = "", "log"
    then = _ACTIONS.get(action, "")
    if action == "restart" and event in _ENDED_BEFORE:
        then = "; it is started afresh"
    text = sentence.format(who=note.partition, detail=detail) + then
    return Line(note.frame, kind, f"{wall}: {text}" if wall else text)


def _ready(note: links.Note) -> list[Line]:
    life = int(_number(note, "epoch"))
    if life == 0:
        return []
    took = f"{_number(note, 'ready_ms'):.0f} ms"
    text = f"{note.partition} is back after {took}, from its image (life {life + 1})"
    return [Line(note.frame, "life", text)]


# --- the patient ---

_FEELINGS = (
    (40.0, "is in grave danger"),
    (54.0, "is confused and weak: very low"),
    (70.0, "is shaky and sweating: low"),
    (180.0, "feels well"),
    (250.0, "is thirsty: high"),
)
_TREND_MIN = 15
#: Below this the model goes on to values at which nobody lives, and says nothing finer than "far too low".
SHOWN_LOWEST_MG_DL = RISK_LOWEST_MG_DL


def feeling(glucose_mg_dl: float) -> str:
    """How it feels to have this glucose."""
    for limit, word in _FEELINGS:
        if glucose_mg_dl < limit or (limit == 180.0 and glucose_mg_dl <= limit):
            return word
    return "is thirsty and ill: very high"


def trend(glucose_mg_dl: Sequence[float]) -> str:
    """Steady, rising or falling over 15 minutes, by a sensor's usual arrows (1 and 2 mg/dL/min)."""
    if len(glucose_mg_dl) <= _TREND_MIN:
        return "steady"
    slope = (glucose_mg_dl[-1] - glucose_mg_dl[-1 - _TREND_MIN]) / _TREND_MIN
    if abs(slope) < 1.0:
        return "steady"
    return f"{'rising' if slope > 0 else 'falling'}{' fast' if abs(slope) > 2.0 else ''}"


def glucose_text(glucose_mg_dl: float) -> str:
    """``131``, and ``<20`` for what no patient would be alive at."""
    return f"<{SHOWN_LOWEST_MG_DL:.0f}" if glucose_mg_dl < SHOWN_LOWEST_MG_DL else f"{glucose_mg_dl:.0f}"


def patient_sentence(glucose_mg_dl: Sequence[float]) -> str:
    """``131 mg/dL, steady; the patient feels well``."""
    if not glucose_mg_dl:
        return "not seen yet"
    now = glucose_mg_dl[-1]
    return f"{glucose_text(now)} mg/dL, {trend(glucose_mg_dl)}; the patient {feeling(now)}"


def clock_text(frame: int, frame_ms: int) -> str:
    """The simulated time of day at the start of a frame: ``08:35``, ``day 2 08:35``, or with seconds."""
    seconds = frame * frame_ms // 1000
    day, rest = divmod(seconds, 86_400)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}"
    if frame_ms < 60_000:
        text += f":{rest % 60:02d}"
    return f"day {day + 1} {text}" if day else text
