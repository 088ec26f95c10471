"""The comparator is seen to see: therapies with a planted leak are caught, and an honest one is not accused."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from evidence import noninterference
from evidence.noninterference import Comparison, Difference, Emission
from faults import catalogue, experiment
from ipc_schemas import codec
from monitor.loader import load_design
from sandbox import walls
from world.bench import Plan
from world.devices import Overlay

DESIGN = Path("designs/insulin_pump")
FRAMES = 24

_LEAKY = """
    import msgspec
    from main import Therapy

    {source}

    class Leaking:
        def __init__(self, window):
            self._window = window

        def __getattr__(self, name):
            return getattr(self._window, name)

        def send(self, port, message):
            if port == "status":
                message = msgspec.structs.replace(message, basal_u_per_h=1.0 + 1e-6 * leak())
            self._window.send(port, message)

    class Leaky(Therapy):
        def window(self, window):
            super().window(Leaking(window))
"""
_CLOCK = """
    import time
    def leak():
        return time.time_ns() // 1000 % 1000
"""
_LOAD_AVERAGE = """
    import zlib
    def leak():
        with open("/proc/loadavg", "rb") as file:
            return zlib.crc32(file.read()) % 1000
"""
_SHARED_FILE = """
    import os
    def leak():
        return os.path.getsize("{path}") if os.path.exists("{path}") else 0
"""
_WRITER = """
    from main import Transfer

    class Writer(Transfer):
        def window(self, window):
            super().window(window)
            with open("{path}", "a") as out:
                out.write("x" * window.frame)
