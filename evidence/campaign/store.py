"""Where results are kept: SQLite, one transaction a result, and Parquet made of it.

A campaign that is killed loses what was in flight. A file holds one campaign: whoever opens it with another plan,
design, code or host is refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from evidence.campaign.results import Result
from evidence.campaign.strata import Campaign

FORMAT = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS campaign (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS trial (
    number INTEGER PRIMARY KEY, attack_id TEXT NOT NULL, walls TEXT NOT NULL, phase TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL, took_s REAL NOT NULL, result TEXT NOT NULL
) STRICT;
"""
_WORDS = {
    "campaign": "another plan",
    "design": "another design",
    "code": "other code of Bulkhead, of the design, or another kernel or user",
    "available": "a host with other walls",
    "format": "another version of this file",
}
#: What people call the fields of a plan; where an option sets one, its name.
_PLAN_WORDS = {
    "design": "--design",
    "seed": "--seed",
    "trials": "--trials",
    "attacks": "attacks",
    "targets": "partitions that are taken over",
    "phases": "phases",
    "wall_sets": "--walls",
}
#: So much of a value is told.
_VALUE_CHARS_MAX = 120


class StoreWrong(ValueError):
    """The file is not this campaign's; the sentence says in what it differs and what to do."""


class Identity(msgspec.Struct, frozen=True):
    """What must be the same for a campaign to go on. Digests are hexadecimal; ``available`` walls of the host."""

    campaign: Campaign
    design: str
    code: str
    available: tuple[str, ...]


class Store:
    """A context manager. Raises ``StoreWrong`` when the file is no campaign's, or another one's, and ``OSError``."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self._path = path
        try:
            self._data = sqlite3.connect(path)
        except sqlite3.Error as error:
            raise StoreWrong(f"{path}: {error}; name a file in a folder that can be written") from None
        try:
            self._open(identity)
        except sqlite3.Error as error:
            self._data.close()
            raise StoreWrong(f"{path}: {error}; name another file or folder") from None
        except StoreWrong:
            self._data.close()
            raise

    def _open(self, identity: Identity) -> None:
        self._data.execute("PRAGMA busy_timeout = 0")
        # One campaign at a time; the lock goes with the process, however it ends.
        self._data.execute("PRAGMA locking_mode = EXCLUSIVE")
        with self._data:
            self._data.executescript(_TABLES)
            known = dict(self._data.execute("SELECT name, value FROM campaign"))
            mine = _facts(identity)
            if not known:
                self._data.executemany("INSERT INTO campaign VALUES (?, ?)", mine.items())
                return
        differs = [
            _WORDS[name] + _told(name, known.get(name, ""), mine[name])
            for name in mine
            if known.get(name) != mine[name]
        ]
        if differs:
            raise StoreWrong(
                f"{self._path} holds a campaign of {' and '.join(differs)}; give the options that it has, or name "
                "another folder"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()

    def keep(self, result: Result) -> None:
        """Commit one result. A trial that has one already keeps it. Raises ``sqlite3.Error``."""
        row = (
            result.number,
            result.attack_id,
            result.walls,
            result.phase,
            result.outcome,
            result.reason,
            result.line,
            result.took_s,
            msgspec.json.encode(result).decode(),
        )
        with self._data:
            self._data.execute("INSERT OR IGNORE INTO trial VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def done(self) -> frozenset[int]:
        """The numbers of the trials that have a result."""
        return frozenset(number for (number,) in self._data.execute("SELECT number FROM trial"))

    def results(self) -> Iterator[Result]:
        """All results, by number. Raises ``StoreWrong`` when a row is no result."""
        for number, text in self._data.execute("SELECT number, result FROM trial ORDER BY number"):
            try:
                yield msgspec.json.decode(text, type=Result)
            except msgspec.DecodeError as error:
                raise StoreWrong(f"{self._path}: trial {number} is no result ({error})") from None


def _facts(identity: Identity) -> dict[str, str]:
    return {
        "format": str(FORMAT),
        "campaign": msgspec.json.encode(identity.campaign, order="deterministic").decode(),
        "design": identity.design,
        "code": identity.code,
        "available": ",".join(sorted(identity.available)),
    }


def _told(name: str, there: str, asked: str) -> str:
    """What differs of one fact, with both values; nothing of digests, which tell nobody anything."""
    if name == "available":
        return f" (there {there or 'none'}; here {asked or 'none'})"
    if name != "campaign":
        return ""
    try:
        theirs, mine = (msgspec.json.decode(text, type=dict[str, Any]) for text in (there, asked))
    except msgspec.DecodeError:
        return " that cannot be read"
    some = [
        f"{words} there {_value(theirs.get(field))}, asked {_value(mine[field])}"
        for field, words in _PLAN_WORDS.items()
        if theirs.get(field) != mine[field]
        and (field != "targets" or theirs.get("attacks") == mine["attacks"])
    ]
    return f" ({'; '.join(some)})"


def _value(value: object) -> str:
    """``300``, ``C06 K09``, ``night 0-71``: as somebody would write it."""
    if isinstance(value, list):
        text = " ".join(str(each) for each in value)
    elif isinstance(value, dict):
        text = ", ".join(
            f"{name} {'-'.join(str(each) for each in some) if isinstance(some, list) else some}"
            for name, some in value.items()
        )
    else:
        text = "nothing" if value is None else str(value)
    return text if len(text) <= _VALUE_CHARS_MAX else f"{text[:_VALUE_CHARS_MAX]}..."


def write_parquet(path: Path, results: Iterator[Result]) -> int:
    """One row a trial; returns how many. The file is there whole or not at all. Raises ``OSError``."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [_row(result) for result in results]
    schema = pa.schema(
        [
            ("number", pa.int64()),
            *((name, pa.string()) for name in _TEXTS),
            ("severity", pa.string()),
            ("chain", pa.string()),
            ("messages_compared", pa.int64()),
            ("kill_ms", pa.list_(pa.float64())),
            ("standing", pa.list_(pa.string())),
            ("lost_a_window", pa.bool_()),
            ("wall_s", pa.float64()),
            ("took_s", pa.float64()),
            ("control_line", pa.string()),
            ("control_outcome", pa.string()),
        ]
    )
    draft = path.with_name(path.name + ".part")
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), draft)
    draft.replace(path)
    return len(rows)


_TEXTS = ("attack_id", "walls", "phase", "outcome", "reason", "line")


def _row(result: Result) -> dict[str, Any]:
    summary, control = result.summary, result.control
    return {name: getattr(result, name) for name in _TEXTS} | {
        "number": result.number,
        "severity": summary.severity,
        "chain": summary.chain,
        "messages_compared": summary.messages,
        "kill_ms": list(summary.kill_ms),
        "standing": list(summary.standing),
        "lost_a_window": summary.lost_a_window,
        "wall_s": summary.wall_s,
        "took_s": result.took_s,
        "control_line": control.line if control else None,
        "control_outcome": control.outcome if control else None,
    }
