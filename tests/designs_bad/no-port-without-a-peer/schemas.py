"""Message types of a small pacemaker."""

from typing import Annotated

import msgspec

PerMin = Annotated[float, msgspec.Meta(ge=0.0, le=400.0)]


class Rhythm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Beats that the sensor saw."""

    beats_per_min: PerMin


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the electrode is to do."""

    beats_per_min: PerMin


class Hint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How active the patient is."""

    steps_per_min: PerMin
