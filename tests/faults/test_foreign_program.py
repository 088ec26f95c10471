"""The foreign program: it sends the most that a message can carry, where it is told to, and nothing else changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from faults import foreign_program
from ipc_schemas import codec
from ipc_schemas.insulin_pump import Alarm, AlarmCode, AlarmPriority, PumpCommand

COMMAND = PumpCommand(7, 480, 0.9, 0.0, 30)


def test_every_quantity_is_at_its_bound_and_every_gate_would_take_it() -> None:
    found = foreign_program.greedy(COMMAND)
    assert found == msgspec.structs.replace(COMMAND, basal_u_per_h=35.0, bolus_u=50.0)
    assert codec.Codec(PumpCommand).decode(codec.encode(found)) == found


def test_a_message_without_quantities_stays_as_it_is() -> None:
    alarm = Alarm(480, AlarmPriority.HIGH, AlarmCode.GLUCOSE_LOW)
    assert foreign_program.greedy(alarm) is alarm


def test_it_says_that_it_runs_and_is_greedy_on_the_given_ports_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Own:
        def window(self, window: Any) -> None:
            assert window.frame == 3
            window.send("pump_command", COMMAND)
            window.send("status", COMMAND)

    foreign_program.take_over(Own, ["pump_command"], "here it is")
    assert capsys.readouterr().err == "here it is\n"
    sent: dict[str, Any] = {}
    Own().window(SimpleNamespace(frame=3, send=sent.__setitem__))
    assert sent["pump_command"].bolus_u == 50.0
    assert sent["status"] == COMMAND
