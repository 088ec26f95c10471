"""Seeds that replay, and skips that can fail.

- Hypothesis draws from one seed, chosen here unless ``--hypothesis-seed`` gives it, and printed on failure.
- ``WALLS_MUST_HOLD=1`` turns every skipped test into a failed one, so that a host without walls cannot pass
  by running nothing. Only being root, or not being root, still excuses a test that is marked for the other.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("bulkhead", deadline=None, max_examples=100, print_blob=True)
hypothesis.settings.load_profile("bulkhead")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--every-bit``: tests that draw which bits to change change each of them, which takes minutes."""
    parser.addoption("--every-bit", action="store_true", help="change every single bit where some are drawn")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Fix the Hypothesis seed before Hypothesis's own plugin reads the option.

    And hear Ctrl-C: a shell has what it starts in the background ignore it, and all that is started from there.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("hypothesis_seed", None) is None:
        chosen = getattr(config, "workerinput", {}).get("hypothesis_seed")
        config.option.hypothesis_seed = chosen or str(random.SystemRandom().randrange(2**32))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the seed to a worker process of pytest-xdist, which does not inherit it."""
    node.workerinput["hypothesis_seed"] = str(node.config.getoption("hypothesis_seed"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how to get the same random cases again."""
    if terminalreporter.stats.get("failed"):
        seed = config.getoption("hypothesis_seed")
        terminalreporter.write_line(f"same random cases again: make test ARGS=--hypothesis-seed={seed}")


def walls_must_hold() -> bool:
    """Whether a skip counts as a failure in this run."""
    return os.environ.get("WALLS_MUST_HOLD", "") == "1"


def wrong_user(item: pytest.Item) -> str | None:
    """Why this user cannot run the test, if its ``root`` or ``unprivileged`` mark says so."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        return "needs root"
    if item.get_closest_marker("unprivileged") and os.geteuid() == 0:
        return "needs an ordinary user"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the present user cannot run."""
    for item in items:
        reason = wrong_user(item)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"WALLS_MUST_HOLD=1, and this did not run: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skipped itself fails when walls must hold."""
    report = yield
    if walls_must_hold() and wrong_user(item) is None:
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that skipped itself as a whole fails when walls must hold."""
    report = yield
    if walls_must_hold():
        _fail_if_skipped(report)
    return report
