"""The plugin of pytest: a device to attack as a fixture.

Where Bulkhead is installed pytest finds it by itself; from Bulkhead's own folder it is named:
``python -m pytest -p evidence.testing.plugin FOLDER``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evidence.testing.harness import Harness, UsageWrong, Warm
from monitor.design import DesignError

_OPTION, _SETTING, _MARK = "--bulkhead-design", "bulkhead_design", "bulkhead_attacks"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How a default design is named."""
    group = parser.getgroup("bulkhead", "attacks on a partitioned device")
    group.addoption(
        _OPTION, metavar="FOLDER", help="the design to test (usual: the one that the tests lie in)"
    )
    parser.addini(_SETTING, "the design to test, relative to this file", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}: run the test once for each attack that the design can be tried with, as attack_id",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each attack, where the mark asks for it."""
    if metafunc.definition.get_closest_marker(_MARK) is None:
        return
    try:
        attacks = Harness(Warm(), design_for(metafunc.config, metafunc.definition.path)).attacks
    except (DesignError, UsageWrong) as error:
        raise pytest.UsageError(f"@pytest.mark.{_MARK}: {error}") from None
    metafunc.parametrize("attack_id", attacks)


def design_for(config: pytest.Config, test_file: Path) -> Path | None:
    """The design that a test is about: from the option, the settings, or the nearest folder with a device.toml."""
    given = config.getoption(_OPTION)
    if given:
        return Path(config.invocation_params.dir, str(given))
    if config.getini(_SETTING):
        return Path(config.inipath.parent if config.inipath else config.rootpath, config.getini(_SETTING))
    return next((folder for folder in test_file.parents if (folder / "device.toml").is_file()), None)


@pytest.fixture(scope="session")
def bulkhead_warm() -> Iterator[Warm]:
    """What all tests share: a nursery of monitors, and the runs of comparison."""
    with Warm() as warm:
        yield warm


@pytest.fixture(scope="module")
def bulkhead(request: pytest.FixtureRequest, bulkhead_warm: Warm) -> Harness:
    """The device under test: see ``evidence.testing.harness.Harness``."""
    return Harness(bulkhead_warm, design_for(request.config, request.path))
