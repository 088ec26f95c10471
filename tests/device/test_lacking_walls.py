"""A wall that one partition lacks by its design: it is missing there, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ipc_schemas import links
from monitor import journal
from sandbox.inventory import status_fields
from tests.support.devices import Outcome, Toy, nothing_left
from world.bench import Bench, BenchError, Plan, run_folder

ROOT = Path(__file__).resolve().parents[2]
DESIGN = ROOT / "examples" / "flawed" / "missing_wall"
FILTERED = "2"
pytestmark = pytest.mark.walls


def seccomp_modes(restored: frozenset[str] = frozenset()) -> tuple[dict[str, str], journal.Header]:
    """The seccomp mode of each process of a run (0 is none), and the header of its journal."""
    found: dict[str, str] = {}

    def on_note(note: links.Note) -> None:
        if note.kind == "up":
            for fact, name in (("pid", note.partition), ("gate_pid", f"gate of {note.partition}")):
                if fact in note.facts:
                    found[name] = status_fields(f"/proc/{note.facts[fact]}/status")["Seccomp"]

    with nothing_left(), run_folder() as folder, Bench() as bench:
        record = bench.run(Plan(DESIGN, 2, restored=restored), folder, on_note)
        header = journal.read(record.journal).entries[0]
    assert isinstance(header, journal.Header)
    return found, header


def test_it_is_missing_around_that_partition_only_and_the_journal_says_so() -> None:
    modes, header = seccomp_modes()
    assert modes.pop("transfer") == "0"
    assert set(modes) == {"therapy", "gate of therapy", "gate of transfer", "gate of world"}
    assert set(modes.values()) == {FILTERED}
    assert header.without == ("transfer.seccomp",)


def test_it_can_be_put_up_for_an_experiment() -> None:
    modes, header = seccomp_modes(frozenset({"transfer.seccomp"}))
    assert (modes["transfer"], header.without) == (FILTERED, ())


def test_a_wall_that_it_does_not_lack_cannot_be_put_up() -> None:
    with pytest.raises(
        BenchError, match=r"missing_wall does not lack transfer\.moat; it lacks transfer\.sec"
    ):
        seccomp_modes(frozenset({"transfer.moat"}))


def test_only_the_partition_that_lacks_the_window_wall_may_take_its_time(
    device: Callable[..., Outcome], tmp_path: Path
) -> None:
    slow = Toy("if window.frame == 2: time.sleep(0.3)", budget_ms=60, health={"window_overrun": "drop"})
    folder = slow.write(tmp_path / "toy")
    assert (2, "window_overrun", "drop") in device(folder, 4).rulings()
    toml = folder / "device.toml"
    steady, rogue, rest = toml.read_text().partition("[partition.rogue]")
    toml.write_text(steady + rogue + rest.replace('walls = "all"', 'walls = "all"\nlacks = ["window"]', 1))
    outcome = device(folder, 4)
    assert outcome.rulings() == []
    header = outcome.journal.entries[0]
    assert isinstance(header, journal.Header)
    assert header.without == ("rogue.window",)
