"""Whether an attack had its effect. One detector per attack; none looks at an error code.

A detector is given what the harness saw of a run (``Observations``) and one injection, and says yes, no, or
that it cannot tell. What the harness did not look at is ``None`` in the observations, and a detector that
needs it cannot tell. Not being able to tell is never a pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from faults.attacks.headers import forged_command, forged_reading
from faults.attacks.payloads import AMBIGUOUS_COUNTERS, AMBIGUOUS_STEPS
from faults.catalogue import Injection, row
from faults.observations import Admitted, Emission, Life, LogLine, Missed, Observations
from faults.watcher import Peaks
from ipc_schemas import codec

__all__ = [
    "DETECTORS",
    "Admitted",
    "Effect",
    "Emission",
    "Life",
    "LogLine",
    "Missed",
    "Observations",
    "describe",
    "detect",
    "first_difference",
    "was_activated",
]

#: Bounds against which a bomb's effect is measured when the injection does not carry the design's own. Where
#: no control group can be had, the address-space limit alone bounds memory: what sandbox.limits grants the
#: interpreter (128 MiB) and the gate's own 32 MiB or the partition's 256 MiB; and a little for rounding.
GATE_RSS_BYTES_MAX = 168 << 20
PARTITION_RSS_BYTES_MAX = 392 << 20
HELD_BYTES_MAX = 256 << 20
FILE_BYTES_MAX = 1 << 20
PROCESSES_MAX = 1
FILES_MAX = 64
MESSAGES_PER_FRAME_MAX = 1
MESSAGE_BYTES_MAX = 4_352  # the largest that the reference design lets any of transfer's ports carry
STALL_S = 2.0


class Effect(NamedTuple):
    """``succeeded`` is ``None`` when it cannot be told: neither stopped nor let through."""

    succeeded: bool | None
    sentence: str


class _Blind(Exception):
    """What a detector needs was not observed."""


Detector = Callable[[Observations, Injection], Effect]


def detect(attack_id: str, seen: Observations, injection: Injection) -> Effect:
    """Whether the attack had its effect in its frames.

    Raises ``KeyError`` for an attack without a detector.
    """
    detector = DETECTORS[attack_id]
    try:
        return detector(seen, injection)
    except _Blind as blind:
        return Effect(None, f"It cannot be told: {blind}.")


def was_activated(attack_id: str, seen: Observations, injection: Injection) -> bool:
    """Whether the attack really ran: it announced itself, and its interlock did not hold it back.

    The interlock keeps an attack from processes of another run on the same machine.
    """
    lines = [
        line.text
        for line in seen.log_lines
        if line.partition == seen.attacker and injection.covers(line.frame)
    ]
    begin = re.compile(rf"ATTACK {attack_id} begin frame={injection.frame}\b")
    held = re.compile(rf'ATTACK {attack_id} end frame={injection.frame} .*"interlock": true')
    return any(begin.search(text) for text in lines) and not any(held.search(text) for text in lines)


def first_difference(one: Sequence[Emission], other: Sequence[Emission]) -> tuple[int, str] | None:
    """The first frame and port at which two outputs differ; ``None``: the same, byte for byte."""
    for a, b in zip(one, other, strict=False):
        if a != b:
            return min((a.frame, a.port), (b.frame, b.port))
    if len(one) != len(other):
        rest = one[len(other) :] or other[len(one) :]
        return rest[0].frame, rest[0].port
    return None


# Reading the observations
# ---------------------------------------------------------------------------------------


def _admitted(seen: Observations, injection: Injection) -> list[Admitted]:
    if seen.admitted is None:
        raise _Blind("no record of the admitted messages")
    return [one for one in seen.admitted if injection.covers(one.frame)]


def _payloads(seen: Observations, injection: Injection) -> list[tuple[Admitted, bytes]]:
    """What was admitted from the attacker in the attack's frames, message by message."""
    return [
        (one, payload)
        for one in _admitted(seen, injection)
        if one.port.startswith(seen.attacker + ".") or one.source == seen.attacker
        for payload in one.payloads
    ]


def _refusal(seen: Observations, port: str, payload: bytes) -> str:
    """Why a strict reader refuses the payload: ``schema``, ``range``, ``canonical``, or nothing."""
    message_type = seen.message_types.get(port)
    if message_type is None:
        return ""
    try:
        codec.Codec(message_type).decode(payload)
    except codec.Refused as refused:
        return refused.reason
    return ""


