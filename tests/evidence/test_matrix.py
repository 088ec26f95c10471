"""A search that is stopped goes on where it was, and only for the very same device."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from console import ablation_page
from console.output import Output
from evidence import experiment, matrix, matrix_html
from evidence.ablation import Cut, Row
from evidence.outcome import Outcome
from evidence.workers import Summary, Told, Workers
from monitor.loader import load_design
from sandbox import walls

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "thermostat"
UP = frozenset({"seccomp", "uid"})
ROW = Row("X01", Outcome.HELD, "held", (Cut(frozenset({"uid"}), "a line"),), True, 7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "incubator"))


def test_rows_are_kept_and_found_again_also_behind_a_torn_line(folder: Path, tmp_path: Path) -> None:
    design, keep = load_design(folder, walls.ALL), tmp_path / "rows.jsonl"
    keep.write_bytes(b'{"design": "torn')
    matrix._keep(keep, design, UP, ROW)
    assert list(matrix._kept(keep, design, UP)) == [ROW]
    assert list(matrix._kept(keep, design, UP | {"caps"})) == []


def test_rows_of_a_device_whose_code_has_changed_are_searched_again(folder: Path, tmp_path: Path) -> None:
    design, keep = load_design(folder, walls.ALL), tmp_path / "rows.jsonl"
    matrix._keep(keep, design, UP, ROW)
    with (folder / "images" / "heater" / "main.py").open("a") as code:
        code.write("\nraise SystemExit\n")
    matrix.code_digest.cache_clear()
    assert list(matrix._kept(keep, design, UP)) == []


@pytest.mark.parametrize(
    ("old", "new"), [('"HELD"', '"FINE"'), ('[["uid"]', '[["moat"]'), ('"questions":7', '"questions":"many"')]
)
def test_what_no_search_has_written_is_not_believed(folder: Path, tmp_path: Path, old: str, new: str) -> None:
    design, keep = load_design(folder, walls.ALL), tmp_path / "rows.jsonl"
    matrix._keep(keep, design, UP, ROW)
    text = keep.read_text()
    assert old in text
    keep.write_text(text.replace(old, new))
    assert list(matrix._kept(keep, design, UP)) == []


def test_rows_are_kept_in_no_file_of_anybody_elses(tmp_path: Path) -> None:
    mine = tmp_path / "README.md"
    mine.write_text("# mine\n")
    assert not matrix.may_keep_in(mine)
    assert matrix.may_keep_in(tmp_path / "new.jsonl")
    (tmp_path / "empty").touch()
    assert matrix.may_keep_in(tmp_path / "empty")


def test_both_pages_say_that_a_stand_in_is_attacked_where_the_harness_is_and_only_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pump = load_design(ROOT / "designs/insulin_pump", walls.ALL)

    def pages(*ids: str) -> list[str]:
        rows = tuple(Row(name, Outcome.HELD, "held", (), True, 1) for name in ids)
        found = matrix.Matrix(pump, rows, walls.ALL)
        capsys.readouterr()
        Output(None, is_quiet=False).show(ablation_page.page(found))
        return [" ".join(text.split()) for text in (capsys.readouterr().out, matrix_html.page(found))]

    for page in pages("K01", "R06", "R08"):
        assert "In R06, R08, what is attacked is a stand-in for the program that runs the experiment" in page
    for page in pages("K01"):
        assert "stand-in" not in page


def test_a_wall_is_called_idle_only_beside_attacks_that_could_run_against_it() -> None:
    """Seen: an ablation of attacks on the flash called every wall around partitions idle."""
    pump = load_design(ROOT / "designs/insulin_pump", walls.ALL)

    def idle(*ids: str) -> frozenset[str]:
        cut = Cut(frozenset({"floor"}), "a line")
        rows = tuple(Row(name, Outcome.HELD, "held", (cut,), True, 1) for name in ids)
        return frozenset(matrix.Matrix(pump, rows, walls.ALL).idle)

    boot = walls.BOOT_WALL_NAMES
    assert idle("B01") == boot - {"floor"}
    assert idle("K01") == walls.ALL - boot
    assert idle("B01", "K01") == walls.ALL - {"floor"}
    assert idle() == frozenset()


def test_an_attack_has_a_row_for_each_of_its_variants_and_rows_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = load_design(ROOT / "designs/insulin_pump", walls.ALL)
    wall_of = {"": "signature", "signer=stranger": "chain", "signer=revoked": "revocation"}
    asked: list[str] = []

    def ask(_pool: object, line: str, _timeout_s: float = 0.0) -> Summary:
        asked.append(line)
        one = experiment.read(line)
        variant = experiment.parameters_told(one.injections[0].parameters)
        is_through = wall_of[variant] in one.without
        outcome = Outcome.BREACH if is_through else Outcome.HELD
        return Summary(line, outcome.value, (Told("B09", is_through, "."),), (".",))

    monkeypatch.setattr(Workers, "ask", ask)
    heard: list[tuple[str, int, int]] = []
    kept = tmp_path / "rows.jsonl"

    def search() -> matrix.Matrix:
        return matrix.search(
            pump,
            Path("designs/insulin_pump"),
            ["B09"],
            2,
            lambda r, *n: heard.append((r.name, *n)),
            keep=kept,
        )

    found = search()
    assert {row.variant: row.carriers for row in found.rows} == {
        k: frozenset({v}) for k, v in wall_of.items()
    }
    assert [row.name for row in found.rows] == ["B09", "B09(signer=stranger)", "B09(signer=revoked)"]
    assert found.alone["revocation"] == ("B09(signer=revoked)",)
    assert sorted(n for _, *n in heard) == [[1, 3], [2, 3], [3, 3]]
    before = len(asked)
    assert search() == found
    assert len(asked) == before


def test_a_change_in_any_room_that_an_experiment_runs_in_is_another_code(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = ("ipc_schemas", "boot", "sandbox", "monitor", "partitions", "world", "faults", "evidence")
    places = [f"{room}/{name}" for room in rooms for name in ("one.py", "below/two.py")]
    for place in places:
        (tmp_path / "house" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "house" / place).write_text("x = 1\n")
    monkeypatch.setattr(matrix, "_ROOT", tmp_path / "house")
    digest = matrix.code_digest.__wrapped__
    seen = {digest(folder)}
    for path in (*(tmp_path / "house" / place for place in places), folder / "world.py"):
        path.write_text(path.read_text() + "\n")
        seen.add(digest(folder))
    assert len(seen) == 1 + len(places) + 1
    is_root = os.geteuid() == 0
    monkeypatch.setattr(os, "geteuid", lambda: 1_000 if is_root else 0)
    assert digest(folder) not in seen
