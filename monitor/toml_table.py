"""One table of ``device.toml`` at a time: reads bounded bytes, parses them, and hands out values key by key.

Whatever is missing, of the wrong type, too large or unknown raises ``DesignError``, whose one sentence names
file, table, key, the offending value (shortened and stripped of control characters) and the remedy.
"""

from __future__ import annotations

import difflib
import enum
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from monitor.design import DesignError

FILE_BYTES_MAX = 1_048_576
#: tomllib needs time that grows with the square of the dots in one key, and a key stands on one line.
LINE_CHARS_MAX = 1_024
NAMES_PER_LIST_MAX = 64

NAME = re.compile(r"\A[a-z][a-z0-9_]{0,30}\Z")

Word = TypeVar("Word", bound=enum.StrEnum)


# --- the file ---


def file_of(folder: Path) -> Path:
    """The design file that ``folder`` names, or is. Raises ``DesignError``."""
    named = plain(str(folder), 120)
    try:
        if folder.is_dir():
            folder = folder / "device.toml"
            if folder.exists() and not folder.is_file():
                raise DesignError(f"device.toml: in {named} it is not a regular file; write one there")
            if not folder.exists():
                raise DesignError(f"device.toml: there is none in {named}; write one, or name another folder")
        elif not folder.exists():
            raise DesignError(f"device.toml: there is no folder {named}; name the folder that holds it")
        elif not folder.is_file():
            raise DesignError(f"device.toml: {named} is not a regular file; name the folder that holds it")
        return folder.resolve()
    except (OSError, ValueError) as error:
        raise DesignError(
            f"device.toml: {named}: {plain(str(error))}; name the folder that holds it"
        ) from None


def read_bounded(path: Path) -> bytes:
    """The file's bytes, at most ``FILE_BYTES_MAX``. Raises ``DesignError``."""
    name = plain(path.name)
    try:
        with path.open("rb") as file:
            source = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise DesignError(
            f"{name}: cannot be read ({plain(str(error.strerror))}); check its permissions"
        ) from None
    if len(source) > FILE_BYTES_MAX:
        raise DesignError(f"{name}: holds more than {FILE_BYTES_MAX} bytes; a design is smaller: shorten it")
    return source


def parse(source: bytes, name: str) -> dict[str, Any]:
    """The TOML document in ``source``. Raises ``DesignError`` for whatever keeps it from being one."""
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DesignError(f"{name}: byte {error.start} is not UTF-8 text; save the file as UTF-8") from None
    if text.startswith("\ufeff"):
        raise DesignError(f"{name}: begins with a byte order mark; save the file as UTF-8 without one")
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LINE_CHARS_MAX:
            raise DesignError(
                f"{name}: line {number} has {len(line)} characters; keep to {LINE_CHARS_MAX} a line"
            )
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise DesignError(f"{name}: its values are nested too deeply; a design needs three levels") from None
    except ValueError as error:  # TOMLDecodeError, and the interpreter's limit on digits
        raise DesignError(f"{name}: is not valid TOML ({plain(str(error), 120)}); correct it there") from None


# --- what an error shows ---


def plain(text: str, chars_max: int = 60) -> str:
    """``text`` on one line, in printable ASCII, shortened."""
    line = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[: chars_max + 1])
    return line if len(text) <= chars_max else line[: chars_max - 3] + "..."


def shown(value: Any) -> str:
    """``value`` as an error shows it: short, on one line, in printable ASCII."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 200:  # str() of a large one raises, or takes seconds
            return f"a whole number of {value.bit_length()} bits"
        case int() | float():
            return str(value)
        case str():
            return f'"{plain(value)}"'
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"a table of {len(value)}"
    return f"a {type(value).__name__}"


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean "x"?`` or nothing. Upper and lower case count as near."""
    by_fold = {word.casefold(): word for word in sorted(known)}
    close = [by_fold[c] for c in difflib.get_close_matches(name[:64].casefold(), by_fold, n=1, cutoff=0.6)]
    return f'; did you mean "{close[0]}"?' if close else ""