def _peaks(seen: Observations, injection: Injection, label: str) -> list[tuple[int, Peaks]]:
    if seen.peaks is None:
        raise _Blind("nobody watched the processes")
    found = [
        (frame, peak) for (who, frame), peak in seen.peaks.items() if who == label and injection.covers(frame)
    ]
    if not found:
        raise _Blind(f"the watcher has no sample of {label} in these frames")
    return sorted(found, key=lambda pair: pair[0])


def _limit(injection: Injection, name: str, usual: float) -> float:
    return float(injection.parameters.get(name, usual))


def _token(injection: Injection) -> str:
    token = str(injection.parameters.get("token", ""))
    if not token:
        raise _Blind("the injection has no token")
    return token[:15]


def _ended(seen: Observations, injection: Injection, partition: str) -> list[Life]:
    if seen.lives is None:
        raise _Blind("no record of the partitions' lives")
    return [
        life
        for life in seen.lives
        if life.partition == partition and life.ended_frame is not None and injection.covers(life.ended_frame)
    ]


def _mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


# Detectors: the channel
# -----------------------------------------------------------------------------------------


def _oversized(seen: Observations, injection: Injection) -> Effect:
    limit = _limit(injection, "message_bytes_max", MESSAGE_BYTES_MAX)
    for one, payload in _payloads(seen, injection):
        if len(payload) > limit:
            return Effect(
                True, f"A message of {len(payload)} bytes went through to {one.port} in frame {one.frame}."
            )
    return _gate_memory(seen, injection, "No message above its size went through")


def _gate_memory(seen: Observations, injection: Injection, otherwise: str) -> Effect:
    limit = _limit(injection, "gate_rss_bytes_max", GATE_RSS_BYTES_MAX)
    peak = max(peak.rss_bytes_max for _, peak in _peaks(seen, injection, seen.gate_label))
    if peak > limit:
        return Effect(True, f"The reader's memory grew to {_mb(peak)}, above {_mb(limit)}.")
    return Effect(False, f"{otherwise}; the reader's memory peaked at {_mb(peak)}, within {_mb(limit)}.")


def _unterminated(seen: Observations, injection: Injection) -> Effect:
    return _gate_memory(seen, injection, "The unfinished message did no harm")


def _flood(seen: Observations, injection: Injection) -> Effect:
    limit = _limit(injection, "messages_per_frame_max", MESSAGES_PER_FRAME_MAX)
    most = 0
    for one in _admitted(seen, injection):
        if one.port == f"{seen.attacker}.activity":
            most = max(most, len(one.payloads))
    if most > limit:
        return Effect(True, f"{most} messages went through in one frame; {limit:.0f} are agreed.")
    return Effect(False, f"At most {most} messages went through in one frame, as agreed.")


def _admitted_although(reason: str, what: str) -> Detector:
    """A detector of admitted messages that a strict reader refuses for ``reason``."""

    def detector(seen: Observations, injection: Injection) -> Effect:
        guilty = [
            one for one, payload in _payloads(seen, injection) if _refusal(seen, one.port, payload) == reason
        ]
        if guilty:
            return Effect(
                True, f"{len(guilty)} {what} went through to {guilty[0].port} in frame {guilty[0].frame}."
            )
        return Effect(False, f"No {what} went through.")

    return detector


def _ambiguous(seen: Observations, injection: Injection) -> Effect:
    """C07: one of the readings of a message that has several was passed on, or the message itself."""
    for one, payload in _payloads(seen, injection):
        if _refusal(seen, one.port, payload) == "canonical":
            return Effect(
                True, f"A message with two readings went through to {one.port} in frame {one.frame}."
            )
        value = _anything(payload)
        if isinstance(value, dict) and (
            value.get("steps_per_min") == AMBIGUOUS_STEPS or value.get("counter") in AMBIGUOUS_COUNTERS
        ):
            return Effect(True, f"One of two readings went through to {one.port} in frame {one.frame}.")
    return Effect(False, "No ambiguous message went through, in no reading.")


def _anything(payload: bytes) -> object:
    """Whatever MessagePack value the bytes hold; ``None`` when they hold none."""
    try:
        value: object = codec.decode_any(payload)
    except Exception:  # hostile bytes make a decoder raise anything
        return None
    return value


