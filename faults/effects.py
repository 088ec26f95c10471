"""Detectors that several attacks share. Each looks at what happened, none at what the attacker was told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from faults.attack import CannotTell, Detect, Effect, Injection
from faults.seen import Emission, Observations, bound, first_difference
from faults.words import counted
from ipc_schemas import codec

#: What foreign code says of itself when it runs. The same in every run, so that its journal is, too.
FOREIGN_MARK = "a foreign image runs"
#: Rules of the boot that are no walls: what breaks one of them alone says nothing about an attack.
NO_WALLS = frozenset({"form", "element", "layer", "seal"})

#: Below this the patient's model goes on to values at which nobody lives.
SHOWN_LOWEST_MG_DL = 20

#: Bounds against which a bomb's effect is measured when the injection does not carry the design's own. Where
#: no control group can be had, the address-space limit alone bounds memory: what sandbox.limits grants the
#: interpreter (128 MiB) and the gate's own 32 MiB or the partition's 256 MiB; and a little for rounding.
GATE_RSS_BYTES_MAX = 168 << 20
PARTITION_RSS_BYTES_MAX = 392 << 20
#: Up to here a double (IEEE 754 binary64) can tell each whole number from the next.
WHOLE_IN_DOUBLES_MAX = 1 << 53
#: What these two bounds are, for people.
GRANTED = "(its own limit and what the interpreter needs)"


def in_mib(size: float) -> str:
    """``size`` bytes in words, in mebibytes: what a design's ``memory_mb`` counts in, too."""
    return f"{size / (1 << 20):.0f} MiB"


def gate_memory(seen: Observations, injection: Injection, otherwise: str) -> Effect:
    """Whether the process that reads the attacker's bytes grew beyond its means; if not, ``otherwise`` opens."""
    limit = bound(injection, "gate_rss_bytes_max", GATE_RSS_BYTES_MAX)
    peak = max(peak.rss_bytes_max for peak in seen.peaks_of(injection, seen.gate_label))
    if peak > limit:
        return Effect(True, f"The reader's memory grew to {in_mib(peak)}, above {in_mib(limit)} {GRANTED}.")
    return Effect(
        False, f"{otherwise}; the reader's memory peaked at {in_mib(peak)}, within {in_mib(limit)} {GRANTED}."
    )


def admitted_although(reason: str, what: str, one: str = "") -> Detect:
    """A detector of admitted messages that a strict reader refuses for ``reason``.

    ``what`` they are, in the plural; ``one`` of them, in the singular.
    """

    def detector(seen: Observations, injection: Injection) -> Effect:
        """Such a message was admitted."""
        guilty = [
            each for each, payload in seen.payloads(injection) if seen.refusal(each.port, payload) == reason
        ]
        if guilty:
            told = f"1 {one}" if one and len(guilty) == 1 else f"{len(guilty)} {what}"
            return Effect(True, f"{told} went through to {guilty[0].port} in frame {guilty[0].frame}.")
        return Effect(False, f"No {what} went through.")

    return detector


class Impossible(NamedTuple):
    """A number that no quantity has, and the field of a message that holds it, such as ``doses[3].insulin_u``."""

    field: str
    value: float


def impossible_number(payload: bytes) -> Impossible | None:
    """The first number in a message that is not finite, or of which a neighbouring whole number cannot be told.

    Whatever its type says: a type may lack a bound, or have one that is worth nothing.
    """
    return next(_impossible("", anything(payload)), None)