class Table:
    """One table of the file, read key by key.

    ``keys`` are all that it may hold, or ``None`` where the author chooses them. Any other is refused first: told
    that a key is missing, the author would not find the one that was misspelled. ``not_here`` explains keys that
    are known elsewhere.
    """

    def __init__(
        self,
        file: str,
        where: str,
        values: Mapping[str, Any],
        keys: Sequence[str] | None = None,
        not_here: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.file = file
        self.where = where
        self._values = values
        for key in values:
            if key in not_here:
                self.refuse(key, f"{not_here[key]}; remove it")
            if keys is not None and key not in keys:
                known = ", ".join(sorted(keys))
                absent = [one for one in keys if one not in values]
                hint = nearest(key, absent) or nearest(key, keys)
                self.refuse(key, f"is not a key of this table; its keys are {known}{hint}")

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Raises ``DesignError`` about the value of ``key``."""
        value = f" = {shown(self._values[key])}" if key in self._values else ""
        raise DesignError(f"{self.file}: {self.where} {plain(key)}{value}: {problem}")

    def value(self, key: str, expected: str, example: str) -> Any:
        """Whatever stands at ``key``; a missing one is refused."""
        if key not in self._values:
            raise DesignError(
                f"{self.file}: {self.where} {plain(key)} is missing: it must be {expected}; "
                f"write for example {example}"
            )
        return self._values[key]

    def whole(self, key: str, low: int, high: int, example: int, *, default: int | None = None) -> int:
        """A whole number from ``low`` to ``high``."""
        expected, example_text = f"a whole number from {low} to {high}", f"{key} = {example}"
        if default is not None and key not in self._values:
            return default
        value = self.value(key, expected, example_text)
        if type(value) is not int or not low <= value <= high:
            self.refuse(key, f"must be {expected}; write for example {example_text}")
        return value

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """``true`` or ``false``."""
        if default is not None and key not in self._values:
            return default
        value = self.value(key, "true or false", f"{key} = false")
        if type(value) is not bool:
            self.refuse(key, f"must be true or false; write for example {key} = false")
        return value

    def text(self, key: str, pattern: re.Pattern[str], expected: str, example: str) -> str:
        """A text of the given form."""
        value = self.value(key, expected, f'{key} = "{example}"')
        if type(value) is not str or pattern.match(value) is None:
            self.refuse(key, f'must be {expected}; write for example {key} = "{example}"')
        return value

    def name(self, key: str, example: str) -> str:
        """A name as partitions, ports and labels have it."""
        return self.text(key, NAME, "a name of a to z, 0 to 9 and _, at most 31 long", example)

    def optional_name(self, key: str, example: str) -> str | None:
        """As ``name``, or ``None`` when the key is absent."""
        return self.name(key, example) if key in self._values else None

    def choice(self, key: str, kind: type[Word], example: str, *, default: Word | None = None) -> Word:
        """One of the words of ``kind``."""
        words = ", ".join(member.value for member in kind)
        if default is not None and key not in self._values:
            return default
        value = self.value(key, f"one of {words}", f'{key} = "{example}"')
        if type(value) is not str or value not in {member.value for member in kind}:
            hint = nearest(value, [member.value for member in kind]) if type(value) is str else ""
            self.refuse(key, f"must be one of {words}" + (hint or f'; write for example {key} = "{example}"'))
        return kind(value)

    def names(
        self,
        key: str,
        pattern: re.Pattern[str],
        expected: str,
        *,
        among: frozenset[str] | None = None,
        kind: str = "",
        example: str = "[]",
    ) -> tuple[str, ...]:
        """A list of distinct texts, empty when absent. ``among`` are those allowed, ``kind`` their kind."""
        value = self._values.get(key, [])
        if type(value) is not list or len(value) > NAMES_PER_LIST_MAX:
            self.refuse(
                key,
                f"must be a list of at most {NAMES_PER_LIST_MAX} {expected}; "
                f"write for example {key} = {example}",
            )
        for item in value:
            if type(item) is not str or pattern.match(item) is None:
                self.refuse(
                    key,
                    f"holds {shown(item)}, which cannot be among {expected}; correct that entry",
                )
            if among is not None and item not in among:
                listed = ", ".join(sorted(among)) or "none"
                hint = nearest(item, among)
                self.refuse(key, f'holds "{item}", which is no {kind}; those are: {plain(listed, 400)}{hint}')
        repeated = [item for item, count in Counter(value).items() if count > 1]
        if repeated:
            self.refuse(key, f'holds "{repeated[0]}" more than once; write it once')
        return tuple(value)

    def table(
        self,
        key: str,
        where: str,
        keys: Sequence[str] | None = None,
        example: str | None = None,
        not_here: Mapping[str, str] = MappingProxyType({}),
    ) -> Table:
        """A table inside this one, shown as ``where``; ``example`` when it is not written as a header."""
        value = self.value(key, "a table", example or f"{where} and its keys below it")
        if type(value) is not dict:
            self.refuse(
                key, f"must be a table; write for example {example or f'{where} and its keys below it'}"
            )
        return Table(self.file, where, value, keys, not_here)

    def tables(self, key: str, count_max: int, example: str) -> list[dict[str, Any]]:
        """A list of 1 to ``count_max`` tables."""
        expected = f"a list of 1 to {count_max} tables"
        value = self.value(key, expected, example)
        if (
            type(value) is not list
            or not 1 <= len(value) <= count_max
            or any(type(v) is not dict for v in value)
        ):
            self.refuse(key, f"must be {expected}; write for example {example}")
        return value

    def all_keys(self) -> list[str]:
        """The keys in the order of the file."""
        return list(self._values)
