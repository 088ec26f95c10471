"""Reading device.toml with any key missing, any value replaced, any bytes: a design, or one sentence."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import channels, loader
from monitor.design import DesignError, PortKind
from monitor.loader import load_design
from tests.support.pump_design import PUMP_TOML, lay_out

WALLS = frozenset({"pidns", "seccomp", "schema", "range"})

Step = str | int
Where = tuple[Step, ...]


def places(node: Any, here: Where = ()) -> Iterator[Where]:
    """Every place of a parsed file, tables and lists included."""
    items: list[tuple[Step, Any]] = []
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    for step, below in items:
        yield (*here, step)
        yield from places(below, (*here, step))


class Raw(str):
    """TOML text that stands as it is."""


def written(value: Any) -> str:
    """One value as TOML. A table inside a list takes one line; the lists themselves may take several."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return (
            '"'
            + "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in value)
            + '"'
        )
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{written(key)} = {written(below)}" for key, below in value.items()) + " }"
    if isinstance(value, list):
        return "[" + "".join(f"\n{written(item)}," for item in value) + "]"
    return str(value)


def file_of(node: dict[str, Any], header: str = "") -> str:
    """A parsed file as TOML, with a header for each table, so that no line grows long."""
    lines = [
        f"{written(key)} = {written(value)}" for key, value in node.items() if not isinstance(value, dict)
    ]
    text = "\n".join(lines) + "\n"
    for key, value in node.items():
        if isinstance(value, dict):
            name = f"{header}{written(key)}"
            text += f"[{name}]\n" + file_of(value, f"{name}.")
    return text


PUMP = tomllib.loads(PUMP_TOML)
PLACES = list(places(PUMP))
WRONG: list[Any] = [
    -1,
    0,
    10**30,
    True,
    "",
    "x",
    "\x00",
    "\u202e",
    "a.b",
    "p" * 200,
    [],
    {},
    [[]],
    [{}],
    [1, "a", {}],
    {"a": {"b": 1}},
    {"": 1},
    *(Raw(text) for text in ("nan", "-inf", "1e308", "1979-05-27T07:32:00Z", "0x" + "f" * 500, "07:32:00")),
    Raw("[" * 350 + "]" * 350),
    Raw("[" * 50 + "]" * 50),
    Raw("9" * 500),
]


def replaced(where: Where, change: Callable[[Any, Step], None]) -> str:
    """The reference design as TOML, with ``change`` done to one place."""
    root = copy.deepcopy(PUMP)
    node: Any = root
    for step in where[:-1]:
        node = node[step]
    change(node, where[-1])
    return file_of(root)


def named(where: Where) -> list[str]:
    """The names by which a sentence may point at a place: its key, or that of the list around it."""
    return [str(step) for step in where if isinstance(step, str)][-2:]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A laid-out design that many examples overwrite."""
    return lay_out(tmp_path_factory.mktemp("scratch"))


def judge(scratch: Path, text: str | None, where: Where) -> str | None:
    """Load ``text``, or the file as it is: ``None`` for a design, else the sentence about ``where``."""
    if text is not None:
        (scratch / "device.toml").write_text(text)
    try:
        load_design(scratch, WALLS)
    except DesignError as error:
        sentence = str(error)
        assert sentence.isascii()
        assert sentence.isprintable()
        assert len(sentence) < 1_200
        assert (
            where == () or any(name in sentence for name in named(where)) or "nested too deeply" in sentence
        ), (
            where,
            sentence,
        )
        return sentence
    return None


def test_the_writer_of_this_test_writes_the_same_design(scratch: Path) -> None:
    assert tomllib.loads(file_of(PUMP)) == PUMP
    assert judge(scratch, file_of(PUMP), ()) is None


OPTIONAL = {"labels", "cleared_for", "packages", "config", "rejections_per_frame"}
OPTIONAL |= {"freshness_frames", "depth", "from_networked"}


@pytest.mark.parametrize("part", range(4))
def test_any_one_key_may_be_missing_and_is_named(scratch: Path, part: int) -> None:
    for where in PLACES[part::4]:
        sentence = judge(scratch, replaced(where, lambda node, step: node.__delitem__(step)), where)
        key = where[-1]
        is_plain_key = isinstance(key, str) and "to" not in where[-2:] and "health" not in where[-2:]
        if is_plain_key and key not in OPTIONAL and where[:-1] != ("partition",):
            assert sentence is not None
            assert f"{key} is missing" in sentence


def documents_with(key: str, value: Any) -> Iterator[tuple[Where, str]]:
    """The reference design with ``value`` at ``key``, once for each kind of table that may hold that key."""
    holders: list[tuple[Where, tuple[str, ...]]] = [
        ((), loader.KEYS["the top level"]),
        (("device",), loader.KEYS["[device]"]),
        (("world",), loader.KEYS["[world]"]),
        (("partition", "therapy"), loader.KEYS["[partition.<name>]"]),
        (("partition", "therapy", "limits"), loader.KEYS["limits"]),
        (("partition", "therapy", "restart"), loader.KEYS["restart"]),
        (("schedule",), loader.KEYS["[schedule]"]),
        (("schedule", "windows", 0), loader.KEYS["windows"]),
        (("channel", 0), channels.CHANNEL_KEYS),
        (("channel", 0, "to", "therapy.cgm"), channels.SINK_KEYS[PortKind.SAMPLING]),
        (("channel", 3, "to", "therapy.meals"), channels.SINK_KEYS[PortKind.QUEUING]),
    ]
    for where, keys in holders:
        if key in keys:
            yield where, replaced((*where, key), lambda node, step: node.__setitem__(step, value))


@pytest.mark.parametrize(
    "key",
    sorted(
        {key for keys in (*loader.KEYS.values(), channels.CHANNEL_KEYS) for key in keys}
        | {key for keys in channels.SINK_KEYS.values() for key in keys}
    ),
)
def test_no_key_that_a_table_may_hold_is_left_unread(scratch: Path, key: str) -> None:
    found = list(documents_with(key, Raw("1979-05-27")))
    assert found
    for where, text in found:
        assert f"{key} = a date: must be" in str(judge(scratch, text, where)), where


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(PLACES), st.sampled_from(WRONG))
def test_any_one_value_may_be_wrong(scratch: Path, where: Where, value: Any) -> None:
    judge(scratch, replaced(where, lambda node, step: node.__setitem__(step, value)), where)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.integers(0, len(PUMP_TOML.encode())), st.integers(0, 300))
def test_any_bytes_in_the_file_are_a_design_or_refused(
    scratch: Path, noise: bytes, at: int, cut: int
) -> None:
    source = PUMP_TOML.encode()
    (scratch / "device.toml").write_bytes(source[:at] + noise + source[at + cut :])
    judge(scratch, None, ())
