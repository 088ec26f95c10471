"""The command line without a process of its own: its status, and the one sentence of a refusal."""

from __future__ import annotations

import signal

import pytest

from console.app import main


def status_of(arguments: list[str]) -> int:
    """What the command line ends with. Signal handlers that ``main`` installs are put back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        return main(arguments)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The sentence."""
    assert status_of(arguments) == 2
    captured = capfd.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("run_device: ")
    assert "Traceback" not in captured.err + captured.out
    assert "a defect in Bulkhead" not in lines[0]
    return lines[0]
