"""The table of costs has its rows, its statistics are right, and its designs are sound.

No time is asserted.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import boot, kill, machine, report, throughput
from benchmarks.device import build
from benchmarks.figures import Effort, Spread, beside, percentile, spread
from monitor import rules
from monitor.loader import load_design, load_schemas
from sandbox import walls


def test_each_row_of_the_table_of_costs_is_there_once() -> None:
    names = [row.name for row in command.ROWS]
    assert names == [
        "throughput", "kill", "power_on", "boot", "patient_days", "lateness", "campaign", "growth", "boot_growth",
    ]  # fmt: skip
    for row in command.ROWS:
        assert 0 < row.steps(Effort(is_quick=True)) < row.steps(Effort())


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(n) for n in range(1, 201)]
    assert [percentile(values, p) for p in (50, 99, 99.9, 100)] == [100.0, 198.0, 200.0, 200.0]
    assert percentile([3.0], 50) == 3.0
    assert percentile([float(n) for n in range(1, 2001)], 99.9) == 1998.0


@pytest.mark.parametrize("statistic", [spread, lambda values: percentile(values, 50)])
def test_nothing_measured_is_no_figure(statistic: object) -> None:
    with pytest.raises(ValueError, match="no value was measured"):
        statistic([])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("ours", "limits", "is_met"),
    [
        (75.0, {"at_least": 0.75}, True),
        (74.0, {"at_least": 0.75}, False),
        (300.0, {"at_most": 3.0}, True),
        (301.0, {"at_most": 3.0}, False),
        (100.0, {"at_most": 3.0, "also": False}, False),
        (100.0, {}, None),
    ],
)
def test_an_aim_is_judged_by_the_ratio_of_medians(
    ours: float, limits: dict[str, float], is_met: bool | None
) -> None:
    figure = beside("row", "what", "ms", spread([ours]), "peer", spread([100.0]), **limits)  # type: ignore[arg-type]
    assert figure.ratio == ours / 100.0
    assert figure.is_met is is_met


def _throughput_design(folder: Path, partitions: int, load: build.Load) -> Path:
    return throughput.design(folder, throughput.Setting(load, partitions))


@pytest.mark.parametrize("size", throughput.SIZES)
def test_a_load_has_the_size_it_says(size: int) -> None:
    assert len(build.packet_payload(build.Load(1, size))) == size


@pytest.mark.parametrize("partitions", throughput.PARTITIONS)
@pytest.mark.parametrize("size", [throughput.SIZES[0], throughput.SIZES[-1]])
def test_every_measured_design_breaks_no_rule(tmp_path: Path, partitions: int, size: int) -> None:
    load = build.Load(throughput.per_frame(size), size)
    folder = _throughput_design(tmp_path, partitions, load)
    design = load_design(folder, walls.ALL)
    assert rules.check(design, load_schemas(design)) == ()
    assert len(design.partitions) == partitions


def test_a_violator_is_killed_once_in_each_life() -> None:
    assert len(kill.ours_ms(3)) == 3


def test_each_stage_of_a_boot_has_its_share_of_the_whole() -> None:
    found = boot.stage_ms(boot.with_file(0.5))
    assert list(found) == [*boot.STAGES, boot.WHOLE]
    assert min(found.values()) > 0
    assert sum(found[name] for name in boot.STAGES) == pytest.approx(found[boot.WHOLE])


@pytest.mark.parametrize(
    ("over_ms", "said"),
    [
        (
            {1.0: 10.0, 4.0: 40.0, 8.0: 80.0},
            "10.0 ms for each MiB more; it grows as the size to the power 1.00",
        ),
        ({1.0: 1.0, 4.0: 16.0, 8.0: 64.0}, "to the power 2.00 (1 is linear)"),
        ({1.0: -3.0, 4.0: 40.0, 8.0: 80.0}, "no exponent"),
        ({1.0: 10.0, 4.0: 40.0, 8.0: 39.0}, "no exponent"),
    ],
)
def test_growth_is_a_slope_and_an_exponent_only_where_it_stands_out(
    over_ms: dict[float, float], said: str
) -> None:
    assert said in boot.growth_of(over_ms)


def test_the_report_says_met_or_not_met_and_names_the_machine() -> None:
    good = beside("a", "quick thing", "ms", spread([1.0, 2.0]), "peer", spread([1.0]), at_most=3.0)
    bad = beside(
        "b", "slow thing", "ms", Spread(9.0, 8.0, 10.0, 3), "peer", spread([1.0]), at_most=3.0, remark="why"
    )
    here = machine.describe()
    out = io.StringIO()
    report.show(Console(file=out, width=160), [good, bad], here, {"c": "no such thing"})
    text = out.getvalue()
    assert "\x1b" not in text
    for words in (
        "1.5 ms (1 .. 2)",
        "not met",
        "why",
        "c: could not be measured: no such thing",
        here.kernel,
    ):
        assert words in text
    value = json.loads(report.as_json([good, bad], here, {}))
    assert value["format"] == 1
    assert [figure["is_met"] for figure in value["figures"]] == [True, False]
    assert value["machine"]["cores"] >= 1