"""


def _overlay(partition: str, name: str, entry: str, source: str) -> dict[str, Overlay]:
    folder = load_design(DESIGN, walls.ALL).partition(partition).image
    return {partition: Overlay(folder, entry, {name: textwrap.dedent(source).encode()})}


def _therapy_with(source: str) -> dict[str, Overlay]:
    body = textwrap.dedent(_LEAKY).format(source=textwrap.dedent(source))
    return _overlay("therapy", "leaky.py", "leaky:Leaky", body)


def _compare(plan: Plan) -> Comparison:
    """Run A as planned, then R with players for the other partitions, and compare T."""
    attacked = experiment.run(plan)
    assert attacked.reading is not None
    recorded = noninterference.emissions(attacked.reading, noninterference.others(attacked.design))
    overlays = {**plan.overlays, **noninterference.players(attacked.design, recorded)}
    replayed = experiment.run(replace(plan, overlays=overlays))
    assert replayed.reading is not None
    critical = noninterference.critical(attacked.design)
    return noninterference.compare(
        noninterference.emissions(attacked.reading, critical),
        noninterference.emissions(replayed.reading, critical),
    )


@pytest.mark.walls
def test_an_honest_therapy_says_the_same_with_and_without_the_attacker() -> None:
    plan = Plan(DESIGN, FRAMES)
    schedule = [catalogue.parse_attack(text) for text in ("C06@00:30", "C14@00:50", "K01@01:10", "C05@01:30")]
    attacked = experiment.run(plan, schedule)
    assert attacked.reading is not None
    recorded = noninterference.emissions(attacked.reading, noninterference.others(attacked.design))
    assert recorded, "nothing was admitted from transfer, so there is nothing to replay"
    replayed = experiment.run(replace(plan, overlays=noninterference.players(attacked.design, recorded)))
    assert replayed.reading is not None
    assert noninterference.emissions(replayed.reading, noninterference.others(replayed.design)) == recorded
    critical = noninterference.critical(attacked.design)
    found = noninterference.compare(
        noninterference.emissions(attacked.reading, critical),
        noninterference.emissions(replayed.reading, critical),
    )
    assert found.holds, found.difference
    assert found.messages >= 2 * (FRAMES - 2)


@pytest.mark.walls
def test_an_attacked_run_leaves_the_same_journal_each_time() -> None:
    schedule = [catalogue.parse_attack(t) for t in ("K01@00:30", "C14@00:50", "C15@01:10", "C03@01:30")]
    chains = {experiment.run(Plan(DESIGN, FRAMES), schedule).chain for _ in range(2)}
    assert len(chains) == 1
    assert chains != {""}
    assert experiment.run(Plan(DESIGN, FRAMES), schedule[:3]).chain not in chains


@pytest.mark.walls
@pytest.mark.parametrize(
    ("source", "without"),
    [(_CLOCK, frozenset[str]()), (_LOAD_AVERAGE, frozenset({"procfs", "landlock"}))],
    ids=["clock", "load-average"],
)
def test_a_therapy_that_leaks_the_host_into_its_output_is_caught(
    source: str, without: frozenset[str]
) -> None:
    found = _compare(Plan(DESIGN, FRAMES, overlays=_therapy_with(source), without=without))
    assert found.difference is not None
    assert (found.difference.port, found.difference.field) == ("therapy.status", "basal_u_per_h")


@pytest.mark.walls
def test_a_therapy_that_reads_a_file_the_attacker_writes_is_caught(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    shared = tmp_path / "shared"
    overlays = _therapy_with(_SHARED_FILE.format(path=shared))
    overlays |= _overlay("transfer", "writer.py", "writer:Writer", _WRITER.format(path=shared))
    open_to_files = frozenset({"mntns", "landlock", "rlimits", "uid"})

    class Fresh:
        """The file is of one run, as the memory of a machine would be."""

        def __enter__(self) -> None:
            shared.unlink(missing_ok=True)

        def __exit__(self, *_: object) -> None:
            shared.unlink(missing_ok=True)

    plan = Plan(DESIGN, FRAMES, overlays=overlays, without=open_to_files)
    with Fresh():
        attacked = experiment.run(plan)
    assert attacked.reading is not None
    recorded = noninterference.emissions(attacked.reading, noninterference.others(attacked.design))
    replay = {**overlays, **noninterference.players(attacked.design, recorded)}
    with Fresh():
        replayed = experiment.run(replace(plan, overlays=replay))
    assert replayed.reading is not None
    critical = noninterference.critical(attacked.design)
    found = noninterference.compare(
        noninterference.emissions(attacked.reading, critical),
        noninterference.emissions(replayed.reading, critical),
    )
    assert found.difference is not None
    assert found.difference.port == "therapy.status"


def _message(frame: int, port: str, **fields: object) -> Emission:
    return Emission(frame, port, codec.encode(fields))


def test_a_difference_names_frame_port_and_field() -> None:
    one = (_message(1, "a.x", dose=1.0), _message(2, "a.x", dose=2.0))
    other = (_message(1, "a.x", dose=1.0), _message(2, "a.x", dose=2.5))
    assert str(noninterference.compare(one, other).difference) == "frame 2, a.x.dose: 2.0 against 2.5"


@pytest.mark.parametrize("flip", [False, True])
def test_a_missing_message_is_a_difference_on_either_side(flip: bool) -> None:
    longer = (_message(1, "a.x", dose=1.0), _message(2, "a.x", dose=2.0), _message(3, "a.x", dose=2.0))
    for shorter in (longer[:2], longer[:1] + longer[2:], longer[1:], ()):
        pair = (shorter, longer) if flip else (longer, shorter)
        assert noninterference.compare(*pair).difference is not None


def test_two_silent_runs_prove_nothing() -> None:
    silent = noninterference.compare((), ())
    assert silent.is_vacuous
    assert not silent.holds


def test_numbers_are_short_unless_they_part_further_behind_the_point() -> None:
    assert (
        str(Difference(97, "a.b", "u", 35.0, 1.5306387391679528)) == "frame 97, a.b.u: 35.0 against 1.53064"
    )
    assert str(Difference(97, "a.b", "u", 1.5306387391679528, 1.5306387391679529e0 + 1e-12)) == (
        "frame 97, a.b.u: 1.5306387391679528 against 1.530638739168953"
    )
