"""The safety limiter against a controller that may wish for anything."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_schemas.codec import Codec
from ipc_schemas.insulin_pump import Mode, PumpCommand
from tests.therapy.coupling import image_module
from world.cohort import Settings
from world.insulin import prescription

limiter = image_module("therapy", "limiter")
controller = image_module("therapy", "controller")
SETTINGS = prescription(Settings(1.0, 10.0, 40.0), bytes(32))
ANY = st.floats(allow_nan=True, allow_infinity=True)


def facts(**changed: Any) -> Any:
    usual = limiter.Facts(
        now_min=600,
        glucose_mg_dl=150.0,
        predicted_mg_dl=150.0,
        insulin_on_board_u=0.0,
        is_insulin_known=True,
        is_delivery_trusted=True,
    )
    return usual._replace(**changed)


def limit(rate: float, micro: float, meal: float, **changed: Any) -> Any:
    return limiter.limit(controller.Wish(rate, micro, meal), facts(**changed), SETTINGS, 1)


def is_profile(limited: Any) -> bool:
    return bool(
        limited.command.basal_u_per_h == SETTINGS.basal_profile_u_per_h and limited.command.bolus_u == 0.0
    )


def test_a_wish_within_the_limits_is_granted_in_whole_motor_steps() -> None:
    limited = limit(1.5, 0.23, 3.0)
    assert limited.command == PumpCommand(1, 600, 1.5, 3.2, 30)
    assert limited.mode is Mode.CLOSED_LOOP


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({"basal_max_u_per_h": 2.0}, 2.0),
        ({"daily_basal_factor": 1.5}, 1.5),
        ({"current_basal_factor": 2.5}, 2.5),
        ({}, 3.0),
    ],
)
def test_the_rate_is_the_least_of_three_limits(changes: dict[str, float], rate: float) -> None:
    settings = msgspec.structs.replace(SETTINGS, limits=msgspec.structs.replace(SETTINGS.limits, **changes))
    assert limiter.limit(controller.Wish(35.0, 0.0, 0.0), facts(), settings, 1).command.basal_u_per_h == rate


def test_boluses_have_their_own_limits() -> None:
    assert limit(1.0, 50.0, 0.0).command.bolus_u == SETTINGS.limits.micro_bolus_max_u
    assert limit(1.0, 0.0, 50.0).command.bolus_u == SETTINGS.limits.bolus_max_u


def test_insulin_on_board_with_the_bolus_stays_under_its_limit() -> None:
    most = SETTINGS.limits.insulin_on_board_max_u
    assert limit(3.0, 0.0, 9.0, insulin_on_board_u=most - 2.0).command.bolus_u == pytest.approx(2.0)
    assert is_profile(limit(3.0, 0.5, 9.0, insulin_on_board_u=most))
    assert is_profile(limit(3.0, 0.5, 9.0, insulin_on_board_u=most + 5.0))


@pytest.mark.parametrize("field", ["glucose_mg_dl", "predicted_mg_dl"])
def test_nothing_is_given_below_the_suspend_threshold(field: str) -> None:
    below = limit(3.0, 0.5, 3.0, **{field: 69.9})
    assert below.mode is Mode.SUSPENDED_LOW
    assert (below.command.basal_u_per_h, below.command.bolus_u) == (0.0, 0.0)
    assert limit(3.0, 0.5, 3.0, **{field: 70.0}).command.bolus_u > 0.0


@pytest.mark.parametrize(
    ("changed", "mode"),
    [
        ({"glucose_mg_dl": None}, Mode.FALLBACK_BASAL),
        ({"is_delivery_trusted": False}, Mode.FALLBACK_BASAL),
        ({"is_insulin_known": False}, Mode.WARMING_UP),
        ({"glucose_mg_dl": math.nan}, Mode.FALLBACK_BASAL),
        ({"predicted_mg_dl": math.inf}, Mode.FALLBACK_BASAL),
        ({"insulin_on_board_u": math.nan}, Mode.FALLBACK_BASAL),
    ],
)
def test_what_is_not_known_is_not_dosed_on(changed: dict[str, Any], mode: Mode) -> None:
    limited = limit(3.0, 0.5, 3.0, **changed)
    assert is_profile(limited)
    assert limited.mode is mode


@given(ANY, ANY, ANY, st.none() | ANY, ANY, ANY, st.booleans(), st.booleans())
def test_no_wish_and_no_fact_gets_a_command_past_the_limits(
    rate: float, micro: float, meal: float, glucose: float | None, predicted: float, on_board: float,
    is_known: bool, is_trusted: bool,
) -> None:  # fmt: skip
    state = limiter.Facts(600, glucose, predicted, on_board, is_known, is_trusted)
    command = limiter.limit(controller.Wish(rate, micro, meal), state, SETTINGS, 1).command
    Codec(PumpCommand).decode(msgspec.msgpack.encode(command))
    assert command.basal_u_per_h <= 3.0
    assert command.bolus_u <= SETTINGS.limits.bolus_max_u
    if math.isfinite(on_board) and command.bolus_u > 0.0:
        assert max(0.0, on_board) + command.bolus_u <= SETTINGS.limits.insulin_on_board_max_u + 1e-6


@given(ANY)
def test_limits_that_are_no_numbers_never_make_a_command_that_is_none(bad: float) -> None:
    for name in SETTINGS.limits.__struct_fields__:
        limits = msgspec.structs.replace(SETTINGS.limits, **{name: bad})
        settings = msgspec.structs.replace(SETTINGS, limits=limits)
        command = limiter.limit(controller.Wish(2.0, 0.2, 2.0), facts(), settings, 1).command
        Codec(PumpCommand).decode(msgspec.msgpack.encode(command))