def _impossible(field: str, value: object) -> Iterator[Impossible]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _impossible(f"{field}.{name}" if field else str(name), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _impossible(f"{field}[{index}]", item)
    elif (
        isinstance(value, int | float) and not abs(value) <= WHOLE_IN_DOUBLES_MAX
    ):  # not a number compares to none
        yield Impossible(field, value)


def forged(seen: Observations, injection: Injection, payloads: Mapping[bytes, str]) -> Effect | None:
    """Whether one of these very payloads was admitted, whoever it was put down to."""
    for one in seen.admitted_in(injection):
        for payload in one.payloads:
            if payload in payloads:
                what = payloads[payload]
                return Effect(
                    True, f"{what} went through to {one.port} in frame {one.frame}, as if from {one.source}."
                )
    return None


def minute_of(injection: Injection) -> int:
    """The minute that the attack wrote into its forgeries, by its frame."""
    return int(injection.frame * bound(injection, "frame_minutes", 5))


def anything(payload: bytes) -> object:
    """Whatever MessagePack value the bytes hold; ``None`` when they hold none."""
    try:
        value: object = codec.decode_any(payload)
    except Exception:  # hostile bytes make a decoder raise anything
        return None
    return value


def got_out(attack_id: str) -> Detect:
    """A detector of messages at the attacker's server."""

    def detector(seen: Observations, injection: Injection) -> Effect:
        """The mark of this attack and frame arrived."""
        if seen.received is None:
            raise CannotTell("no attacker's server was listening")
        mark = f"EGRESS {attack_id} frame={injection.frame} ".encode()
        doors = sorted({one.door for one in seen.received if mark in one.data})
        if doors:
            return Effect(True, f"Its message arrived at the attacker's server by {' and '.join(doors)}.")
        return Effect(False, "Nothing arrived at the attacker's server.")

    return detector


def lost_a_life(seen: Observations, injection: Injection) -> Effect | None:
    """Whether the victim lost a life in the attack's frames; ``None`` when it did not."""
    deaths = seen.ended(injection, seen.victim)
    if not deaths:
        return None
    return Effect(True, f"{seen.victim} lost a life in frame {deaths[0].ended_frame} ({deaths[0].reason}).")


def died_or_stopped(seen: Observations, injection: Injection) -> Effect:
    """Whether the victim lost a life or a window, or was stopped, in the attack's frames."""
    death = lost_a_life(seen, injection)
    if death:
        return death
    missed = seen.missed_by(injection, seen.victim)
    if missed:
        return Effect(
            True,
            f"{seen.victim} missed {counted(len(missed), 'window')}, the first in frame {missed[0].frame}.",
        )
    for (label, frame), peak in (seen.peaks or {}).items():
        if label == seen.victim and injection.covers(frame) and peak.was_stopped:
            return Effect(True, f"{seen.victim} was stopped in frame {frame}.")
    return Effect(False, f"{seen.victim} lived on and missed no window.")


def innocent_ended(seen: Observations, injection: Injection) -> Effect:
    """Whether the monitor ended the victim, which had done nothing, and whether it was started again."""
    lost = seen.ended(injection, seen.victim)
    if not lost:
        return Effect(False, f"The monitor ended no life of {seen.victim}.")
    is_off = all(life.ended_frame is not None for life in seen.lives or () if life.partition == seen.victim)
    times = f"{len(lost)} time{'s' if len(lost) > 1 else ''}"
    rest = ", until it was not started again" if is_off else ""
    return Effect(True, f"{seen.victim}, which had done nothing, was ended {times}{rest} ({lost[0].reason}).")


def foreign_image_ran(seen: Observations, _injection: Injection) -> Effect:
    """Code that is not of the device's release ran on it: it said so itself, in its log, or it sent something else."""
    if seen.boot_refused is None:
        raise CannotTell("nobody listened to the boot")
    said = next((line.partition for line in seen.log_lines if FOREIGN_MARK in line.text), "")
    if seen.boot_refused and not seen.boot_rules - NO_WALLS:
        return Effect(None, f"The device did not start, and by no wall: {seen.boot_refused}.")
    if seen.boot_refused:
        return Effect(False, f"The device did not start: {seen.boot_refused}.")
    if seen.therapy_outputs is None or seen.reference_outputs is None:
        if not said:
            raise CannotTell("no record of what the critical partitions sent")
        return Effect(True, f"An image that is not the device's own ran as {said}.")
    harm = _foreign_output(seen, seen.therapy_outputs, seen.reference_outputs)
    if said:
        return Effect(True, f"An image that is not the device's own ran as {said}{harm and f': {harm}'}.")
    if harm:
        return Effect(True, f"What ran as {seen.victim} was not the device's own: {harm}.")
    return Effect(False, "The foreign image did not run.")


def affirmed_although_foreign(seen: Observations, _injection: Injection) -> Effect:
    """A verifier affirmed the device's release although code that is not of it ran."""
    if seen.attested is None and not seen.boot_refused:
        raise CannotTell("nobody challenged the device, or it did not answer")
    if seen.attested is None:
        is_wall = bool(seen.boot_rules - NO_WALLS)
        return Effect(False if is_wall else None, f"The device did not start: {seen.boot_refused}.")
    if not any(FOREIGN_MARK in line.text for line in seen.log_lines):
        raise CannotTell("the foreign code did not run, so there was nothing to be told or hidden")
    if seen.attested.verdict == "AFFIRMING":
        return Effect(True, f"The verifier affirmed it ({seen.attested.sentence}), and a foreign image ran.")
    return Effect(False, f"The verifier said {seen.attested.verdict}: {seen.attested.sentence}.")


def _foreign_output(seen: Observations, sent: tuple[Emission, ...], reference: tuple[Emission, ...]) -> str:
    """What the victim sent that the device's own does not, and what came of it; empty when it sent the same."""
    if first_difference(sent, reference) is None:
        return ""
    other = len(set(sent) - set(reference))
    words = f"{other} of its {counted(len(sent), 'message')} are not those of the device's own"
    if seen.delivered_u:
        words += f"; {sum(seen.delivered_u):.1f} U of insulin were given"
    if seen.true_glucose_mg_dl:
        lowest = min(seen.true_glucose_mg_dl)
        fell = f"to {lowest:.0f}" if lowest >= SHOWN_LOWEST_MG_DL else f"below {SHOWN_LOWEST_MG_DL}"
        words += f", and the true glucose fell {fell} mg/dL"
    return words
