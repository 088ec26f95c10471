"""An attack file says what it is, where it comes from and what it strikes, or is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import attack_files
from faults.attack_files import AttackFileWrong

_FILE = """
from faults.attack import Attack, Effect
ATTACK = Attack("X01", "It does.", lambda seen, one: Effect(False, "."), {more})
"""
_STRIKE, _INJECT = "strike=lambda stage, given: {}", "inject=lambda foothold, given: {}"


def _folder(tmp_path: Path, more: str) -> Path:
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "x01_one.py").write_text(_FILE.replace("{more}", more))
    return tmp_path


@pytest.mark.parametrize(
    "more",
    [
        _INJECT,
        f"{_STRIKE}, strikes='world'",
        f"{_STRIKE}, strikes='monitor', ends_the_run='must'",
        f"{_STRIKE}, strikes='world', ends_the_run='may'",
    ],
)
def test_what_says_all_that_is_needed_is_taken(tmp_path: Path, more: str) -> None:
    assert attack_files.built(_folder(tmp_path, more))["X01"].id == "X01"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", "inside .* or outside"),
        (f"{_INJECT}, {_STRIKE}, strikes='world'", "inside .* or outside"),
        (_STRIKE, "says what it strikes .world or monitor.*''"),
        (f"{_STRIKE}, strikes='moon'", "'moon'"),
        (f"{_INJECT}, strikes='world'", "'world'"),
        (f"{_STRIKE}, strikes='monitor', ends_the_run='soon'", "'soon'"),
        (f"{_INJECT}, ends_the_run='must'", "'must'"),
    ],
)
def test_what_does_not_is_refused_with_what_is_wrong(tmp_path: Path, more: str, says: str) -> None:
    with pytest.raises(AttackFileWrong, match=says):
        attack_files.built(_folder(tmp_path, more))


def test_each_attack_from_outside_says_what_it_strikes() -> None:
    outside = {name: attack for name, attack in attack_files.built().items() if attack.strike is not None}
    assert {name: (a.strikes, a.ends_the_run) for name, a in outside.items()} == {
        "F04": ("world", "may"),
        "F07": ("monitor", "must"),
    }
