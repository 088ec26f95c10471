"""Each detector fires on the effect, is silent without it, and makes no claim about what nobody looked at."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest

from faults import attack_files, detectors
from faults.attack import Injection
from faults.attacks import c07_parser_differential as c07
from faults.attacks import c16_route_squat_hijack as c16
from faults.attacks import f05_bit_flip as f05
from faults.effects import FOREIGN_MARK, foreign_image_ran
from faults.implant import messages, timex
from faults.seen import (
    Admitted,
    Attested,
    Emission,
    Life,
    LogLine,
    Missed,
    Observations,
    Peaks,
    Received,
    StandIn,
    Survivor,
    first_difference,
)
from ipc_schemas import codec
from ipc_schemas.insulin_pump import (
    ActivityHint,
    Alarm,
    AlarmCode,
    AlarmPriority,
    Mode,
    TherapySettings,
    TherapyStatus,
)

FRAME, UNTIL = 96, 104
#: Attacks on the flash, which share a detector.
FLASH = [name for name, attack in attack_files.built().items() if attack.effect is foreign_image_ran]
FOREIGN = (LogLine(0, "therapy", FOREIGN_MARK),)


def _attested(verdict: str = "AFFIRMING", serial: str = "SN-0001", is_debug: bool | None = False) -> Attested:
    return Attested(verdict, "so it says", serial, is_debug)


TOKEN = "bx000000-K00"
HINT = codec.encode(ActivityHint(480, 12.0))
HINT_BEFORE = codec.encode(ActivityHint(475, 11.0))


def _injection(attack_id: str, **parameters: Any) -> Injection:
    usual: dict[str, Any] = {"token": TOKEN, "folder": FOLDER}
    usual |= {"transfer_restarts_max": 1, "transfer_within_frames": 9}
    return Injection(FRAME, attack_id, usual | parameters, UNTIL)


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


def _alarm(frame: int) -> Emission:
    payload = codec.encode(Alarm(frame * 5, AlarmPriority.MEDIUM, AlarmCode.SENSOR_LOST))
    return Emission(frame, "therapy.alarm", payload)


def _status(frame: int, mode: str) -> Emission:
    payload = codec.encode(TherapyStatus(frame * 5, 110.0, 1.0, 0.8, 0.0, 110.0, Mode(mode)))
    return Emission(frame, "therapy.status", payload)


def _restarts(count: int) -> tuple[Life, ...]:
    """A life that ended in the attack's frame, and so many after it; ``_injection`` grants one."""
    return tuple(Life("transfer", n, FRAME + n, FRAME + n, "ended: partition_exit") for n in range(count + 1))


def _stand_in(**changes: Any) -> StandIn:
    whole = StandIn(0, False, "VERDICT bx000000 HELD", "VERDICT bx000000 HELD", "")
    return whole._replace(**changes)


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

FOLDER = "/tmp/bx000000-folder"
MARK_US = timex.mark_us(TOKEN)
EARLIER = _peaks(frame=95, memory_files=Counter(image=2), cpu_s=0.5)
EARLIER_GATE = _peaks("gate-transfer", frame=95)

OWN = (Emission(FRAME, "therapy.pump_command", b"1 U"),)
OVERDOSE = (Emission(FRAME, "therapy.pump_command", b"50 U"),)


def _sent(sent: tuple[Emission, ...], reference: tuple[Emission, ...]) -> dict[str, Any]:
    return {"therapy_outputs": sent, "reference_outputs": reference}


