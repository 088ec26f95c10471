"""docs/ARCHITECTURE.md is true: what it names is there, and what is there is named."""

from __future__ import annotations

from pathlib import Path

from tests.tidy import architecture
from tests.tidy.tree import ROOT, Source, sources

MAP = (ROOT / "docs/ARCHITECTURE.md").read_text()

SMALL_MAP = """# Map
## Files
| path | what |
|---|---|
| `monitor/` | the `kernel` |
| `monitor/gate.py` | gates |

## Processes
| name | file | what |
|---|---|---|
| `gate` | `monitor/gate.py` | one per partition |
"""


def house(root: Path, *names: str) -> list[Source]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('"""The gate."""\nNAME = "gate"\n')
    return [Source(root, Path(name)) for name in names]


def test_every_path_on_the_map_exists() -> None:
    assert len(architecture.named_paths(MAP)) > 10
    assert architecture.wrong_paths(MAP, ROOT) == []


def test_every_process_on_the_map_is_named_in_its_file() -> None:
    assert architecture.wrong_processes(MAP, ROOT) == []


def test_every_room_and_every_trusted_module_is_on_the_map() -> None:
    # Rooms arrive one by one; the map is whole from the day the power button is there.
    if (ROOT / "run_device.py").exists():
        assert architecture.missing_rows(MAP, sources()) == []


def test_a_true_map_draws_no_complaint(tmp_path: Path) -> None:
    everything = house(tmp_path, "monitor/gate.py", "monitor/__init__.py")
    assert architecture.wrong_paths(SMALL_MAP, tmp_path) == []
    assert architecture.wrong_processes(SMALL_MAP, tmp_path) == []
    assert architecture.missing_rows(SMALL_MAP, everything) == []


def test_a_path_that_is_gone_is_seen(tmp_path: Path) -> None:
    house(tmp_path, "monitor/wicket.py")
    assert architecture.wrong_paths(SMALL_MAP, tmp_path) == ["monitor/gate.py", "monitor/gate.py"]


def test_a_process_that_is_renamed_is_seen(tmp_path: Path) -> None:
    house(tmp_path, "monitor/gate.py")
    renamed = SMALL_MAP.replace("| `gate` |", "| `wicket` |")
    assert architecture.wrong_processes(renamed, tmp_path) == ["wicket: not named in monitor/gate.py"]


def test_a_module_or_room_without_a_row_is_seen(tmp_path: Path) -> None:
    everything = house(tmp_path, "monitor/gate.py", "monitor/warden.py", "world/patient.py")
    missing = architecture.missing_rows(SMALL_MAP, everything)
    assert missing == ["| `world/` | |", "| `monitor/warden.py` | The gate |"]
