"""A monitor that hangs or ends before the device is on: one sentence, and nothing left running."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
import zmq

from monitor.loader import load_design, load_schemas
from sandbox import walls
from tests.console import commands
from tests.support.walls import require_wall
from world import bench
from world.bench import Bench, BenchError, Plan, run_folder

#: After this long a bench that has missed what it was to notice is freed, and the test has failed.
RESCUE_S = 60.0
THERMOSTAT = commands.ROOT / "examples" / "thermostat"


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("while True: ...", "the monitor did not switch the device on within 3 s; a design's schemas run in"),
        (
            "os._exit(0)",
            "the monitor ended before it switched the device on (exit status 0) and gave no reas",
        ),
    ],
)
def test_schemas_that_hang_or_end_the_monitor_end_the_run_in_a_sentence(
    deed: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "BOOT_S_MAX", 3.0)
    design = Path(shutil.copytree(THERMOSTAT, tmp_path / "incubator"))
    only_there = f"import enum\nimport os, sys\nif sys.argv[0].startswith('/proc/self/fd/'):\n    {deed}\n"
    schemas = design / "schemas.py"
    schemas.write_text(schemas.read_text().replace("import enum\n", only_there, 1))
    with run_folder() as folder, Bench() as standby:
        until_s = time.monotonic() + 5.0
        while not (seen := commands.descendants(standby.monitor.pid)) and time.monotonic() < until_s:
            time.sleep(0.01)
        assert seen, "the monitor never had a template, so nothing can be said about what was left"
        with pytest.raises(BenchError) as caught:
            standby.run(Plan(design, 3), folder)
        assert words in str(caught.value)
    assert standby.monitor.returncode is not None
    until_s = time.monotonic() + 2.0
    while any(commands.started(pid) == born for pid, born in seen) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert [pid for pid, born in seen if commands.started(pid) == born] == []


def test_a_monitor_that_is_stopped_ends_the_run_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: SIGSTOP to the monitor, and the run waited without limit."""
    monkeypatch.setattr(bench, "SILENCE_S_MAX", 1.0)
    with run_folder() as folder, Bench() as standby:

        def stop(frame: int, _world: object) -> None:
            if frame == 1:
                os.kill(standby.monitor.pid, signal.SIGSTOP)

        with pytest.raises(BenchError, match=r"said nothing for \d+ s after frame [23] of 50 and was killed"):
            standby.run(Plan(THERMOSTAT, 50), folder, on_frame=stop)
    assert standby.monitor.returncode == -signal.SIGKILL


def test_a_monitor_that_is_stopped_after_the_last_frame_ends_the_run_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "SILENCE_S_MAX", 1.0)
    with run_folder() as folder, Bench() as standby:
        # A bench that did not notice would wait for ever.
        rescue = threading.Timer(RESCUE_S, os.kill, (standby.monitor.pid, signal.SIGKILL))
        rescue.daemon = True
        rescue.start()

        def stop(frame: int, _world: object) -> None:
            if frame == 2:
                os.kill(standby.monitor.pid, signal.SIGSTOP)

        with pytest.raises(BenchError, match=r"said nothing for \d+ s after frame 3 of 3 and was killed"):
            standby.run(Plan(THERMOSTAT, 3), folder, on_frame=stop)
        rescue.cancel()


def test_a_gate_that_takes_nothing_and_a_monitor_that_says_nothing_end_the_run_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The world has something to say, and its channel leads nowhere any more."""
    monkeypatch.setattr(bench, "SILENCE_S_MAX", 0.5)
    design = load_design(THERMOSTAT, walls.ALL)
    with Bench() as standby:
        record = bench.Record(Plan(THERMOSTAT, 3), tmp_path, None, frames_done=1)
        session = bench._Session(
            standby, record, load_schemas(design), None, 0.0, lambda _: None, lambda *_: None
        )
        while not any(note.kind == "stage" and note.text == "monitor" for note in record.notes):
            session.drain_notes()
        rescue = threading.Timer(RESCUE_S, os.kill, (standby.monitor.pid, signal.SIGKILL))
        rescue.daemon = True
        rescue.start()
        session._socket = session._context.socket(zmq.PAIR)  # nobody is at its other end
        session._socket.sndtimeo = 50
        with pytest.raises(BenchError, match=r"said nothing for \d+ s after frame 1 of 3 and was killed"):
            session._send(b"a message")
        rescue.cancel()
        session.close()
    assert standby.monitor.returncode == -signal.SIGKILL


@pytest.mark.walls
def test_a_device_whose_gates_cannot_start_ends_with_the_monitors_own_reason(tmp_path: Path) -> None:
    require_wall("mntns")
    design = Path(shutil.copytree(THERMOSTAT, tmp_path / "incubator"))
    schemas = design / "schemas.py"
    only_there = (
        "import enum\nimport os\nif os.path.isdir('/image'):\n    raise RuntimeError('not in here')\n"
    )
    schemas.write_text(schemas.read_text().replace("import enum\n", only_there, 1))
    with run_folder() as folder, Bench() as standby:
        record = standby.run(Plan(design, 3), folder)
    assert record.exit_status == 1
    said = record.of_kind("end")[-1].text  # whichever gate was the first
    assert re.search(r"could not be started: gate-\w+: it died before it was ready", said)
