"""The verb ``rejudge``: a recorded journal judged again under another design."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from console import failures, jobs, journal_page, rejudge_page
from console.as_json import head
from console.failures import Refused
from console.journal_page import header_of
from console.output import Output
from console.rejudge_page import Told
from monitor import journal
from monitor.loader import load_schemas
from monitor.rejudge import NothingInCommon
from monitor.rejudge import rejudge as judged_again


def rejudge(output: Output, given: Mapping[str, Any]) -> int:
    """Status 0 only if nothing would differ and nothing that might is left untold."""
    path: Path = given["file"]
    reading = journal_page.read(path)
    design = jobs.sound_design(given["design"])
    module = load_schemas(design)
    types = {port.message: getattr(module, port.message) for port in design.ports}
    try:
        found = judged_again(reading, design, types)
    except NothingInCommon as error:
        raise Refused(f"{path}: {error}; name the design of that device, or a changed copy of it") from None
    frames = len({entry.frame for entry in reading.entries if isinstance(entry, journal.Frame)})
    is_whole = reading.is_complete and not reading.torn_bytes
    problem = "" if is_whole else "the recording is torn: its end is missing"
    told = Told(header_of(reading), frames, problem, design, found)
    status = failures.HELD if told.holds else failures.NOT_HELD
    output.show(rejudge_page.page(told))
    output.verdict(rejudge_page.closing(told))
    output.write_json(as_json(path, reading, told, status))
    return status


def as_json(path: Path, reading: journal.Reading, told: Told, status: int) -> dict[str, Any]:
    """The object that ``docs/json.md`` describes."""
    found = told.found
    return head("rejudge", status) | {
        "file": str(path),
        "chain": reading.chain,
        "problem": told.problem,
        "recorded": {"name": told.header.design, "digest": told.header.design_digest},
        "design": {"name": told.design.name, "digest": told.design.digest},
        "left_out": list(told.header.without),
        "frames": told.frames,
        "judged_messages": found.judged_messages,
        "judged_events": found.judged_events,
        "differs": found.differs,
        "is_told": found.is_told and not told.problem,
        "messages": [each._asdict() for each in found.messages],
        "actions": [each._asdict() for each in found.actions],
        "missing": [each._asdict() for each in found.missing],
        "untold": [each._asdict() for each in found.untold],
        "horizons": [each._asdict() for each in found.horizons],
        "unsent": dict(found.unsent),
        "overflows": dict(found.overflows),
    }
