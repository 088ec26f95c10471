"""What is kept is kept whole, belongs to one campaign, and is there again after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from evidence.campaign import store as stores
from evidence.campaign.store import Identity, Store, StoreWrong, write_parquet
from tests.campaign.test_results import SOME, made

ROOT = Path(__file__).resolve().parent.parent.parent
MINE = Identity(SOME.campaign, "d1", "c1", ("caps", "uid"))


def test_results_come_back_in_order_and_the_first_one_of_a_number_stays(tmp_path: Path) -> None:
    with Store(tmp_path / "a.sqlite", MINE) as store:
        for number in (3, 1, 2):
            store.keep(made(number, "HELD", (1.5,)))
        store.keep(made(2, "BREACH"))
    with Store(tmp_path / "a.sqlite", MINE) as store:
        assert store.done() == {1, 2, 3}
        assert list(store.results()) == [made(number, "HELD", (1.5,)) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (msgspec.structs.replace(MINE, design="d2"), "another design"),
        (msgspec.structs.replace(MINE, code="c2"), "other code"),
        (msgspec.structs.replace(MINE, available=("caps",)), "other walls"),
        (
            msgspec.structs.replace(MINE, campaign=msgspec.structs.replace(SOME.campaign, seed=9)),
            "another plan",
        ),
    ],
)
def test_another_campaign_is_refused_and_loses_nothing(tmp_path: Path, other: Identity, says: str) -> None:
    with Store(tmp_path / "a.sqlite", MINE) as store:
        store.keep(made(1, "HELD"))
    with pytest.raises(StoreWrong, match=says):
        Store(tmp_path / "a.sqlite", other)
    with Store(tmp_path / "a.sqlite", MINE) as store:
        assert store.done() == {1}


def test_a_refused_plan_is_told_field_by_field_with_both_values(tmp_path: Path) -> None:
    with Store(tmp_path / "a.sqlite", MINE):
        pass
    plan = msgspec.structs.replace(SOME.campaign, trials=60, attacks=("C06",))
    with pytest.raises(StoreWrong) as refused:
        Store(tmp_path / "a.sqlite", msgspec.structs.replace(MINE, campaign=plan))
    assert (
        "another plan (--trials there 40, asked 60; attacks there C06 K09, asked C06); give the options that it has"
        in str(refused.value)
    )
    assert "seed" not in str(refused.value)
    with pytest.raises(StoreWrong, match=r"other walls \(there caps,uid; here caps\)"):
        Store(tmp_path / "a.sqlite", msgspec.structs.replace(MINE, available=("caps",)))


@pytest.mark.parametrize("text", ["{", "[]", '{"seed": {"a": 1}}'])
def test_a_damaged_plan_is_refused_all_the_same(tmp_path: Path, text: str) -> None:
    with Store(tmp_path / "a.sqlite", MINE):
        pass
    with sqlite3.connect(tmp_path / "a.sqlite") as data:
        data.execute("UPDATE campaign SET value = ? WHERE name = 'campaign'", (text,))
    data.close()
    with pytest.raises(StoreWrong, match="another plan"):
        Store(tmp_path / "a.sqlite", MINE)


def test_every_field_of_a_plan_can_be_told() -> None:
    assert set(stores._PLAN_WORDS) == set(SOME.campaign.__struct_fields__)


def test_a_file_that_is_no_campaign_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"Dear Sir or Madam, " * 100)
    with pytest.raises(StoreWrong, match=r"letter\.txt"):
        Store(path, MINE)
    assert path.read_bytes() == b"Dear Sir or Madam, " * 100


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "a.sqlite", MINE) as first:
        first.keep(made(1, "HELD"))
        with pytest.raises(StoreWrong, match="locked"):
            Store(tmp_path / "a.sqlite", MINE)


def test_a_row_that_no_campaign_has_written_is_not_believed(tmp_path: Path) -> None:
    with Store(tmp_path / "a.sqlite", MINE) as store:
        store.keep(made(1, "BREACH"))
    with sqlite3.connect(tmp_path / "a.sqlite") as data:
        data.execute('UPDATE trial SET result = \'{"outcome": "HELD"}\'')
    data.close()
    with Store(tmp_path / "a.sqlite", MINE) as store, pytest.raises(StoreWrong, match="trial 1"):
        list(store.results())


def test_parquet_has_one_row_a_trial(tmp_path: Path) -> None:
    from pyarrow import parquet

    some = [made(0, "HELD", (2.0, 3.5)), made(1, "NO-REPLY")]
    assert write_parquet(tmp_path / "trials.parquet", iter(some)) == 2
    rows = parquet.read_table(tmp_path / "trials.parquet").to_pylist()
    assert [(r["number"], r["outcome"], r["kill_ms"]) for r in rows] == [
        (0, "HELD", [2.0, 3.5]),
        (1, "NO-REPLY", []),
    ]
    assert rows[0]["line"] == some[0].line
    assert [path.name for path in tmp_path.iterdir()] == ["trials.parquet"]


_WRITER = """
import sys
from pathlib import Path
from evidence.campaign.store import Store
from tests.campaign.test_results import made
from tests.campaign.test_store import MINE
with Store(Path(sys.argv[1]), MINE) as store:
    for number in range(40):
        store.keep(made(number, "HELD"))
        print(number, flush=True)
"""


def test_a_killed_campaign_keeps_every_result_that_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        heard = [int(writer.stdout.readline()) for _ in range(7)]
        os.kill(writer.pid, signal.SIGKILL)
    with Store(path, MINE) as store:
        assert store.done() >= set(heard)
