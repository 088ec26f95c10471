"""What really happened to the patient: written by the world, read by whoever grades a run."""

from __future__ import annotations

from typing import Annotated

import msgspec

_DAYS_MAX_MIN = 60_000
_Length = msgspec.Meta(max_length=_DAYS_MAX_MIN)
Glucose = Annotated[float, msgspec.Meta(ge=0.0, le=2000.0)]
Insulin = Annotated[float, msgspec.Meta(ge=0.0, le=2000.0)]
Minute = Annotated[int, msgspec.Meta(ge=0, le=5_256_000)]


class AlarmSeen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An alarm that reached the patient's handset, or ``watchdog`` when the hardware itself sounded."""

    at_min: Minute
    code: Annotated[str, msgspec.Meta(max_length=64)]
    priority: Annotated[int, msgspec.Meta(ge=1, le=3)]


class Truth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run of one patient. Index ``m`` of a per-minute field is the end of minute ``m`` since power-on.

    ``glucose_mg_dl`` is plasma glucose; ``insulin_on_board_u`` is the insulin under the skin that has yet to
    reach the blood, and ``basal_on_board_u`` what it is at rest on the tuned basal rate; ``delivered_u`` is
    per five-minute slot; ``suspended_min`` lists the minutes in which the pump's watchdog held delivery.
    """

    glucose_mg_dl: Annotated[tuple[Glucose, ...], _Length]
    insulin_on_board_u: Annotated[tuple[Insulin, ...], _Length]
    delivered_u: Annotated[tuple[Insulin, ...], _Length]
    suspended_min: Annotated[tuple[Minute, ...], _Length]
    alarms: Annotated[tuple[AlarmSeen, ...], _Length]
    basal_on_board_u: Insulin
    basal_u_per_h: Insulin
    uploaded_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**48)]
