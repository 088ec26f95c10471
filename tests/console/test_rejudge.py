"""``rejudge`` on the command line: a real journal, changed copies of its design, and what cannot be judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor import journal
from tests.console import commands
from tests.console.test_json import documented, keys_of

pytestmark = pytest.mark.walls
Change = Callable[..., str]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a morning of the pump: a message out of range at 00:30, forged ones at 01:00."""
    folder = tmp_path_factory.mktemp("recording")
    attacks = ("--attack", "C06@00:30", "--attack", "C15@01:00")
    done = commands.run("run", *attacks, "--days", "0.07", "--quiet", "--keep", str(folder))
    assert done.returncode == 0, done.stderr
    return folder / "run.bhj"


@pytest.fixture
def changed(tmp_path: Path) -> Change:
    """Makes a copy of the pump's design with texts replaced; gives its folder."""

    def make(*changes: tuple[str, str]) -> str:
        source = (commands.ROOT / "designs/insulin_pump/device.toml").read_text()
        text = source.replace("../../", f"{commands.ROOT}/")
        head, transfer = text.split("[partition.transfer]")
        for old, new in changes:
            assert old in transfer, old
            transfer = transfer.replace(old, new)
        folder = tmp_path / "changed"
        folder.mkdir()
        (folder / "device.toml").write_text(f"{head}[partition.transfer]{transfer}")
        schemas = (commands.ROOT / "ipc_schemas/insulin_pump.py").read_text()
        (folder / "schemas.py").write_text(schemas)
        return str(folder)

    return make


def told(folder: Path, recording: Path, design: str, status: int) -> dict[str, Any]:
    out = folder / "out.json"
    done = commands.run("rejudge", str(recording), "--design", design, "--quiet", "--json", str(out))
    assert (done.returncode, done.stderr) == (status, ""), done.stdout
    found: dict[str, Any] = json.loads(out.read_text())
    assert found["exit_status"] == status
    return found | {"line": done.stdout}


def test_the_design_of_the_recording_changes_nothing(tmp_path: Path, recording: Path) -> None:
    found = told(tmp_path, recording, "designs/insulin_pump", 0)
    assert found["line"].startswith("NOTHING WOULD DIFFER  ")
    assert found["recorded"] == found["design"]
    assert (found["differs"], found["is_told"], found["frames"]) == (False, True, 20)
    assert found["judged_messages"] > 100
    assert found["judged_events"] == 2


def test_a_stricter_row_of_the_health_table_is_told_with_what_it_leaves_open(
    tmp_path: Path, recording: Path, changed: Change
) -> None:
    design = changed(('bad_message = "drop"', 'bad_message = "restart"'))
    found = told(tmp_path, recording, design, 1)
    assert [(a["frame"], a["event"], a["then"], a["now"]) for a in found["actions"]] == [
        (6, "bad_message", "drop", "restart")
    ]
    horizon = next(each for each in found["horizons"] if each["partition"] == "transfer")
    assert horizon["frame"] == 7
    page = commands.run("rejudge", str(recording), "--design", design).stdout
    first, *rest = page.splitlines()
    assert first.startswith(
        "WOULD DIFFER  1 message admitted then, lost with the window now; 2 messages refused"
    )
    words = " ".join(" ".join(rest).split())
    assert "6 transfer bad_message drop restart 1" in words
    assert "from frame 7 on, what transfer would have done is not in the recording: bad_message in" in words


def test_a_channel_that_is_gone_is_named_and_judged_no_further(
    tmp_path: Path, recording: Path, changed: Change
) -> None:
    channel = """[[channel]]
from = "transfer.activity"
message = "ActivityHint"
kind = "sampling"
bytes = 48
messages_per_frame = 8
rejections_per_frame = 4
to = { "therapy.activity" = { freshness_frames = 2, from_networked = true } }
"""
    found = told(tmp_path, recording, changed((channel, "")), 1)
    gone = {each["name"]: each["messages"] for each in found["missing"] if not each["is_new"]}
    assert set(gone) == {"transfer.activity", "therapy.activity"}
    assert gone["transfer.activity"] > 10
    assert all(m["port"] != "transfer.activity" for m in found["messages"])
    assert {each["partition"]: each["frame"] for each in found["horizons"]} == {
        "transfer": 0,
        "therapy": 0,
        "world": 1,
    }