def _decoder(seen: Observations, injection: Injection) -> Effect:
    """Bytes that no strict reader accepts went through, or therapy lost a life over them."""
    for one, payload in _payloads(seen, injection):
        if _refusal(seen, one.port, payload) == "schema":
            return Effect(
                True, f"{len(payload)} undecodable bytes went through to {one.port} in frame {one.frame}."
            )
    deaths = _ended(seen, injection, seen.victim)
    if deaths:
        return Effect(
            True, f"{seen.victim} lost a life in frame {deaths[0].ended_frame} ({deaths[0].reason})."
        )
    return Effect(False, f"No undecodable bytes went through, and {seen.victim} lived on.")


def _replay(seen: Observations, injection: Injection) -> Effect:
    """A message of an earlier frame was admitted again.

    Every honest message carries its minute or its number.
    """
    fresh = [(one, data) for one, data in _payloads(seen, injection) if one.frame <= injection.frame + 1]
    assert seen.admitted is not None
    earlier = {
        (one.port, payload)
        for one in seen.admitted
        if one.frame < injection.frame
        for payload in one.payloads
    }
    again = sum((one.port, payload) in earlier for one, payload in fresh)
    if again:
        return Effect(True, f"{again} old messages were taken for new ones.")
    return Effect(False, "No old message was taken for a new one.")


def _forged(seen: Observations, injection: Injection, payloads: dict[bytes, str]) -> Effect | None:
    for one in _admitted(seen, injection):
        for payload in one.payloads:
            if payload in payloads:
                what = payloads[payload]
                return Effect(
                    True, f"{what} went through to {one.port} in frame {one.frame}, as if from {one.source}."
                )
    return None


def _spoofed(seen: Observations, injection: Injection) -> Effect:
    forged: dict[bytes, str] = {}
    for at_min in _minutes(injection):
        forged[codec.encode(forged_reading(at_min))] = "The forged glucose reading"
        forged[codec.encode(forged_command(at_min))] = "The forged dose"
    return _forged(seen, injection, forged) or Effect(False, "Neither forged message went through.")


def _direction(seen: Observations, injection: Injection) -> Effect:
    forged = {codec.encode(forged_command(at_min)): "The dose command" for at_min in _minutes(injection)}
    return _forged(seen, injection, forged) or Effect(
        False, "No message went through to a port that is not its own."
    )


def _minutes(injection: Injection) -> tuple[int, ...]:
    """The minute that the attack wrote into its forgeries, by its frame."""
    return (int(injection.frame * _limit(injection, "frame_minutes", 5)),)


# Detectors: memory, signals, scheduling
# -------------------------------------------------------------------------


def _overwritten(seen: Observations, injection: Injection) -> Effect:
    """K01. Therapy publishes the settings it works with: if they change, its memory was changed.

    Otherwise its outputs decide. They may differ from a twin's for an innocent reason as well: a transfer
    that was killed for the attempt relays nothing in that frame. A replay of the admitted messages has no
    such reason.
    """
    if seen.therapy_outputs is None:
        raise _Blind("no record of therapy's outputs")
    before, after = _settings(seen, injection)
    if before is not None and after is not None and before != after:
        return Effect(True, f"Therapy's settings changed: {_changes(before, after)}.")
    if seen.reference_outputs is None:
        raise _Blind("there is no run to compare therapy's outputs with")
    first = first_difference(seen.therapy_outputs, seen.reference_outputs)
    if first is None or (injection.until_frame is not None and first[0] >= injection.until_frame):
        return Effect(False, "Therapy's outputs are the same, byte for byte.")
    if first[0] < injection.frame:
        if before is not None and before == after:
            return Effect(False, "Therapy's settings are what they were.")
        raise _Blind(f"therapy's outputs differed already in frame {first[0]}, before the attack")
    if seen.reference_is_replay or not _ended(seen, injection, seen.attacker):
        return Effect(True, f"Therapy's outputs differ from frame {first[0]}, port {first[1]}.")
    if before is not None and before == after:
        return Effect(
            False, "Therapy's settings are what they were; it only lacked the killed partition's messages."
        )
    raise _Blind(
        "therapy's outputs differ, but the attacker's death may be the reason; compare with a replay"
    )


def _settings(
    seen: Observations, injection: Injection
) -> tuple[dict[str, object] | None, dict[str, object] | None]:
    """The last settings that therapy published before the attack and in its frames, without the time."""
    before = after = None
    for one in seen.therapy_outputs or ():
        if one.port == f"{seen.victim}.settings":
            value = codec.decode_any(one.payload)
            fields = {key: item for key, item in value.items() if key != "at_min"}
            if one.frame < injection.frame:
                before = fields
            elif one.frame > injection.frame and injection.covers(one.frame):
                after = fields
    return before, after


