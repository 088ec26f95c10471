"""Each detector fires on the effect, is silent without it, and makes no claim about what nobody looked at."""

from __future__ import annotations

import math
from typing import Any

import pytest

from faults import attack_files, detectors
from faults.attack import Injection
from faults.attacks import c07_parser_differential as c07
from faults.attacks import c16_route_squat_hijack as c16
from faults.implant import messages
from faults.seen import (
    Admitted,
    Emission,
    Life,
    LogLine,
    Missed,
    Observations,
    Peaks,
    Received,
    Survivor,
    first_difference,
)
from ipc_schemas import codec
from ipc_schemas.insulin_pump import ActivityHint, TherapySettings

FRAME, UNTIL = 96, 104
TOKEN = "bx000000-K00"
HINT = codec.encode(ActivityHint(480, 12.0))
HINT_BEFORE = codec.encode(ActivityHint(475, 11.0))


def _injection(attack_id: str, **parameters: Any) -> Injection:
    return Injection(FRAME, attack_id, {"token": TOKEN} | parameters, UNTIL)


def _admitted(*payloads: bytes, frame: int = FRAME, port: str = "transfer.activity") -> Admitted:
    return Admitted(frame, port.partition(".")[0], port, payloads)


def _peaks(label: str = "transfer", frame: int = FRAME, **values: Any) -> dict[tuple[str, int], Peaks]:
    usual: dict[str, Any] = {"samples": 1, "processes_max": 1, "rss_bytes_max": 1 << 20}
    usual |= {"fds_max": 9, "held_bytes_max": 0}
    return {(label, frame): Peaks(**(usual | values))}


def _settings(frame: int, basal_max_u_per_h: float) -> Emission:
    held = TherapySettings(frame * 5, 0.8, 10.0, 34.0, 110.0, basal_max_u_per_h, 9.0)
    return Emission(frame, "therapy.settings", codec.encode(held))


def _dose(frame: int, payload: bytes = b"\x01") -> Emission:
    return Emission(frame, "therapy.pump_command", payload)


def _line(text: str, partition: str = "transfer") -> LogLine:
    return LogLine(FRAME, partition, text)


DEAD = (Life("transfer", 0, 0, FRAME, "killed"),)
STEADY = (_settings(84, 3.0), _dose(95), _dose(96), _dose(97), _settings(98, 3.0))
DIFFERENT = (*STEADY[:3], _dose(97, b"\x02"), STEADY[4])
OVERWRITTEN = (*STEADY[:4], _settings(98, 35.0))
FORGED = codec.encode(messages.forged_reading(480))
DOSE = codec.encode(messages.forged_command(480))
NAN = codec.encode({"at_min": 480, "steps_per_min": math.nan})
AMBIGUOUS = codec.encode(ActivityHint(480, c07.AMBIGUOUS_STEPS))
EGRESS = b"EGRESS K23 frame=96 tcp\n"
CANARY = b"CANARY" + b"-" + bytes(range(25))