#: Attack, what the harness saw, and what the detector has to say.
CASES: list[tuple[str, dict[str, Any], bool | None]] = [
    *(
        (one, {"log_lines": (LogLine(0, "therapy", FOREIGN_MARK),), "boot_refused": ""}, True)
        for one in FLASH
    ),
    *(
        (one, {"boot_refused": "it differs", "boot_rules": frozenset({"form", "digest"})}, False)
        for one in FLASH
    ),
    *((one, {"boot_refused": "no answer", "boot_rules": frozenset({"element"})}, None) for one in FLASH),
    *((one, {"boot_refused": ""}, None) for one in FLASH),
    *((one, {"boot_refused": "", **_sent(OWN, OWN)}, False) for one in FLASH),
    *((one, {"boot_refused": "", **_sent(OVERDOSE, OWN)}, True) for one in FLASH),
    *(
        (one, {"log_lines": FOREIGN, "boot_refused": "", "attested": _attested()}, True)
        for one in ("B16", "B17")
    ),
    *(
        (one, {"log_lines": FOREIGN, "boot_refused": "", "attested": _attested("CONTRAINDICATED")}, False)
        for one in ("B16", "B17")
    ),
    *((one, {"boot_refused": "", "attested": _attested()}, None) for one in ("B16", "B17")),
    *((one, {"log_lines": FOREIGN, "boot_refused": ""}, None) for one in ("B16", "B17")),
    *(
        (one, {"boot_refused": "it differs", "boot_rules": frozenset({"digest"})}, False)
        for one in ("B16", "B17")
    ),
    *(
        (one, {"boot_refused": "no answer", "boot_rules": frozenset({"element"})}, None)
        for one in ("B16", "B17")
    ),
    ("B18", {"attested": _attested(serial="SN-9999")}, True),
    ("B18", {"attested": _attested("CONTRAINDICATED", "SN-9999")}, False),
    ("B18", {"attested": _attested()}, False),
    ("B18", {}, None),
    ("B19", {"attested": _attested("WARNING", is_debug=True), "debug_told": "debugging is open"}, True),
    ("B19", {"attested": _attested(), "debug_told": "debugging stays closed"}, False),
    ("B19", {"attested": _attested()}, None),
    ("B19", {"attested": _attested(is_debug=None), "debug_told": "debugging stays closed"}, None),
    ("B19", {}, None),
    ("C01", {"admitted": (_admitted(b"x" * 5_000),), "peaks": {}}, True),
    ("C01", {"admitted": (_admitted(HINT),), "peaks": _peaks("gate-transfer")}, False),
    ("C01", {"admitted": (_admitted(HINT),), "peaks": _peaks("gate-transfer", rss_bytes_max=1 << 30)}, True),
    ("C01", {"admitted": (_admitted(HINT),), "peaks": {}}, False),
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
    ("C08", {"admitted": (_admitted(NAN),), "message_types": {}}, True),  # whatever its type lets through
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
    ("K04", {"peaks": _peaks("gate-transfer") | _peaks(parked_fds_max=500)}, True),
    ("K04", {"peaks": _peaks("gate-transfer") | _peaks(parked_fds_max=48)}, False),
    ("K04", {"peaks": EARLIER_GATE | _peaks("gate-transfer", fds_max=25) | _peaks()}, True),
    ("K04", {"peaks": EARLIER_GATE | _peaks("gate-transfer", fds_max=10) | _peaks(parked_fds_max=0)}, False),
    ("K04", {"peaks": EARLIER_GATE | _peaks("gate-transfer", fds_max=10) | _peaks(), "lives": DEAD}, False),
    ("K04", {"peaks": EARLIER_GATE | _peaks("gate-transfer", fds_max=10) | _peaks(), "lives": ()}, None),
    ("K04", {"peaks": _peaks("gate-transfer", fds_max=-1) | _peaks(parked_fds_max=0)}, None),
    ("K04", {"peaks": _peaks(parked_fds_max=64)}, None),
    ("K05", {"peaks": _peaks(memory_files=Counter(image=1))}, True),
    ("K05", {"peaks": EARLIER | _peaks(memory_files=Counter(image=3))}, True),
    ("K05", {"peaks": EARLIER | _peaks(memory_files=Counter(image=2))}, False),
    ("K05", {"peaks": _peaks(memory_files=Counter(other=9))}, False),
    ("K05", {"peaks": _peaks(held_bytes_max=-1), "lives": ()}, None),
    ("K05", {"peaks": _peaks(open_files=Counter({"/srv/log": 2}))}, True),
    ("K05", {"peaks": _peaks(open_files=Counter({"/image/app/main.py": 1}))}, False),
    ("K05", {"admitted": (_admitted(b"LOOT:K05:CANARY-1"),), "canaries": (b"CANARY-1",)}, True),
    ("K06", {"shared_files": {(FRAME, f"/dev/shm/{TOKEN}"): 9}}, True),
    ("K06", {"shared_files": {(FRAME, f"/tmp/{TOKEN}"): 9, (UNTIL, f"/dev/shm/{TOKEN}"): 9}}, False),
    ("K07", {"peaks": _peaks(segment_bytes_max=1)}, True),
    ("K07", {"peaks": _peaks() | _peaks("therapy", segment_bytes_max=1)}, False),
    ("K07", {"peaks": _peaks(frame=UNTIL, segment_bytes_max=1)}, None),
    ("K08", {"received": (Received("abstract", b"EGRESS K08 frame=96 abstract\n"),)}, True),
    ("K08", {"received": (Received("tcp", EGRESS),)}, False),
    ("K09", {"peaks": _peaks(has_io_uring=True)}, True),
    ("K09", {"peaks": _peaks()}, False),
    ("K09", {"peaks": _peaks(held_bytes_max=-1), "lives": ()}, None),
    ("K09", {"peaks": _peaks(held_bytes_max=-1), "lives": DEAD}, False),
    ("K10", {"peaks": _peaks(has_foreign_user_namespace=True)}, True),
    ("K10", {"peaks": _peaks()}, False),
    ("K11", {"peaks": _peaks(kernel_objects={"eventpoll", "userfaultfd"})}, True),
    ("K11", {"peaks": _peaks(kernel_objects={"eventpoll", "bpf-map"})}, False),
    ("K11", {"peaks": _peaks(held_bytes_max=-1), "lives": DEAD}, False),
    ("K11", {"peaks": _peaks(held_bytes_max=-1), "lives": ()}, None),
    ("K12", {"peaks": _peaks(comms={"transfer", TOKEN})}, True),
    ("K12", {"peaks": _peaks(memory_files=Counter({TOKEN: 1}))}, True),
    ("K12", {"peaks": _peaks(comms={"transfer"}, memory_files=Counter(image=1))}, False),
    ("K13", {"received": (Received("terminal", b"TYPED K13 frame=96 "),)}, True),
    ("K13", {"received": (Received("terminal", b"TYPED K13 frame=9 "),)}, False),
    ("K13", {"received": (Received("tcp", b"TYPED K13 frame=96 "),)}, False),
    ("K15", {"shared_files": {(FRAME, f"{FOLDER}/core"): 1}}, True),
    ("K15", {"shared_files": {(FRAME, f"{FOLDER}/core"): 0, (UNTIL, f"{FOLDER}/core"): 9}}, False),
    ("K15", {"shared_files": {(FRAME, "/tmp/core"): 9}}, False),
    ("K16", {"peaks": _peaks(processes_max=2)}, True),
    ("K16", {"peaks": _peaks()}, False),
    ("K17", {"peaks": _peaks(rss_bytes_max=400 << 20)}, True),
    ("K17", {"peaks": _peaks(rss_bytes_max=380 << 20)}, False),
    ("K18", {"peaks": _peaks(held_bytes_max=400 << 20)}, True),
    ("K18", {"peaks": _peaks()}, False),
    ("K18", {"peaks": _peaks(held_bytes_max=-1), "lives": ()}, None),
    ("K19", {"peaks": _peaks(fds_max=1_024), "shared_files": {}}, True),
    ("K19", {"peaks": _peaks(), "shared_files": {(FRAME, f"/tmp/{TOKEN}"): 8 << 20}}, True),
    ("K19", {"peaks": _peaks(), "shared_files": {}}, False),
    ("K19", {"peaks": _peaks(fds_max=-1), "shared_files": {}}, None),
    ("K20", {"peaks": _peaks(cpu_s=1.6)}, True),
    ("K20", {"peaks": EARLIER | _peaks(cpu_s=1.4)}, False),
    ("K21", {"peaks": _peaks("therapy", nice_max=19)}, True),
    ("K21", {"peaks": _peaks("therapy")}, False),
    ("K21", {"peaks": _peaks("therapy", FRAME + 4, nice_max=19)}, True),
    ("K21", {"peaks": _peaks("therapy", FRAME - 4, nice_max=5) | _peaks("therapy", nice_max=5)}, False),
    ("K21", {"peaks": _peaks("therapy", FRAME - 4)}, None),
    (
        "K21",  # a sample begun in the frame before that looked after the attack had struck
        {
            "peaks": _peaks("therapy", FRAME - 4)
            | _peaks("therapy", FRAME - 1, nice_max=5)
            | _peaks("therapy", nice_max=5)
        },
        True,
    ),
    ("K22", {"clock_jumps": ((FRAME, -MARK_US),)}, True),
    ("K22", {"clock_jumps": ((FRAME, MARK_US + 500),)}, True),
    ("K22", {"clock_jumps": ((FRAME, 500), (97, 1_500), (UNTIL, MARK_US))}, False),
    ("K22", {"clock_jumps": ()}, False),
    ("K23", {"received": (Received("udp", EGRESS),)}, True),
    ("K23", {"received": (Received("udp", b"EGRESS K23 frame=9 udp\n"),)}, False),
    ("K24", {"peaks": _peaks(comms={"transfer", TOKEN})}, True),
    ("K24", {"peaks": _peaks(comms={"transfer"})}, False),
    ("K25", {"survivors": (Survivor(1_234, TOKEN),), "lives": DEAD}, True),
    ("K25", {"survivors": (), "lives": DEAD}, False),
    ("K25", {"survivors": (), "lives": ()}, None),
    ("C21", {"lives": (Life("therapy", 0, 0, 97, "killed: gate_died in therapy"),)}, True),
    ("C21", {"lives": (*DEAD, Life("therapy", 0, 0, None, ""))}, False),
    ("C21", {"lives": (Life("therapy", 0, 0, 95, "crashed"), Life("therapy", 1, 96, None, ""))}, False),
    ("F01", {"lives": _restarts(2), "missed": ()}, True),
    ("F01", {"lives": _restarts(1), "missed": ()}, False),
    ("F01", {"lives": (*_restarts(1), Life("therapy", 0, 0, 97, "crashed")), "missed": ()}, True),
    ("F01", {"lives": _restarts(1), "missed": (Missed(98, "therapy"),)}, True),
    ("F07", {"survivors": (Survivor(1_234, "therapy"),), "delivered_u": ()}, True),
    ("F07", {"survivors": (Survivor(1_234, "gate-world"),), "delivered_u": ()}, True),
    ("F07", {"survivors": (), "delivered_u": (0.1,) * 102}, True),
    ("F07", {"survivors": (), "delivered_u": (0.1,) * 101 + (0.0,) * 9}, False),
    ("F07", {"survivors": (Survivor(1_234, TOKEN),), "delivered_u": ()}, False),
    ("K26", {"peaks": _peaks(threads_max=4)}, True),
    ("K26", {"peaks": _peaks(threads_max=3)}, False),
    (
        "K26",
        {"peaks": _peaks(threads_max=3), "received": (Received("udp", b"EGRESS K26 frame=96 udp\n"),)},
        True,
    ),
    ("K26", {"peaks": _peaks(threads_max=3), "received": (Received("udp", EGRESS),)}, False),
    ("F02", {"frame_seconds": {FRAME: 3.0}}, True),
    ("F02", {"frame_seconds": {FRAME: 1.1}}, False),
    ("F02", {"frame_seconds": {95: 3.0}}, None),
    ("F03", {"admitted": (_admitted(codec.encode(ActivityHint(540, 60.0))),)}, True),
    ("F03", {"admitted": (_admitted(codec.encode(ActivityHint(470, 60.0))),)}, True),
    ("F03", {"admitted": (_admitted(HINT), _admitted(HINT_BEFORE))}, False),
    ("F03", {"admitted": (_admitted(codec.encode(ActivityHint(540, 60.0)), frame=97),)}, False),
    ("F04", {"therapy_outputs": (_status(97, "closed_loop"),), "suspended_min": ()}, True),
    ("F04", {"therapy_outputs": (_status(99, "closed_loop"), _alarm(99)), "suspended_min": ()}, True),
    ("F04", {"therapy_outputs": (_status(103, "fallback_basal"), _alarm(103)), "suspended_min": ()}, True),
    ("F04", {"therapy_outputs": (_status(99, "fallback_basal"), _alarm(99)), "suspended_min": ()}, False),
    ("F04", {"therapy_outputs": (), "suspended_min": (500,)}, False),
    ("F04", {"therapy_outputs": (), "suspended_min": (300, 600)}, True),
    ("S01", {"admitted": (_admitted(b"\xc0"),)}, True),
    ("S01", {"admitted": (_admitted(HINT),)}, False),
    ("F05", {"admitted": (_admitted(codec.encode(ActivityHint(480, -f05.STEPS_PER_MIN))),)}, True),
    ("F05", {"admitted": (_admitted(codec.encode(ActivityHint(480, f05.STEPS_PER_MIN))),)}, False),
    ("F05", {"admitted": (_admitted(HINT, frame=97),)}, False),
    ("R01", {"record_bytes": {FRAME: 2 << 20}}, True),
    ("R01", {"record_bytes": {FRAME: 65_537}}, True),
    ("R01", {"record_bytes": {95: 2 << 20, FRAME: 65_536, UNTIL: 2 << 20}}, False),
    ("R01", {"record_bytes": {95: 2 << 20}}, None),
    ("R02", {"frame_seconds": {FRAME: 3.0}, "notes_lost": 0}, True),
    ("R02", {"frame_seconds": {FRAME: 0.1}, "notes_lost": 2}, True),
    ("R02", {"frame_seconds": {FRAME: 1.1, 97: 3.0}, "notes_lost": 0}, False),
    ("R02", {"frame_seconds": {95: 3.0}, "notes_lost": 0}, None),
    (
        "R03",
        {"journal_problem": "/x/journal.bhj: record 9 (byte 700) does not fit the chain: it was changed"},
        True,
    ),
    ("R03", {"journal_problem": ""}, False),
    ("R04", {"stopped": "safe state: the journal cannot be written: /x/journal.bhj: File too large"}, True),
    ("R04", {"stopped": "without a word"}, True),
    ("R04", {"stopped": ""}, False),
    ("R05", {"lives": (Life("therapy", 0, 0, 97, "ended: partition_exit in therapy"),)}, True),
    ("R05", {"lives": (*DEAD, Life("therapy", 0, 0, None, ""))}, False),
    ("R06", {"stand_in": _stand_in(signal=9)}, True),
    ("R06", {"stand_in": _stand_in(was_stopped=True)}, True),
    ("R06", {"stand_in": _stand_in(told="", forged="FORGED")}, False),
    ("R06", {"stand_in": _stand_in(told="")}, None),
    ("R07", {"stand_in": _stand_in(told="VERDICT bx000000 LOST")}, True),
    ("R07", {"stand_in": _stand_in()}, False),
    ("R07", {"stand_in": _stand_in(signal=9, told="")}, None),
    ("R08", {"stand_in": _stand_in(forged="FORGED all attacks held")}, True),
    ("R08", {"stand_in": _stand_in(told="", forged="FORGED never an end told VERDICT")}, True),
    ("R08", {"stand_in": _stand_in()}, False),
    ("R08", {"stand_in": _stand_in(told="")}, None),
    ("R09", {"shared_files": {(FRAME, f"/tmp/bh-x/{TOKEN}"): 8 << 20}}, True),
    (
        "R09",
        {"shared_files": {(FRAME, f"/tmp/bh-x/{TOKEN}"): 9, (UNTIL, f"/tmp/bh-x/{TOKEN}"): 8 << 20}},
        False,
    ),
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


def test_a_sound_payload_under_a_damaged_header_is_a_damaged_message() -> None:
    seen = Observations((), admitted=(_admitted(codec.encode(ActivityHint(480, f05.STEPS_PER_MIN))),))
    assert detectors.detect("F05", seen, _injection("F05", where="sender")).succeeded is True
    assert detectors.detect("F05", seen, _injection("F05", where="name")).succeeded is False


@pytest.mark.parametrize("attack_id", sorted(attack_files.built()))
def test_no_detector_makes_a_claim_when_nobody_looked(attack_id: str) -> None:
    effect = detectors.detect(attack_id, Observations(()), _injection(attack_id))
    assert effect.succeeded is None
    assert effect.sentence.startswith("It cannot be told")


@pytest.mark.parametrize(
    ("kind", "seen", "succeeded"),
    [
        ("bpf", {"peaks": _peaks(kernel_objects={"bpf-map"})}, True),
        ("bpf", {"peaks": _peaks(kernel_objects={"userfaultfd"})}, False),
        ("perf_event_open", {"peaks": _peaks(kernel_objects={"perf_event"})}, True),
        ("keyctl", {"shared_files": {(FRAME, f"/proc/keys/{TOKEN}"): 0}}, True),
        ("keyctl", {"shared_files": {(UNTIL, f"/proc/keys/{TOKEN}"): 0, (FRAME, f"/tmp/{TOKEN}"): 9}}, False),
        ("keyctl", {"peaks": _peaks()}, None),
    ],
)
def test_each_door_of_k11_is_looked_for_in_its_own_place(
    kind: str, seen: dict[str, Any], succeeded: bool | None
) -> None:
    effect = detectors.detect("K11", Observations((), **seen), _injection("K11", kind=kind))
    assert effect.succeeded is succeeded, effect


@pytest.mark.parametrize(
    ("port", "payload", "limit", "succeeded"),
    [
        ("therapy.pump_command", DOSE, 9, True),  # another's port
        ("therapy.pump_command", HINT, 9, False),  # its owner's own message
        ("transfer.activity", HINT, 1, True),  # two, where one is agreed
        ("transfer.activity", HINT, 2, False),
    ],
)
def test_a_script_gets_through_by_others_ports_and_by_numbers(
    port: str, payload: bytes, limit: int, succeeded: bool
) -> None:
    given = {
        "script": f"send therapy.pump_command {DOSE.hex()}",
        "port_limits": json.dumps({"transfer.activity": limit}),
    }
    seen = Observations((), admitted=(_admitted(payload, payload, port=port),))
    assert detectors.detect("S01", seen, _injection("S01", **given)).succeeded is succeeded


def test_the_mark_of_k22_is_never_what_the_kernel_itself_adds() -> None:
    marks = {timex.mark_us(f"bx{number:06x}-K22") for number in range(0, 1 << 24, 4_099)}
    assert len(marks) > 1_000
    assert all(mark % timex.GROWTH_US and 1_000 < mark < 6_000 for mark in marks)


def test_an_attack_counts_as_run_when_it_said_so_in_its_frame() -> None:
    begin = LogLine(FRAME, "transfer", "ATTACK K01 begin frame=96")
    assert detectors.was_activated("K01", Observations((begin,)), _injection("K01"))
    for other in (
        LogLine(FRAME, "therapy", begin.text),  # not the attacker's own word
        LogLine(FRAME, "transfer", "ATTACK K01 begin frame=9"),
        LogLine(FRAME, "transfer", "ATTACK K02 begin frame=96"),
        LogLine(UNTIL, "transfer", begin.text),
        LogLine(FRAME - 1, "transfer", begin.text),
        LogLine(FRAME, "gate of transfer", begin.text),  # a gate says what its partition made it say
        LogLine(FRAME, "transfer", "monitor: ATTACK K01 begin frame=960"),
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


def test_a_number_that_went_through_although_no_bound_should_take_it_is_named_by_its_field() -> None:
    field = "transfer.activity.steps_per_min"
    turned = Observations((), admitted=(_admitted(codec.encode(ActivityHint(480, -f05.STEPS_PER_MIN))),))
    assert detectors.detect("F05", turned, _injection("F05", where="sign")).culprit == field
    assert detectors.detect("F05", turned, _injection("F05", where="value")).culprit == ""
    assert (
        detectors.detect("C08", Observations((), admitted=(_admitted(NAN),)), _injection("C08")).culprit
        == field
    )