def _changes(before: dict[str, object], after: dict[str, object]) -> str:
    return ", ".join(
        f"{key} {before.get(key)} to {value}" for key, value in after.items() if before.get(key) != value
    )


def _secrets(seen: Observations, injection: Injection) -> Effect:
    if not seen.canaries:
        raise _Blind("no canary was planted")
    where = {f"the upload of frame {one.frame}": payload for one, payload in _payloads(seen, injection)}
    for index, got in enumerate(seen.received or ()):
        where[f"what arrived at the attacker's server ({got.door}, {index})"] = got.data
    for line in seen.log_lines:
        if line.partition == seen.attacker and injection.covers(line.frame):
            where[f"the log of frame {line.frame}"] = line.text.encode()
    for place, data in where.items():
        if any(canary in data for canary in seen.canaries):
            return Effect(True, f"A secret of {seen.victim} turned up in {place}.")
    return Effect(False, f"No secret of {seen.victim} turned up in anything the attacker sent.")


def _signalled(seen: Observations, injection: Injection) -> Effect:
    deaths = _ended(seen, injection, seen.victim)
    if deaths:
        return Effect(
            True, f"{seen.victim} lost a life in frame {deaths[0].ended_frame} ({deaths[0].reason})."
        )
    if seen.missed is None:
        raise _Blind("no record of missed windows")
    missed = [one for one in seen.missed if one.partition == seen.victim and injection.covers(one.frame)]
    if missed:
        return Effect(
            True, f"{seen.victim} missed {len(missed)} windows, the first in frame {missed[0].frame}."
        )
    if seen.peaks is not None:
        for (label, frame), peak in seen.peaks.items():
            if label == seen.victim and injection.covers(frame) and peak.was_stopped:
                return Effect(True, f"{seen.victim} was stopped in frame {frame}.")
    return Effect(False, f"{seen.victim} lived on and missed no window.")


def _reniced(seen: Observations, injection: Injection) -> Effect:
    worst = max(peak.nice_max for _, peak in _peaks(seen, injection, seen.victim))
    if worst >= 19:
        return Effect(True, f"{seen.victim} ran at the lowest priority.")
    return Effect(False, f"{seen.victim} kept its priority.")


def _hang(seen: Observations, injection: Injection) -> Effect:
    if seen.frame_seconds is None or injection.frame not in seen.frame_seconds:
        raise _Blind("nobody timed this frame")
    limit, took = _limit(injection, "stall_s", STALL_S), seen.frame_seconds[injection.frame]
    if took > limit:
        return Effect(True, f"The whole device waited {took:.1f} s for it.")
    return Effect(False, f"The frame took {took:.1f} s: nobody waited for it.")


# Detectors: what the host sees
# ----------------------------------------------------------------------------------


def _forks(seen: Observations, injection: Injection) -> Effect:
    limit = _limit(injection, "processes_max", PROCESSES_MAX)
    most = max(peak.processes_max for _, peak in _peaks(seen, injection, seen.attacker))
    return Effect(most > limit, f"{seen.attacker} had at most {most} processes; {limit:.0f} is its limit.")


def _memory(seen: Observations, injection: Injection) -> Effect:
    limit = _limit(injection, "rss_bytes_max", PARTITION_RSS_BYTES_MAX)
    peak = max(peak.rss_bytes_max for _, peak in _peaks(seen, injection, seen.attacker))
    return Effect(
        peak > limit, f"{seen.attacker} held at most {_mb(peak)} of memory; the bound is {_mb(limit)}."
    )


def _held(seen: Observations, injection: Injection) -> int:
    """The most bytes that the attacker held in files. A life that ended with the attempt holds none."""
    most = max(peak.held_bytes_max for _, peak in _peaks(seen, injection, seen.attacker))
    if most < 0:
        if _ended(seen, injection, seen.attacker):
            return 0
        raise _Blind(f"{seen.attacker}'s descriptors could not be looked at")
    return most


def _memfd(seen: Observations, injection: Injection) -> Effect:
    limit, held = _limit(injection, "held_bytes_max", HELD_BYTES_MAX), _held(seen, injection)
    return Effect(
        held > limit, f"{seen.attacker} hid at most {_mb(held)} in nameless files; the bound is {_mb(limit)}."
    )


