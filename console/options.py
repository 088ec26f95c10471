"""Options that the verbs share, checked before anything starts."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from console.failures import Refused
from evidence import command as called
from evidence.campaign.strata import WALL_SETS
from faults import attack_files, catalogue
from faults.attack import OFF, Injection
from faults.effects import foreign_image_ran
from monitor.design import Design
from monitor.schedule import ClockRefused, parse_clock
from sandbox import walls

DEFAULT_DESIGN = Path(__file__).resolve().parent.parent / "designs" / "insulin_pump"
DAY_MS = 86_400_000
#: What ``run`` does by default of a design whose frames are so short that a day would take hours.
FRAMES_BY_DEFAULT_MAX = 3_000
DAYS_MAX = 40.0
SEED_MAX = 2**32 - 1
#: A journal's chain value is SHA-256; so many of its digits nobody hits by chance.
CHAIN_DIGITS_MIN, CHAIN_DIGITS = 16, 64

F = TypeVar("F", bound=Callable[..., Any])


class Walls(click.ParamType[frozenset[str]]):
    """``seccomp,netns`` or ``all``."""

    name = "walls"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        """The named walls."""
        if isinstance(value, frozenset):
            return value
        try:
            named = walls.parse_without(value)
        except walls.UnknownWall as error:
            self.fail(str(error), param, ctx)
        if not named:
            self.fail(f"{value!r} names no wall: name one, several with commas between, or all", param, ctx)
        return named


class WallSets(click.ParamType[tuple[str, ...]]):
    """``all``, ``one-out``, ``none``, or several with commas between."""

    name = "wall sets"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names."""
        if isinstance(value, tuple):
            return value
        named = tuple(part.strip() for part in str(value).split(","))
        unknown = [name for name in named if name not in WALL_SETS]
        if unknown:
            self.fail(f"{unknown[0]!r} is no set of walls: name {', '.join(WALL_SETS)}", param, ctx)
        return named


class Clock(click.ParamType[str]):
    """``virtual``, ``real`` or ``60x``."""

    name = "clock"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, if there is such a clock; whether it fits the design is seen when that is read."""
        try:
            parse_clock(value)
        except ClockRefused as error:
            self.fail(str(error), param, ctx)
        return str(value)


class NamedPath(click.ParamType[Path]):
    """A path that was given a name: an empty one would silently mean this folder."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path."""
        if not str(value):
            self.fail("it is empty: name a file or a folder", param, ctx)
        return Path(value)


