"""``journal verify`` and ``journal show``: a journal checked, and its messages in readable form.

A journal can hold messages that no gate judged (a run without walls), so whatever is shown is sanitised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text

from console.failures import Refused
from faults.words import counted
from ipc_schemas import codec
from monitor import journal

_RANGE = re.compile(r"\A(\d{1,9})(?:-(\d{1,9}))?\Z")
_SPLIT = msgspec.msgpack.Decoder(list[msgspec.Raw])
VALUE_CHARS_MAX = 300
EXHIBITS_SHOWN_MAX = 2
#: Journals of a folder that are named to somebody who named the folder.
NAMES_SHOWN_MAX = 6
_REMEDY = "name a journal that a run left with --keep FOLDER, such as FOLDER/run.bhj"


@dataclass(frozen=True, slots=True)
class Filter:
    """What of a journal is shown; empty words show all."""

    first: int = 0
    last: int = 2**62
    partition: str = ""
    port: str = ""

    def takes_message(self, sender: str, full_name: str) -> bool:
        """Whether this sender's messages on this port are shown; ``port`` may leave the partition out."""
        name = full_name.partition(".")[2]
        return self.partition in ("", sender) and self.port in ("", full_name, name)

    def takes_partition(self, name: str) -> bool:
        """Whether refusals, rulings and lives of this partition are shown; not when a port is asked for."""
        return not self.port and self.partition in ("", name)


def filter_of(
    frames: str | None, partition: str | None, port: str | None, reading: journal.Reading
) -> Filter:
    """The filter that the options ask for. Raises ``Refused`` for what this journal cannot have."""
    header = header_of(reading)
    names = [name for _, name in header.ports]
    partitions = sorted({*(name.partition(".")[0] for name in names), *header.images})
    if partition and partition not in partitions:
        raise Refused(f"--partition {partition}: the journal knows {', '.join(partitions)}")
    if port and not any(port in (name, name.partition(".")[2]) for name in names):
        raise Refused(f"--port {port}: the journal knows {', '.join(names)}")
    if frames is None:
        return Filter(partition=partition or "", port=port or "")
    match = _RANGE.match(frames)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise Refused(f"--frames {frames}: write a frame or a range of them, such as 96 or 96-120")
    return Filter(int(match[1]), int(match[2] or match[1]), partition or "", port or "")


def header_of(reading: journal.Reading) -> journal.Header:
    """The first record."""
    header = reading.entries[0]
    assert isinstance(header, journal.Header)
    return header


def verdict(path: Path, reading: journal.Reading) -> Text:
    """One line: whole or torn."""
    count = len(reading.entries)
    end = reading.entries[-1]
    if isinstance(end, journal.End) and not reading.torn_bytes:
        ended = f"complete: {counted(end.frames, 'frame')}{f', {sanitised(end.why)}' if end.why else ''}"
        return Text(f"{path}: the chain holds over {counted(count, 'record')}; {ended}", style="green")
    torn = f", then {counted(reading.torn_bytes, 'byte')} of a torn record" if reading.torn_bytes else ""
    text = (
        f"INCOMPLETE  {path}: the chain holds over {counted(count, 'record')}, but the end is missing{torn}"
    )
    return Text(text, style="yellow")


def anchor(reading: journal.Reading, expected: str | None) -> Text:
    """What the chain value is worth: compared with the one expected, or with nothing."""
    if expected is None:
        text = (
            "not anchored: this shows that nothing was changed by accident, or by someone who did not chain it anew; "
            "compare with what the run printed: --expect CHAIN"
        )
        return Text(text, style="dim")
    if reading.chain.startswith(expected):
        return Text(f"the chain value is the one expected ({len(expected)} digits compared)", style="green")
    text = f"NOT THE EXPECTED JOURNAL  its chain ends in {reading.chain}, expected was {expected}"
    return Text(text, style="bold red")


def read(path: Path) -> journal.Reading:
    """The journal that somebody named. Raises ``JournalBroken``, and ``Refused`` when there is none in that place."""
    try:
        return journal.read(path)
    except journal.NotAJournal as error:
        raise Refused(f"{error}; {_REMEDY}") from None
    except IsADirectoryError:
        some = sorted(each.name for each in path.glob("*.bhj"))[:NAMES_SHOWN_MAX]
        remedy = f"name a file in it: {', '.join(some)}" if some else f"it holds no *.bhj; {_REMEDY}"
        raise Refused(f"{path}: this is a folder, not a journal; {remedy}") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; {_REMEDY}") from None


def readable(path: Path) -> tuple[journal.Reading, Text | None]:
    """What of a journal can be shown, and what is wrong with it.

    Raises ``JournalBroken`` when not even the header holds, and ``Refused``.
    """
    try:
        reading = read(path)
    except journal.JournalBroken as broken:
        if not broken.held or not isinstance(broken.held[0], journal.Header):
            raise
        problem = Text(f"BROKEN  {sanitised(str(broken))}; what is shown stands before it", style="bold red")
        return journal.Reading(broken.held, "", 0), problem
    is_whole = reading.is_complete and not reading.torn_bytes
    return reading, None if is_whole else verdict(path, reading)