#: Attack, what the harness saw, and what the detector has to say.
CASES: list[tuple[str, dict[str, Any], bool | None]] = [
    ("C01", {"admitted": (_admitted(b"x" * 5_000),), "peaks": {}}, True),
    ("C01", {"admitted": (_admitted(HINT),), "peaks": _peaks("gate-transfer")}, False),
    ("C01", {"admitted": (_admitted(HINT),), "peaks": _peaks("gate-transfer", rss_bytes_max=1 << 30)}, True),
    ("C01", {"admitted": (_admitted(b"x" * 5_000, frame=UNTIL),), "peaks": _peaks("gate-transfer")}, False),
    ("C02", {"peaks": _peaks("gate-transfer", fds_max=150), "lives": ()}, True),
    ("C02", {"peaks": _peaks("gate-therapy", fds_max=150), "lives": ()}, True),
    ("C02", {"peaks": _peaks("gate-transfer"), "lives": (Life("therapy", 0, 0, 97, "gate_died"),)}, True),
    ("C02", {"peaks": _peaks("gate-transfer", fds_max=64), "lives": DEAD}, False),
    ("C02", {"peaks": _peaks("transfer", fds_max=150), "lives": ()}, None),
    ("C02", {"peaks": _peaks("gate-transfer", fds_max=-1), "lives": ()}, None),
    ("C03", {"peaks": _peaks("gate-transfer", rss_bytes_max=1 << 30)}, True),
    ("C03", {"peaks": _peaks("gate-transfer")}, False),
    ("C03", {"peaks": _peaks("gate-transfer", frame=UNTIL, rss_bytes_max=1 << 30)}, None),
    ("C04", {"peaks": _peaks("gate-transfer", cpu_s=1.7)}, True),
    ("C04", {"peaks": _peaks("gate-transfer", cpu_s=1.1)}, False),
    ("C04", {"peaks": _peaks("transfer", cpu_s=1.7)}, None),
    ("C05", {"admitted": (_admitted(*[HINT] * 9),)}, True),
    ("C05", {"admitted": (_admitted(HINT), _admitted(HINT, frame=97))}, False),
    ("C06", {"admitted": (_admitted(codec.encode({"at_min": 1})),)}, True),
    ("C06", {"admitted": (_admitted(HINT),)}, False),
    ("C06", {"admitted": (_admitted(NAN),)}, False),
    ("C07", {"admitted": (_admitted(AMBIGUOUS),)}, True),
    ("C07", {"admitted": (_admitted(HINT.replace(b"\xcd\x01\xe0", b"\xce\x00\x00\x01\xe0")),)}, True),
    ("C07", {"admitted": (_admitted(HINT),)}, False),
    ("C08", {"admitted": (_admitted(NAN),)}, True),
    ("C08", {"admitted": (_admitted(HINT),)}, False),
    ("C10", {"admitted": (_admitted(b"\x91" * 50 + b"\xc0"),), "lives": ()}, True),
    ("C10", {"admitted": (), "lives": (Life("therapy", 0, 0, 97, "crashed"),)}, True),
    ("C10", {"admitted": (_admitted(HINT),), "lives": DEAD}, False),
    ("C12", {"log_lines": (_line("\x1b[2K all is well"),)}, True),
    ("C12", {"log_lines": (_line("to \u202e reverse"),)}, True),
    ("C12", {"log_lines": (_line("\\u001b[2K all is well"), _line("\x1b", "therapy"))}, False),
    ("C12", {"log_lines": (_line("\x1b", "therapy"),)}, None),
    ("C14", {"admitted": (_admitted(HINT_BEFORE, frame=95), _admitted(HINT_BEFORE))}, True),
    ("C14", {"admitted": (_admitted(HINT_BEFORE, frame=95), _admitted(HINT))}, False),
    ("C15", {"admitted": (_admitted(FORGED, port="world.cgm"),)}, True),
    ("C15", {"admitted": (_admitted(HINT),)}, False),
    ("C16", {"therapy_outputs": (_dose(95), _dose(97, c16.forged(485, 25)))}, True),
    ("C16", {"therapy_outputs": (_dose(95, c16.forged(475, 25)), _dose(97, c16.forged(485, 5)))}, False),
    ("C18", {"admitted": (_admitted(DOSE, port="therapy.pump_command"),)}, True),
    ("C18", {"admitted": (_admitted(FORGED, port="world.cgm"),)}, False),
    ("C19", {"frame_seconds": {FRAME: 0.1, FRAME + 1: 3.0}}, True),
    ("C19", {"frame_seconds": {FRAME: 0.1, FRAME + 1: 1.1, FRAME + 2: 3.0}}, False),
    ("C19", {"frame_seconds": {FRAME - 1: 3.0}}, None),
    ("K01", {"therapy_outputs": OVERWRITTEN}, True),
    ("K01", {"therapy_outputs": STEADY, "reference_outputs": STEADY, "lives": DEAD}, False),
    ("K01", {"therapy_outputs": DIFFERENT, "reference_outputs": STEADY, "lives": ()}, True),
    ("K01", {"therapy_outputs": DIFFERENT, "reference_outputs": STEADY, "lives": DEAD}, False),
    ("K01", {"therapy_outputs": DIFFERENT[:4], "reference_outputs": STEADY[:4], "lives": DEAD}, None),
    (
        "K01",
        {
            "therapy_outputs": DIFFERENT[:4],
            "reference_outputs": STEADY,
            "reference_is_replay": True,
            "lives": DEAD,
        },
        True,
    ),
    ("K01", {"therapy_outputs": (_dose(90, b"\x03"),), "reference_outputs": (_dose(90),), "lives": ()}, None),
    (
        "K01",
        {"therapy_outputs": (_dose(200, b"\x03"),), "reference_outputs": (_dose(200),), "lives": ()},
        False,
    ),
    (
        "K02",
        {"admitted": (_admitted(b"LOOT:" + CANARY, port="transfer.upload"),), "canaries": (CANARY,)},
        True,
    ),
    ("K02", {"admitted": (), "received": (Received("tcp", CANARY),), "canaries": (CANARY,)}, True),
    ("K02", {"admitted": (_admitted(HINT),), "received": (), "canaries": (CANARY,)}, False),
    ("K02", {"admitted": (_admitted(CANARY),)}, None),
    ("K03", {"lives": (Life("therapy", 0, 0, 97, "killed"),), "missed": ()}, True),
    ("K03", {"lives": (), "missed": (Missed(97, "therapy"),)}, True),
    ("K03", {"lives": (), "missed": (), "peaks": _peaks("therapy", was_stopped=True)}, True),
    ("K03", {"lives": DEAD, "missed": (Missed(97, "transfer"),), "peaks": _peaks("therapy")}, False),
    ("K03", {"lives": ()}, None),
    ("K06", {"shared_files": {(FRAME, f"/dev/shm/{TOKEN}"): 9}}, True),
    ("K06", {"shared_files": {(FRAME, f"/tmp/{TOKEN}"): 9, (UNTIL, f"/dev/shm/{TOKEN}"): 9}}, False),
    ("K08", {"received": (Received("abstract", b"EGRESS K08 frame=96 abstract\n"),)}, True),
    ("K08", {"received": (Received("tcp", EGRESS),)}, False),
    ("K09", {"peaks": _peaks(has_io_uring=True)}, True),
    ("K09", {"peaks": _peaks()}, False),
    ("K09", {"peaks": _peaks(held_bytes_max=-1), "lives": ()}, None),
    ("K09", {"peaks": _peaks(held_bytes_max=-1), "lives": DEAD}, False),
    ("K10", {"peaks": _peaks(has_foreign_user_namespace=True)}, True),
    ("K10", {"peaks": _peaks()}, False),
    ("K16", {"peaks": _peaks(processes_max=2)}, True),
    ("K16", {"peaks": _peaks()}, False),
    ("K17", {"peaks": _peaks(rss_bytes_max=400 << 20)}, True),
    ("K17", {"peaks": _peaks(rss_bytes_max=380 << 20)}, False),
    ("K18", {"peaks": _peaks(held_bytes_max=300 << 20)}, True),
    ("K18", {"peaks": _peaks()}, False),
    ("K18", {"peaks": _peaks(held_bytes_max=-1), "lives": ()}, None),
    ("K19", {"peaks": _peaks(fds_max=1_024), "shared_files": {}}, True),
    ("K19", {"peaks": _peaks(), "shared_files": {(FRAME, f"/tmp/{TOKEN}"): 8 << 20}}, True),
    ("K19", {"peaks": _peaks(), "shared_files": {}}, False),
    ("K19", {"peaks": _peaks(fds_max=-1), "shared_files": {}}, None),
    ("K21", {"peaks": _peaks("therapy", nice_max=19)}, True),
    ("K21", {"peaks": _peaks("therapy")}, False),
    ("K23", {"received": (Received("udp", EGRESS),)}, True),
    ("K23", {"received": (Received("udp", b"EGRESS K23 frame=9 udp\n"),)}, False),
    ("K24", {"peaks": _peaks(comms={"transfer", TOKEN})}, True),
    ("K24", {"peaks": _peaks(comms={"transfer"})}, False),
    ("K25", {"survivors": (Survivor(1_234, TOKEN),), "lives": DEAD}, True),
    ("K25", {"survivors": (), "lives": DEAD}, False),
    ("K25", {"survivors": (), "lives": ()}, None),
    ("F02", {"frame_seconds": {FRAME: 3.0}}, True),
    ("F02", {"frame_seconds": {FRAME: 1.1}}, False),
    ("F02", {"frame_seconds": {95: 3.0}}, None),
]