def not_empty(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """An option that is given has a value: an empty one would silently be the same as none."""
    if value == "":
        raise click.BadParameter("it is empty: give it a value, or leave the option out", context, option)
    return value


class Days(click.ParamType[float]):
    """More than no time, at most ``DAYS_MAX`` days."""

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of days."""
        try:
            days = float(value)
        except ValueError:
            days = math.nan
        if not 0.0 < days <= DAYS_MAX:  # false for NaN as well
            self.fail(f"{value!r} is not a number of days above 0 and up to {DAYS_MAX:g}", param, ctx)
        return days


class ChainValue(click.ParamType[str]):
    """A journal's chain value in hexadecimal, or its beginning."""

    name = "chain"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The digits, in lower case."""
        digits = str(value).strip().lower()
        if not re.fullmatch(rf"[0-9a-f]{{{CHAIN_DIGITS_MIN},{CHAIN_DIGITS}}}", digits):
            few = f"{CHAIN_DIGITS_MIN} to {CHAIN_DIGITS} hexadecimal digits"
            self.fail(f"{value!r} is no chain value: give {few} of what the run printed", param, ctx)
        return digits


class Digest(click.ParamType[str]):
    """32 bytes in hexadecimal."""

    name = "digest"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The digits, in lower case."""
        digits = str(value).strip().lower()
        if not re.fullmatch(r"[0-9a-f]{64}", digits):
            self.fail(f"{value!r} is not 64 hexadecimal digits: copy them whole", param, ctx)
        return digits


class JsonFile:
    """Where the JSON object goes: checked when the command starts, written whole when it ends.

    A file appears under its name only when it is complete. Raises ``Refused`` when it cannot be written.
    """

    def __init__(self, name: str) -> None:
        self.is_stdout = name == "-"
        self._name = name
        self._path = Path(name)
        self._draft: Path | None = None
        if self.is_stdout:
            return
        try:
            if self._path.is_dir():
                raise Refused(f"--json {name}: this is a folder; name a file")
            if self._path.exists() and not self._path.is_file():
                return  # a device or a pipe: written directly
            handle, draft = tempfile.mkstemp(prefix=".bulkhead-", suffix=".json", dir=self._path.parent)
            os.close(handle)
        except OSError as error:
            raise Refused(
                f"--json {name}: cannot be written: {error.strerror}; name a file in a folder that can"
            ) from None
        self._draft = Path(draft)

    def write(self, text: str) -> None:
        """Write it. Raises ``Refused``, which names the file: a full disk's own error does not."""
        try:
            self._write(text)
        except OSError as error:
            raise Refused(
                f"--json {self._name}: cannot be written: {error.strerror}; name a file where there is room"
            ) from None

    def _write(self, text: str) -> None:
        if self.is_stdout:
            click.echo(text)
        elif self._draft is None:
            self._path.write_text(text + "\n", encoding="utf-8")
        else:
            self._draft.write_text(text + "\n", encoding="utf-8")
            self._draft.chmod(0o644)
            self._draft.replace(self._path)
            self._draft = None

    def close(self) -> None:
        """Leave nothing half-written behind."""
        if self._draft is not None:
            self._draft.unlink(missing_ok=True)
            self._draft = None


json_option = click.option(
    "--json",
    "json_file",
    metavar="FILE",
    callback=not_empty,
    help="Write one JSON object (docs/json.md) to FILE; - is stdout.",
)


def common(function: F) -> F:
    """``--design``, ``--seed``, ``--json`` and ``--quiet``."""
    for option in (
        click.option("--quiet", is_flag=True, help="Print the verdict only, in one line."),
        json_option,
        click.option(
            "--seed",
            type=click.IntRange(0, SEED_MAX),
            default=1,
            show_default=True,
            help="What chance is drawn from.",
        ),
        click.option(
            "--design",
            type=NamedPath(),
            default=DEFAULT_DESIGN,
            metavar="FOLDER",
            help="The device: a folder with a device.toml.  [default: the insulin pump]",
        ),
    ):
        function = option(function)
    return function


def patient(function: F) -> F:
    """``--patient``, ``--days``, ``--degraded`` and ``--keep``: what is run, and how far one insists."""
    for option in (
        click.option("--keep", type=NamedPath(), metavar="FOLDER", help="Keep the journals there."),
        click.option(
            "--degraded", is_flag=True, help="Run although this host lacks a wall that the design requires."
        ),
        click.option(
            "--days",
            type=Days(),
            default=None,
            metavar="DAYS",
            help=f"How long, in simulated days, at most {DAYS_MAX:g}.  "
            f"[default: 1, but no more than {FRAMES_BY_DEFAULT_MAX:,} frames]",
        ),
        click.option(
            "--patient",
            type=click.IntRange(0, 1_000_000),
            default=0,
            show_default=True,
            help="Who of the cohort.",
        ),
    ):
        function = option(function)
    return function


def frames_of(design: Design, days: float | None) -> int:
    """How many frames to run; without ``days`` one day, but no more than ``FRAMES_BY_DEFAULT_MAX`` frames."""
    if days is None:
        return min(DAY_MS // design.frame_ms, FRAMES_BY_DEFAULT_MAX)
    return max(round(days * DAY_MS / design.frame_ms), 1)


#: Between attacks that were given no time.
SPACING_MIN = 40


def schedule_of(texts: tuple[str, ...], design: Design, frames: int) -> list[Injection]:
    """The attacks of ``--attack ID[@HH:MM]``. Raises ``Refused`` and ``UnknownAttack``."""
    frame_minutes = max(design.frame_ms // 60_000, 1)
    onset = catalogue.ONSET_FRAME * catalogue.FRAME_MINUTES // frame_minutes
    schedule: list[Injection] = []
    _require_times(texts)
    for text in texts:
        one = catalogue.parse_attack(text, onset_frame=onset, frame_minutes=frame_minutes)
        attack = attack_files.built(design.folder)[one.attack_id]
        if attack.tamper is not None:
            is_shown = attack.effect is foreign_image_ran
            raise Refused(
                f"{one.attack_id} strikes {OFF[attack.strikes]}, and a run with it has no day to attack; "
                f"{f'write {called.command()} boot --attack {one.attack_id}, or ' if is_shown else ''}name it to "
                "ablate or campaign"
            )
        if "@" not in text:  # one after another: two in one frame would spoil each other
            onset += SPACING_MIN // frame_minutes or 1
        clash = next((other for other in schedule if other.frame == one.frame), None)
        if clash is not None:
            raise Refused(
                f"{text}: {clash.attack_id} strikes in the same frame, and one would spoil the other; "
                "give them times further apart"
            )
        if one.frame >= frames:
            raise Refused(
                f"{text}: the run ends before that; say earlier, as {one.attack_id}@00:30, or more --days"
            )
        schedule.append(one)
    return catalogue.with_spans(schedule) if schedule else []


def _require_times(texts: tuple[str, ...]) -> None:
    """An attack that is named twice is two trials only where each has its time. Raises ``Refused``."""
    ids = [text.partition("@")[0].strip().upper() for text in texts]
    for name, text in zip(ids, texts, strict=True):
        if ids.count(name) > 1 and "@" not in text:
            raise Refused(
                f"{name} is named {ids.count(name)} times: give each its time, as {name}@08:00 {name}@12:00, "
                "or name it once"
            )


def kept_in(folder: Path | None, names: tuple[str, ...]) -> Path | None:
    """Make the folder for journals. Raises ``Refused`` when it cannot be, or holds such journals already."""
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"--keep {folder}: cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"--keep {folder}: cannot be written to; name another folder")
    for name in names:
        if (folder / f"{name}.bhj").exists():
            raise Refused(f"--keep {folder}: {name}.bhj is there already; name another folder")
    return folder