def nothing(reading: journal.Reading, frames: str | None) -> Text:
    """Why nothing is shown: which frames there are."""
    numbers = [entry.frame for entry in reading.entries if isinstance(entry, journal.Frame)]
    there = f"frames {numbers[0]} to {numbers[-1]}" if numbers else "no frame"
    asked = f"frames {frames} hold nothing" if frames else "nothing"
    return Text(f"{asked} that these options ask for; the journal has {there}", style="yellow")


def entries(reading: journal.Reading, wanted: Filter) -> Iterator[dict[str, Any]]:
    """What a filter lets through, as plain dicts with a ``what`` and a ``frame`` each."""
    names = dict(header_of(reading).ports)
    for entry in reading.entries:
        if not isinstance(entry, journal.Frame) or not wanted.first <= entry.frame <= wanted.last:
            continue
        for admitted in entry.admitted:
            name = names.get(admitted.port, f"port {admitted.port}")
            if wanted.takes_message(admitted.sender, name):
                head = {"what": "message", "frame": entry.frame, "sender": admitted.sender, "port": name}
                yield from (head | {"message": message} for message in messages_of(admitted))
        for kind, records in (("refusal", entry.refusals), ("ruling", entry.rulings), ("life", entry.lives)):
            for record in records:
                if wanted.takes_partition(record.partition):
                    fields = {k: getattr(record, k) for k in record.__struct_fields__}
                    if kind == "refusal":
                        kept = fields["exhibits"]
                        fields["exhibits"] = [{"place": one.place, "bytes": one.message} for one in kept]
                        fields["port"] = names.get(fields["port"], f"port {fields['port']}")
                    if kind == "life":
                        fields["event"] = fields.pop("what")
                    yield {"what": kind, "frame": entry.frame} | fields


def messages_of(admitted: journal.Admitted) -> list[Any]:
    """The messages of one record, decoded as whatever they are; undecodable bytes stay bytes."""
    try:
        return [_decoded(bytes(raw)) for raw in _SPLIT.decode(admitted.messages)]
    except Exception:  # a run without walls admits anything at all; RecursionError included
        return [admitted.messages]


def _decoded(raw: bytes) -> Any:
    try:
        return codec.decode_any(raw)
    except Exception:
        return raw


def row(entry: Mapping[str, Any]) -> Text:
    """One entry as a line. Whoever wrote the journal chose its names, too: nothing of it is printed as it is."""
    who = sanitised(str(entry.get("partition", "")))
    text = Text(f"{entry['frame']:>6} ", style="dim")
    match entry["what"]:
        case "message":
            sender, port = entry["sender"], entry["port"]
            forged = "" if port.startswith(f"{sender}.") else f"(sent by {sender}) "
            text.append(f"{sanitised(port)} ", "cyan").append(sanitised(forged), "bold red")
            return text.append(fields(entry["message"]))
        case "refusal":
            words = f"{entry['count']} refused on {entry['port']}: {entry['reason']}: {entry['detail']}"
            text.append(f"{who} ", "bold").append(sanitised(words), "yellow")
            return text.append(_exhibits(entry["exhibits"]), "dim")
        case "ruling":
            words = f"{entry['event']} -> {entry['action']} ({entry['reason']})"
            return text.append(f"{who} ", "bold").append(sanitised(words), "bold red")
        case _:
            words = f"life {entry['epoch'] + 1} {entry['event']}"
            return text.append(f"{who} ", "bold").append(sanitised(words), "green")


def _exhibits(kept: Sequence[Mapping[str, Any]]) -> str:
    """``; kept 2: 20 bytes 0100...``: hostile bytes, so in hexadecimal and short."""
    if not kept:
        return ""
    more = ", ..." if len(kept) > EXHIBITS_SHOWN_MAX else ""
    return f"; kept {len(kept)}: {', '.join(_value(one['bytes']) for one in kept[:EXHIBITS_SHOWN_MAX])}{more}"


def fields(message: Any) -> str:
    """``glucose_mg_dl=131.2 noise=1``; numbers as they are, bytes in hexadecimal, everything bounded."""
    if isinstance(message, dict):
        text = " ".join(f"{sanitised(str(key))}={_value(value)}" for key, value in message.items())
    else:
        text = _value(message)
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}..."


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bytes):
        shown = value[:16].hex()
        return f"{len(value)} bytes {shown}{'...' if len(value) > 16 else ''}"
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value[:8])}{', ...' if len(value) > 8 else ''}]"
    return sanitised(str(value))


def sanitised(text: str) -> str:
    """Printable ASCII as it is, the rest escaped, so that nothing acts on a terminal."""
    return "".join(c if " " <= c <= "~" else f"\\u{ord(c):04x}" for c in text[:VALUE_CHARS_MAX])