@pytest.mark.parametrize(
    ("attack_id", "seen", "succeeded"), CASES, ids=[f"{c[0]}-{c[2]}-{i}" for i, c in enumerate(CASES)]
)
def test_a_detector_tells_effect_from_no_effect(
    attack_id: str, seen: dict[str, Any], succeeded: bool | None
) -> None:
    effect = detectors.detect(attack_id, Observations(**({"log_lines": ()} | seen)), _injection(attack_id))
    assert effect.succeeded is succeeded, effect
    assert effect.sentence.endswith(".")


def test_each_detector_is_shown_both_ways() -> None:
    for attack_id in attack_files.built():
        shown = {succeeded for other, _, succeeded in CASES if other == attack_id}
        assert {True, False} <= shown, attack_id


@pytest.mark.parametrize("attack_id", sorted(attack_files.built()))
def test_no_detector_makes_a_claim_when_nobody_looked(attack_id: str) -> None:
    effect = detectors.detect(attack_id, Observations(()), _injection(attack_id))
    assert effect.succeeded is None
    assert effect.sentence.startswith("It cannot be told")


def test_an_attack_counts_as_run_when_it_said_so_in_its_frame() -> None:
    begin = LogLine(FRAME, "transfer", "ATTACK K01 begin frame=96")
    assert detectors.was_activated("K01", Observations((begin,)), _injection("K01"))
    for other in (
        LogLine(FRAME, "therapy", begin.text),  # not the attacker's own word
        LogLine(FRAME, "transfer", "ATTACK K01 begin frame=9"),
        LogLine(FRAME, "transfer", "ATTACK K02 begin frame=96"),
        LogLine(UNTIL, "transfer", begin.text),
    ):
        assert not detectors.was_activated("K01", Observations((other,)), _injection("K01"))


def test_an_attack_that_its_interlock_held_back_did_not_run() -> None:
    lines = (
        LogLine(FRAME, "transfer", "ATTACK K01 begin frame=96"),
        LogLine(FRAME, "transfer", 'ATTACK K01 end frame=96 {"victim": null, "note": "", "interlock": true}'),
    )
    assert not detectors.was_activated("K01", Observations(lines), _injection("K01"))


def test_the_first_difference_of_two_outputs_is_found() -> None:
    assert first_difference(STEADY, STEADY) is None
    assert first_difference(STEADY, DIFFERENT) == (97, "therapy.pump_command")
    assert first_difference(STEADY, STEADY[:2]) == (96, "therapy.pump_command")
    assert first_difference(STEADY[:2], STEADY) == (96, "therapy.pump_command")
