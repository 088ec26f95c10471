"""Attacks on the channel, each sent over a real ZeroMQ connection through the SDK's own link."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from faults import attack_files
from faults.attacks import (
    c01_malformed_oversized as c01,
)
from faults.attacks import (
    c05_valid_flood as c05,
)
from faults.attacks import (
    c07_parser_differential as c07,
)
from faults.attacks import (
    c14_replay_reorder_stale as c14,
)
from faults.attacks import (
    c15_spoofed_sender as c15,
)
from faults.attacks import (
    c16_route_squat_hijack as c16,
)
from faults.attacks import (
    c18_wrong_state_direction as c18,
)
from faults.attacks import (
    c19_non_reading_peer as c19,
)
from faults.attacks import (
    f03_clock_jump as f03,
)
from faults.attacks import (
    f05_bit_flip as f05,
)
from faults.implant import foothold as footholds
from faults.implant.foothold import Captured, Foothold
from ipc_schemas import codec, insulin_pump, wire
from ipc_schemas.window import Ports, Window
from partitions.sdk.runner import Link

FRAME = 96
ACTIVITY, REQUEST, UPLOAD, STATUS = 11, 12, 13, 14
TYPES: dict[int, type[Any]] = {
    ACTIVITY: insulin_pump.ActivityHint,
    REQUEST: insulin_pump.TargetRequest,
    UPLOAD: insulin_pump.Upload,
}
#: Payload bytes that the reference design lets each port carry.
BYTES_MAX = {ACTIVITY: 48, REQUEST: 224, UPLOAD: 4_352}
PER_FRAME_MAX = {ACTIVITY: 1, REQUEST: 2, UPLOAD: 4}
HELLO = wire.Hello(
    2,
    7,
    300_000,
    (
        wire.PortCard(ACTIVITY, "activity", True, True, 0, "ActivityHint"),
        wire.PortCard(REQUEST, "target_request", True, False, 0, "TargetRequest"),
        wire.PortCard(UPLOAD, "upload", True, False, 0, "Upload"),
        wire.PortCard(STATUS, "status", False, True, 3, "TherapyStatus"),
    ),
)


class Stage:
    """Both ends of a channel: the attacker's foothold, and the peer that would be the gate."""

    def __init__(self, folder: Path) -> None:
        self.context = zmq.Context()
        self.peer: zmq.Socket[bytes] = self.context.socket(zmq.PAIR)
        self.own: zmq.Socket[bytes] = self.context.socket(zmq.PAIR)
        for end in (self.peer, self.own):
            end.linger = 0
        self.peer.rcvtimeo = 1_000
        self.peer.bind(f"ipc://{folder}/gate.sock")
        self.own.connect(f"ipc://{folder}/gate.sock")
        self.link = Link(self.own, HELLO)
        self.link.frame = FRAME
        self.ports = Ports(HELLO, insulin_pump)
        self.window = Window(self.ports, wire.WindowOpen(FRAME, ()), self.link.emit)
        self.foothold = footholds.find(self.window)

    def received(self) -> list[tuple[wire.Header, bytes]]:
        """Everything up to a closing message."""
        self.link.close_window()
        found: list[tuple[wire.Header, bytes]] = []
        while True:
            header, payload = wire.unpack(self.peer.recv())
            if header.port == wire.PORT_CLOSE:
                return found
            found.append((header, payload))

    def close(self) -> None:
        """End both."""
        self.peer.close()
        self.own.close()
        self.context.term()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A channel with an attacker at one end."""
    made = Stage(tmp_path)
    yield made
    made.close()


def _refusal(port: int, payload: bytes) -> str:
    try:
        codec.Codec(TYPES[port]).decode(payload)
    except codec.Refused as refused:
        return refused.reason
    return ""


def test_the_foothold_is_found_among_the_interpreters_objects(stage: Stage) -> None:
    found = footholds.find(stage.window)
    assert found.socket is stage.own
    assert found.link is stage.link
    assert found.hello is HELLO
    assert found.port("upload") == UPLOAD
    with pytest.raises(LookupError):
        found.port("cgm")


def test_a_raw_message_keeps_the_honest_ones_in_line(stage: Stage) -> None:
    stage.foothold.send_raw(wire.pack(stage.foothold.header(ACTIVITY), b"x"))
    stage.window.send("activity", insulin_pump.ActivityHint(1, 2.0))
    sequences = [header.sequence for header, _ in stage.received()]
    assert sequences == [0, 1]


@pytest.mark.parametrize(
    ("attack_id", "reasons"),
    [("C06", {"schema"}), ("C07", {"canonical"}), ("C08", {"range"}), ("C10", {"schema"})],
)
def test_a_payload_attack_is_refused_for_what_it_carries(
    stage: Stage, attack_id: str, reasons: set[str]
) -> None:
    inject = attack_files.built()[attack_id].inject
    assert inject is not None
    report = inject(stage.foothold, {})
    got = stage.received()
    assert len(got) == report["sent"]
    assert {_refusal(header.port, payload) for header, payload in got} == reasons
    for header, payload in got:
        assert (header.source, header.epoch, header.frame) == (2, 7, FRAME)
        assert len(payload) <= BYTES_MAX[header.port]
    for port, limit in PER_FRAME_MAX.items():
        assert sum(header.port == port for header, _ in got) <= limit


def test_c07_has_a_reading_that_a_loose_reader_accepts(stage: Stage) -> None:
    c07.inject(stage.foothold, {})
    read = [codec.Codec(TYPES[header.port]).decode_loosely(payload) for header, payload in stage.received()]
    hint, request = read
    assert isinstance(hint, insulin_pump.ActivityHint)
    assert isinstance(request, insulin_pump.TargetRequest)
    assert hint.steps_per_min == c07.AMBIGUOUS_STEPS
    assert request.counter == c07.AMBIGUOUS_COUNTERS[1]


def test_c05_sends_nothing_but_valid_messages(stage: Stage) -> None:
    c05.inject(stage.foothold, {"count": 30})
    got = stage.received()
    assert len(got) == 30
    assert {_refusal(header.port, payload) for header, payload in got} == {""}


def test_c14_sends_old_messages_once_more(stage: Stage) -> None:
    old = Captured(wire.Header(2, UPLOAD, 7, 90, 4), b"old")
    stage.foothold.captured = [old, Captured(wire.Header(2, UPLOAD, 7, FRAME, 5), b"of this frame")]
    c14.inject(stage.foothold, {})
    assert stage.received() == [(old.header, b"old"), (old.header._replace(frame=FRAME), b"old")]


def test_c15_claims_to_be_the_world_and_therapy(stage: Stage) -> None:
    known = {"world_cgm_port": 1, "therapy_pump_command_port": 7, "therapy_number": 1}
    c15.inject(stage.foothold, known)
    (first, reading), (second, command) = stage.received()
    assert (first.source, first.port) == (wire.WORLD, 1)
    assert codec.Codec(insulin_pump.CgmReading).decode(reading).glucose_mg_dl == 400.0
    assert (second.source, second.port) == (1, 7)
    assert codec.Codec(insulin_pump.PumpCommand).decode(command).bolus_u == 25.0


@pytest.mark.parametrize("piece_bytes", [1, 7, 64, 4_096])
def test_c16_changes_one_command_and_passes_on_all_else(piece_bytes: int) -> None:
    command = codec.encode(insulin_pump.PumpCommand(9, 485, 0.8, 0.1, 30))
    large = wire.pack(wire.Header(1, 8, 0, FRAME, 1), bytes(300))
    honest = wire.pack(wire.Header(1, 7, 0, FRAME, 2), command)
    again = wire.pack(wire.Header(1, 7, 0, FRAME + 1, 3), command)
    before = bytes(64) + b"\x04\x05READY" + b"\x02" + len(large).to_bytes(8, "big") + large
    stream = before + bytes((0, len(honest))) + honest + bytes((0, len(again))) + again
    forger = c16.Forger(7, 25)
    out = b"".join(
        forger.passed_on(stream[start : start + piece_bytes]) for start in range(0, len(stream), piece_bytes)
    )
    changed = wire.pack(wire.Header(1, 7, 0, FRAME, 2), c16.forged(485, 25))
    assert out == before + bytes((0, len(changed))) + changed + bytes((0, len(again))) + again


def test_c18_sends_a_dose_to_ports_that_are_not_its_own(stage: Stage) -> None:
    c18.inject(stage.foothold, {"therapy_pump_command_port": 7, "world_pump_command_port": 21})
    got = stage.received()
    assert [(header.source, header.port) for header, _ in got] == [(2, 7), (2, 21), (2, STATUS)]


def test_c19_gives_its_turn_back_once_and_then_is_silent(stage: Stage) -> None:
    began_s = time.monotonic()
    c19.inject(stage.foothold, {"silence_ms": 120})
    assert time.monotonic() - began_s >= 0.12
    assert stage.received() == []  # the SDK's own close, which this calls, is left out once
    assert stage.peer.poll(50) == 0
    stage.window.send("activity", insulin_pump.ActivityHint(1, 2.0))
    assert [header.sequence for header, _ in stage.received()] == [1]


def test_c01_is_larger_than_any_port_allows(stage: Stage) -> None:
    c01.inject(stage.foothold, {"hold_s": 0})
    ((_, payload),) = stage.received()
    assert len(payload) > 10 * max(BYTES_MAX.values())


@pytest.mark.parametrize(("minutes", "frame"), [(60, FRAME + 12), (-10, FRAME - 2), (-1_440, 0)])
def test_f03_stamps_what_it_sends_with_another_time(stage: Stage, minutes: int, frame: int) -> None:
    f03.inject(stage.foothold, {"minutes": minutes})
    ((header, hint),) = stage.received()
    assert header.frame == frame
    assert codec.Codec(insulin_pump.ActivityHint).decode(hint).at_min == frame * 5


@pytest.mark.parametrize("bit", [0, 9, 31])
@pytest.mark.parametrize(
    ("where", "reason"), [("sign", "range"), ("exponent", "range"), ("name", "schema"), ("value", "")]
)
def test_f05_damages_a_payload_so_that_a_reader_sees_it_or_cannot(
    stage: Stage, where: str, reason: str, bit: int
) -> None:
    f05.inject(stage.foothold, {"where": where, "bit": bit, "flips": 2})
    ((header, hint),) = stage.received()
    assert (header.source, header.epoch, header.frame, header.sequence) == (2, 7, FRAME, 0)
    assert hint != codec.encode(insulin_pump.ActivityHint(FRAME * 5, f05.STEPS_PER_MIN))
    assert _refusal(header.port, hint) == reason


@pytest.mark.parametrize(("where", "place"), [("sender", 0), ("life", 2), ("frame", 3), ("place", 4)])
def test_f05_damages_one_field_of_a_header(stage: Stage, where: str, place: int) -> None:
    f05.inject(stage.foothold, {"where": where, "bit": 14, "flips": 4})
    ((header, hint),) = stage.received()
    sound = wire.Header(2, ACTIVITY, 7, FRAME, 0)
    assert [index for index in range(5) if header[index] != sound[index]] == [place]
    assert (header[place] ^ sound[place]).bit_count() == 4
    assert hint == codec.encode(insulin_pump.ActivityHint(FRAME * 5, f05.STEPS_PER_MIN))


def test_loot_leaves_through_the_upload_port(stage: Stage) -> None:
    stage.foothold.loot("K02", b"secret")
    ((header, payload),) = stage.received()
    assert header.port == UPLOAD
    assert codec.Codec(insulin_pump.Upload).decode(payload).chunk == b"LOOT:K02:secret"


_PEER = """
import sys, time, zmq
peer = zmq.Context().socket(zmq.PAIR)
peer.setsockopt(zmq.MAXMSGSIZE, 1024)
peer.bind(sys.argv[1])
print("ready", flush=True)
assert peer.recv() == b"hello"
sys.stdin.readline()
time.sleep(0.5)
resident = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(resident[0].split()[1], time.process_time(), flush=True)
"""
_ATTACKER = """
import json, sys, time, zmq
from faults.attacks import MODULE
own = zmq.Context().socket(zmq.PAIR)
own.linger = 0
own.connect(sys.argv[1])
own.send(b"hello")
time.sleep(0.2)
print(json.dumps(MODULE.inject(None, PARAMETERS)))
"""


def _peer_after(folder: Path, module: str, parameters: dict[str, object]) -> tuple[int, float]:
    """The peak memory of a peer, in kB, and its processor time in s, after an attack has been at it."""
    attacker = _ATTACKER.replace("MODULE", module).replace("PARAMETERS", repr(parameters))
    endpoint = f"ipc://{folder}/peer.sock"
    with subprocess.Popen(
        [sys.executable, "-c", _PEER, endpoint], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        assert peer.stdout.readline() == "ready\n"
        done = subprocess.run(
            [sys.executable, "-c", attacker, endpoint], capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)["errors"] == []
        peer.stdin.write("\n")
        peer.stdin.flush()
        peak_kb, cpu_s = peer.stdout.readline().split()
        return int(peak_kb), float(cpu_s)


def test_c03_inflates_its_peer_past_every_message_limit(tmp_path: Path) -> None:
    module = "c03_unterminated_multipart"
    grown, _ = _peer_after(tmp_path, module, {"bytes": 4_000_000, "leave": False})
    usual, _ = _peer_after(tmp_path, module, {"bytes": 0, "leave": False})
    assert grown > usual + 80_000, (grown, usual)


def test_c04_makes_its_peer_work_without_one_message(tmp_path: Path) -> None:
    _, worked_s = _peer_after(tmp_path, "c04_below_schema_flood", {"pings": 600_000})
    _, usual_s = _peer_after(tmp_path, "c04_below_schema_flood", {"pings": 0})
    assert worked_s > usual_s + 0.1, (worked_s, usual_s)


def test_a_foothold_without_a_socket_does_not_send() -> None:
    window = Window(Ports(HELLO, insulin_pump), wire.WindowOpen(FRAME, ()), lambda *_: None)
    assert Foothold(window).send_raw(b"x") is False
