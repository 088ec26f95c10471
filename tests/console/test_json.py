"""docs/json.md documents exactly the keys that the verbs write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console import VERSION
from console.as_json import finite
from evidence.outcome import Outcome
from tests.console import commands

DOCUMENT = (commands.ROOT / "docs" / "json.md").read_text(encoding="utf-8")
#: Objects whose keys are names of partitions, events or message fields.
FREE = (
    "rulings",
    "restarts",
    "lateness_ms",
    "outcomes",
    "walls_that_stand_alone",
    "unsent",
    "overflows",
    "parameters",
)
RUN_KEYS = "A run's figures"


def documented(*sections: str) -> set[str]:
    """The keys in the tables of these sections."""
    found = set()
    for section in sections:
        text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
        found |= set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    return found


def under(prefix: str, keys: set[str]) -> set[str]:
    """The keys of an object that stands under another key."""
    return {f"{prefix}.{key}" for key in keys}


def keys_of(value: Any, path: str = "") -> Iterator[str]:
    """Every key as a dotted path, ``[]`` for the items of a list, ``<name>`` for free names."""
    last = path.rpartition(".")[2]
    if isinstance(value, dict) and last != "message":
        for key, inner in value.items():
            name = "<name>" if last in FREE else key
            yield f"{path}.{name}".lstrip(".")
            yield from keys_of(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner, f"{path}[]")


def _no_such_number(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def written(folder: Path, *arguments: str) -> dict[str, Any]:
    """The object that a command writes."""
    out = folder / "out.json"
    done = commands.run(*arguments, "--quiet", "--json", str(out))
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(out.read_text(), parse_constant=_no_such_number)
    assert found["exit_status"] == done.returncode
    assert found["bulkhead"] == VERSION
    return found


@pytest.mark.walls
def test_attack_writes_what_is_documented(tmp_path: Path) -> None:
    told = written(tmp_path, "attack", "C05@00:30", "--days", "0.1")
    assert told["outcomes"] == {outcome.value: int(outcome is Outcome.HELD) for outcome in Outcome}
    stopped = told["trials"][0]["stopped_by"]
    assert stopped["walls"] == stopped["stand_against_it"] == ["rate"]
    assert {"event": "rate_exceeded", "reason": "rate"} in stopped["observed"]
    assert told["trials"][0]["stopped_by_text"] == "stopped by rate"
    found = set(keys_of(told))
    figures = documented(RUN_KEYS)
    may = documented("Every object", "story, attack")
    for name in ("attacked", "replayed", "calm", "open"):
        may |= under(f"runs.{name}", figures)
    assert found - may == set()
    assert documented("Every object", "story, attack") - found == set()


@pytest.mark.walls
def test_run_writes_what_is_documented(tmp_path: Path) -> None:
    slow = set(keys_of(written(tmp_path, "run", "--clock", "199x", "--days", "0.007")))
    fast = set(keys_of(written(tmp_path, "run", "--attack", "C05@00:30", "--twin", "--days", "0.1")))
    design = commands.broken_incubator(tmp_path, "heater")
    broken = set(keys_of(written(tmp_path, "run", "--design", design, "--days", "0.00001")))
    assert slow | fast | broken == documented("Every object", "run") | under("run", documented(RUN_KEYS))


def test_a_refused_verb_writes_what_is_documented(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert commands.run("run", "--attack", "K99", "--json", str(out)).returncode == 2
    assert set(keys_of(json.loads(out.read_text()))) == documented("Every object", "refused")


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _floats(inner)


@pytest.mark.walls
def test_measured_numbers_have_sensible_digits(tmp_path: Path) -> None:
    found = written(tmp_path, "run", "--clock", "199x", "--days", "0.007", "--twin")
    assert all(number == round(number, 4) for number in _floats(found))
    assert found["run"]["boot_ms"] == round(found["run"]["boot_ms"], 3)
    assert found["took_s"] >= found["run"]["wall_s"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["started_at"])


def test_the_other_verbs_write_what_is_documented(tmp_path: Path) -> None:
    bad = "tests/designs_bad/labels-stay-cleared"
    for section, arguments in (
        ("check", ("check", "--design", bad)),
        ("passport", ("passport",)),
        ("catalogue", ("attack",)),
        ("boot --settings", ("boot", "--settings")),
        ("attest", ("attest",)),
    ):
        assert set(keys_of(written(tmp_path, *arguments))) == documented("Every object", section), section


@pytest.mark.walls
def test_a_boot_and_a_refused_one_write_what_is_documented(tmp_path: Path) -> None:
    on = set(keys_of(written(tmp_path, "boot")))
    refused = set(keys_of(written(tmp_path, "boot", "--attack", "B05")))
    assert on | refused == documented("Every object", "boot")


@pytest.mark.walls
def test_the_journal_verbs_write_what_is_documented(tmp_path: Path) -> None:
    commands.run("run", "--attack", "C05@00:30", "--days", "0.1", "--quiet", "--keep", str(tmp_path))
    journal = str(tmp_path / "run.bhj")
    assert set(keys_of(written(tmp_path, "journal", "verify", journal))) == documented(
        "Every object", "journal verify"
    )
    shown = written(tmp_path, "journal", "show", journal)
    assert set(keys_of(shown)) == documented("Every object", "journal show")
    some = written(tmp_path, "journal", "show", journal, "--frames", "6", "--partition", "transfer")
    assert {entry["frame"] for entry in some["entries"]} == {6}
    assert {entry["what"] for entry in some["entries"]} >= {"refusal", "ruling", "life"}


def test_numbers_that_json_lacks_become_null() -> None:
    odd = {"a": float("nan"), "b": [float("inf"), b"\x00\xff"], "c": (1, "x")}
    assert finite(odd) == {"a": None, "b": [None, "00ff"], "c": [1, "x"]}


def test_the_version_is_the_projects() -> None:
    assert f'version = "{VERSION}"' in (commands.ROOT / "pyproject.toml").read_text()


def test_ablate_and_replay_write_what_is_documented_and_agree(tmp_path: Path) -> None:
    told = written(tmp_path, "ablate", "C07", "C18")
    assert [row["id"] for row in told["attacks"]] == ["C07", "C18"]
    sets = {row["id"]: [set(cut["walls"]) for cut in row["cut_sets"]] for row in told["attacks"]}
    assert sets == {"C07": [{"canonical", "recheck"}, {"schema", "recheck"}], "C18": [{"route", "recheck"}]}
    assert all(row["is_complete"] for row in told["attacks"])
    assert told["exit_status"] == 0
    assert "seccomp" in told["walls_that_carry_nothing"]
    found = set(keys_of(told))
    assert found - documented("Every object", "ablate") == set()
    line = told["attacks"][1]["cut_sets"][0]["line"]
    assert "design=designs/insulin_pump " in line
    again = written(tmp_path, "replay", line)
    assert (again["outcome"], again["exit_status"], again["line"]) == ("BREACH", 1, line)
    assert set(keys_of(again)) == documented("Every object", "replay")


@pytest.mark.walls
def test_campaign_writes_what_is_documented(tmp_path: Path) -> None:
    told = written(tmp_path, "campaign", "C08", "--trials", "2", "--walls", "all,none")
    assert (told["exit_status"], told["done"], told["walled"]["counted"]) == (0, 1 + 1, 1)
    assert told["left_out"]["none"]["outcomes"]["BREACH"] == 1
    assert told["breaches"] == told["without_answer"] == told["not_counted"] == []
    found = {key for key in keys_of(told) if not key.startswith(("phases.", "left_out."))}
    cell = {key for key in documented("Every object", "campaign") if key.startswith("walled.")}
    found -= {f"families[].{key.removeprefix('walled.')}" for key in cell} | {
        key for key in found if ".outcomes." in key
    }
    undocumented = found - documented("Every object", "campaign")
    assert undocumented == set()
    missing = documented("Every object", "campaign") - found
    assert all(key.startswith("breaches[].") for key in missing), missing