def test_a_narrower_range_refuses_what_was_admitted(tmp_path: Path, recording: Path, changed: Change) -> None:
    design = Path(changed())
    device = design / "device.toml"
    device.write_text(device.read_text().replace('"ipc_schemas.insulin_pump"', '"schemas.py"'))
    schemas = design / "schemas.py"
    old = "measured_at_min: Minute\n    glucose_mg_dl"
    assert old in schemas.read_text()
    narrow = old.replace("Minute", "Annotated[int, _Meta(ge=0, le=49)]")
    schemas.write_text(schemas.read_text().replace(old, narrow))
    found = told(tmp_path, recording, str(design), 1)
    refused = [m for m in found["messages"] if m["port"] == "world.cgm"]
    assert [(m["frame"], m["then"], m["now"], m["event"], m["messages"]) for m in refused] == [
        (frame, "admitted", "range", "bad_message", 1) for frame in range(9, 20)
    ]
    assert [m["is_sure"] for m in refused[:2]] == [True, True]
    assert {each["partition"]: each["frame"] for each in found["horizons"]}["therapy"] == 10
    # The last reading is of frame 8; it may be three frames old.
    stale = [(a["frame"], a["then"], a["now"]) for a in found["actions"] if a["event"] == "stale_input"]
    assert stale == [(12, "nothing", "note")]


def test_what_rejudge_writes_is_documented(tmp_path: Path, recording: Path, changed: Change) -> None:
    reading = journal.read(recording)
    entries = list(reading.entries)
    flood = journal.Refusal("transfer", 0, "bad_message", "route", "d", 3)
    dropped = journal.Ruling("transfer", "bad_message", "drop", "d")
    late = next(e for e in entries if isinstance(e, journal.Frame) and e.frame == 16)
    entries[entries.index(late)] = journal.Frame(16, late.admitted, (flood,), (dropped,), late.lives)
    crowded = tmp_path / "crowded.bhj"
    writer = journal.Writer(crowded)
    for entry in entries:
        writer.append(entry)
    writer.close()
    table = ('bad_message = "drop"', 'bad_message = "quarantine"')
    depth = ('"world.upload" = { depth = 8 }', '"world.upload" = { depth = 8 }, "world.copy" = { depth = 8 }')
    found = told(tmp_path, crowded, changed(table, depth), 1)
    assert found.pop("line")
    assert found["unsent"]["transfer"] > 0
    assert [each["name"] for each in found["missing"]] == ["world.copy"]
    more = told(tmp_path, crowded, changed_again(tmp_path), 1)
    assert more.pop("line").startswith("CANNOT BE TOLD  ")
    assert more["untold"] == [
        {"frame": 16, "partition": "transfer", "port": "", "reason": "route", "messages": 3}
    ]
    keys = set(keys_of(found)) | set(keys_of(more))
    wanted = documented("Every object", "rejudge")
    assert keys - wanted == set()
    assert wanted - keys <= {"overflows.<name>", *(k for k in wanted if k.startswith("messages[]."))}


def changed_again(folder: Path) -> str:
    """The pump's design under another digest, the same in all that counts."""
    design = folder / "again"
    design.mkdir()
    text = (commands.ROOT / "designs/insulin_pump/device.toml").read_text()
    (design / "device.toml").write_text(text.replace("../../", f"{commands.ROOT}/") + "\n# the same\n")
    return str(design)


def test_what_cannot_be_judged_is_refused_in_one_sentence(tmp_path: Path, recording: Path) -> None:
    broken = tmp_path / "broken.bhj"
    content = bytearray(recording.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    for arguments, words in (
        ((str(broken),), "does not fit the chain"),
        ((str(tmp_path / "none.bhj"),), "No such file or directory; name a journal that a run left"),
        ((str(commands.ROOT / "Makefile"),), "BHJ1); name a journal that a run left with --keep FOLDER"),
        ((str(recording.parent),), f"this is a folder, not a journal; name a file in it: {recording.name}"),
        ((str(recording), "--design", "examples/thermostat"), "no partition in common with thermostat"),
        ((str(recording), "--design", "tests/designs_bad/labels-stay-cleared"), "breaks 1 rule, first"),
    ):
        done = commands.run("rejudge", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_torn_recording_is_no_pass(tmp_path: Path, recording: Path) -> None:
    torn = tmp_path / "torn.bhj"
    torn.write_bytes(recording.read_bytes()[:-20])
    found = told(tmp_path, torn, "designs/insulin_pump", 1)
    assert found["line"].startswith("CANNOT BE TOLD  the recording is torn")
    assert (found["differs"], found["is_told"]) == (False, False)
