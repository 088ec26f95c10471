"""One run as a process of its own: ``python -m tests.support.one_run DESIGN FRAMES CLOCK``.

Prints the run folder, the monitor's pid and the notes as they come, one JSON array each, so that a test can
kill this process, or its monitor, at any moment. An error is one line on standard error, and status 2.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ipc_schemas import links
from monitor.design import DesignError
from world.bench import Bench, BenchError, Plan, run_folder


def say(*words: object) -> None:
    """One line, at once."""
    print(json.dumps(words), flush=True)


def main(design: str, frames: str, clock: str) -> int:
    """Run to the end, whatever it is."""

    def note(note: links.Note) -> None:
        say(note.kind, note.partition, note.text, note.facts)

    try:
        with run_folder() as folder, Bench() as bench:
            say("started", str(folder), bench.monitor.pid)
            plan = Plan(Path(design), int(frames), clock=clock)
            record = bench.run(plan, folder, on_note=note, on_frame=lambda frame, _: say("frame", frame))
            say("done", record.exit_status, record.frames_done, record.world.orphaned_frames)
    except (BenchError, DesignError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