def _files(seen: Observations, injection: Injection) -> Effect:
    files_max = _limit(injection, "files_max", FILES_MAX)
    bytes_max = _limit(injection, "file_bytes_max", FILE_BYTES_MAX)
    held = max((size for _, size in _shared(seen, injection)), default=0)
    most = max(peak.fds_max for _, peak in _peaks(seen, injection, seen.attacker))
    if held > bytes_max:
        return Effect(True, f"It put {_mb(held)} on the machine's shared disk.")
    if most < 0:
        raise _Blind(f"{seen.attacker}'s descriptors could not be looked at")
    return Effect(
        most > files_max, f"{seen.attacker} had at most {most} descriptors; the bound is {files_max:.0f}."
    )


def _shared(seen: Observations, injection: Injection) -> list[tuple[str, int]]:
    """This attack's files where all can see them: path and size."""
    if seen.shared_files is None:
        raise _Blind("nobody looked at the shared folders")
    token = _token(injection)
    return [
        (path, size)
        for (frame, path), size in seen.shared_files.items()
        if path.endswith("/" + token) and injection.covers(frame)
    ]


def _io_uring(seen: Observations, injection: Injection) -> Effect:
    peaks = _peaks(seen, injection, seen.attacker)
    if any(peak.has_io_uring for _, peak in peaks):
        return Effect(True, f"{seen.attacker} held an io_uring.")
    _held(seen, injection)  # cannot tell unless descriptors could be seen
    return Effect(False, f"{seen.attacker} never held an io_uring.")


def _namespace(seen: Observations, injection: Injection) -> Effect:
    if any(peak.has_foreign_user_namespace for _, peak in _peaks(seen, injection, seen.attacker)):
        return Effect(True, f"{seen.attacker} had a process in a user namespace of its own making.")
    return Effect(False, f"All of {seen.attacker}'s processes stayed in its user namespace.")


def _dropped(seen: Observations, injection: Injection) -> Effect:
    token = _token(injection)
    if any(token in peak.comms for _, peak in _peaks(seen, injection, seen.attacker)):
        return Effect(True, f"The dropped program {token} ran.")
    return Effect(False, "The dropped program never ran.")


def _survived(seen: Observations, injection: Injection) -> Effect:
    if seen.survivors is None:
        raise _Blind("nobody looked for survivors")
    if not _ended(seen, injection, seen.attacker):
        raise _Blind(f"{seen.attacker} was not killed, so nothing could outlive that")
    left = [one for one in seen.survivors if one.comm == _token(injection)]
    if left:
        return Effect(True, f"Process {left[0].pid} was still alive after {seen.attacker} was gone.")
    return Effect(False, f"Nothing of {seen.attacker} was left.")


def _shared_file(seen: Observations, injection: Injection) -> Effect:
    if any(path.startswith("/dev/shm/") for path, _ in _shared(seen, injection)):
        return Effect(True, "Its file stood in the memory that all processes share.")
    return Effect(False, "No file of its own appeared in shared memory.")


def _got_out(attack_id: str) -> Detector:
    """A detector of messages at the attacker's server."""

    def detector(seen: Observations, injection: Injection) -> Effect:
        if seen.received is None:
            raise _Blind("no attacker's server was listening")
        mark = f"EGRESS {attack_id} frame={injection.frame} ".encode()
        doors = sorted({one.door for one in seen.received if mark in one.data})
        if doors:
            return Effect(True, f"Its message arrived at the attacker's server by {' and '.join(doors)}.")
        return Effect(False, "Nothing arrived at the attacker's server.")

    return detector


DETECTORS: Mapping[str, Detector] = {
    "C01": _oversized,
    "C03": _unterminated,
    "C05": _flood,
    "C06": _admitted_although("schema", "messages of the wrong shape"),
    "C07": _ambiguous,
    "C08": _admitted_although("range", "impossible values"),
    "C10": _decoder,
    "C14": _replay,
    "C15": _spoofed,
    "C18": _direction,
    "K01": _overwritten,
    "K02": _secrets,
    "K03": _signalled,
    "K06": _shared_file,
    "K08": _got_out("K08"),
    "K09": _io_uring,
    "K10": _namespace,
    "K16": _forks,
    "K17": _memory,
    "K18": _memfd,
    "K19": _files,
    "K21": _reniced,
    "K23": _got_out("K23"),
    "K24": _dropped,
    "K25": _survived,
    "F02": _hang,
}


def describe(injection: Injection) -> str:
    """One line for people: what is tried, in plain words."""
    return f"{injection.attack_id} {row(injection.attack_id).name}: {row(injection.attack_id).plain}"
