"""Every row of the health table is fired by a real partition that misbehaves, and does what it says."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipc_schemas import links
from monitor.design import Action, Event
from tests.support.devices import Outcome, Toy

pytestmark = pytest.mark.walls
Run = Callable[..., Outcome]

SOCKETS = """
def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False
"""


def at_five(*statements: str) -> str:
    """Statements for the window of frame 5 only."""
    return "if window.frame == 5:\n" + "\n".join(
        f"    {line}" for text in statements for line in text.splitlines()
    )


def raw(**claims: str) -> str:
    """Send one message past the SDK, its header's fields as claimed (expressions)."""
    fields = {
        "source": "link.partition",
        "port": "port",
        "epoch": "link.epoch",
        "frame": "link.frame",
        "sequence": "link.sequence",
        "payload": "codec.encode(Note(1, 'x'))",
    } | claims
    header = ", ".join(fields[name] for name in ("source", "port", "epoch", "frame", "sequence"))
    return f"link.socket.send(wire.pack(wire.Header({header}), {fields['payload']})); link.sequence += 1"


#: By its own processor time, in a window long enough for it, so that a busy machine makes no difference.
SPIN = "until = time.process_time() + 0.25\nwhile time.process_time() < until:\n    pass"
ROOMY: dict[str, Any] = {"cpu_ms": 100, "budget_ms": 4_000, "frame_ms": 5_000}
MULTIPART = """\
while True:
    for fd in filter(is_socket, range(3, 32)):
        try:
            os.write(fd, b"\\x01\\x00" * 30000)
        except BlockingIOError:
            continue
        except OSError:
            time.sleep(0.001)
"""

#: (name, event, what refusals say, the toy)
MISDEEDS: tuple[tuple[str, str, str, Toy], ...] = (
    ("missing field", "bad_message", "schema", Toy(at_five(raw(payload='b"\\x81\\xa1n\\x01"')))),
    ("not MessagePack", "bad_message", "schema", Toy(at_five("window._emit(port, b'\\xc1')"))),
    ("out of range", "bad_message", "range", Toy(at_five("window.send('note', Note(101, 'x'))"))),
    ("too long a text", "bad_message", "range", Toy(at_five("window.send('note', Note(1, 'x' * 9))"))),
    (
        "wide integer",
        "bad_message",
        "canonical",
        Toy(at_five(raw(payload='b"\\x82\\xa1n\\xcc\\x01\\xa4text\\xa1x"'))),
    ),
    ("another's port", "bad_message", "route", Toy(at_five(raw(port="port + 2")))),
    ("too many bytes", "bad_message", "size", Toy(at_five(raw(payload="bytes(49)")))),
    ("replay", "bad_sequence", "sequence", Toy(at_five(raw(sequence="link.sequence - 1")))),
    ("gap", "bad_sequence", "sequence", Toy(at_five(raw(sequence="link.sequence + 1")))),
    ("another life", "bad_sequence", "epoch", Toy(at_five(raw(epoch="link.epoch + 1")))),
    ("another frame", "bad_sequence", "frame", Toy(at_five(raw(frame="link.frame - 1")))),
    ("spoofed sender", "spoofed_sender", "stamp", Toy(at_five(raw(source="3 - link.partition")))),
    (
        "too many messages",
        "rate_exceeded",
        "rate",
        Toy(at_five("for n in range(4): window.send('note', Note(n, 'x'))")),
    ),
    (
        "too many rejections",
        "rejections_exceeded",
        "schema",
        Toy(at_five("for _ in range(4): window._emit(port, b'zz')"), health={"bad_message": "drop"}),
    ),
    ("spins", "window_overrun", "", Toy(at_five("while True: pass"), budget_ms=100)),
    ("sleeps", "window_overrun", "", Toy(at_five("time.sleep(60)"), budget_ms=100)),
    ("exits with 0", "partition_exit", "", Toy(at_five("os._exit(0)"))),
    ("calls sys.exit", "partition_exit", "", Toy(at_five("sys.exit(3)"))),
    ("raises", "partition_exit", "", Toy(at_five("raise RuntimeError('no')"))),
    ("reads address 0", "partition_exit", "", Toy(at_five("ctypes.string_at(0)"))),
    ("closes its descriptors", "partition_exit", "", Toy(at_five("os.closerange(0, 64)"))),
    ("calls ptrace", "forbidden_syscall", "", Toy(at_five("ctypes.CDLL(None).ptrace(0, 0, 0, 0)"))),
    ("allocates", "memory_exceeded", "", Toy(at_five("hoard = bytearray(600 << 20)"))),
    ("computes", "cpu_exceeded", "", Toy(at_five(SPIN), **ROOMY)),
    (
        "unterminated multipart",
        "gate_died",
        "",
        Toy(at_five(MULTIPART), top=SOCKETS, budget_ms=5_000, steady_budget_ms=100, frame_ms=6_000),
    ),
    ("floods its log", "log_flood", "", Toy(at_five("sys.stderr.write('x' * 6000000)"))),
)


@pytest.mark.parametrize(
    ("event", "reason", "toy"), [row[1:] for row in MISDEEDS], ids=[row[0] for row in MISDEEDS]
)
def test_a_misdeed_is_seen_and_its_partition_starts_again(
    device: Run, event: str, reason: str, toy: Toy
) -> None:
    outcome = device(toy)
    assert outcome.rulings() == [(5, event, "restart")], outcome.details()
    assert outcome.reasons() == ({reason} if reason else set())
    (_, _, began), (frame, epoch, ended), reborn = outcome.lives()
    assert (began, frame, epoch, reborn) == ("up", 5, 0, (6, 1, "up"))
    assert ended in ("killed", "ended")
    assert outcome.rulings("steady") == []
    assert [sent for _, sent, _ in outcome.beats] == list(range(11))
    assert (outcome.record.exit_status, outcome.end.why, outcome.end.frames) == (0, "", 12)


EARLY = """\
runner = sys._getframe(1).f_locals
hello = runner["hello"]
port = next(card.number for card in hello.ports if card.is_output)
head = wire.Header(hello.partition, port, hello.epoch, 0, 0)
runner["socket"].send(wire.pack(head, codec.encode(Note(1, "x"))))
"""


def test_what_is_sent_before_the_first_window_is_an_event_and_is_never_delivered(device: Run) -> None:
    outcome = device(Toy("return", init=EARLY))
    expected = [(0, "bad_sequence", action) for action in ("restart", "restart", "restart", "quarantine")]
    assert outcome.rulings() == expected, outcome.details()
    assert outcome.reasons() == {"early"}
    assert "before its first window: early" in outcome.details()
    assert {heard for _, _, heard in outcome.beats} == {0}


def test_what_was_sent_in_the_window_of_a_misdeed_is_not_delivered_and_state_begins_anew(device: Run) -> None:
    outcome = device(Toy(at_five("window._emit(port, b'zz')")))
    heard = {sent: heard for _, sent, heard in outcome.beats}
    # rogue counts its windows; what it says in frame k steady hears in k + 1.
    assert [heard[frame] for frame in range(11)] == [0, 1, 2, 3, 4, 5, 5, 1, 2, 3, 4]


def test_a_killed_gate_is_an_event_of_its_partition(device: Run) -> None:
    gates: list[int] = []

    def note(note: links.Note) -> None:
        if note.kind == "up" and note.partition == "rogue":
            gates.append(int(str(note.facts["gate_pid"])))

    def kill(frame: int, _: Any) -> None:
        if frame == 5:
            os.kill(gates[0], signal.SIGKILL)

    outcome = device(Toy(), on_note=note, on_frame=kill)
    assert [(event, action) for _, event, action in outcome.rulings()] == [("gate_died", "restart")]
    assert len(gates) == 2


def test_a_silent_world_makes_inputs_stale_once(device: Run) -> None:
    toy = Toy(world="if 4 < window.frame < 9: return", health={"stale_input": "restart"})
    outcome = device(toy)
    # The tick of frame 4 is fresh in 5 and 6.
    assert outcome.rulings() == [(7, "stale_input", "restart")]
    assert outcome.rulings("steady") == [(7, "stale_input", "note")]
    assert len(outcome.beats) == 11


@pytest.mark.parametrize(
    ("event", "body", "more"),
    [
        ("bad_message", "window._emit(port, b'zz')", {}),
        ("log_flood", "sys.stderr.write('x' * 100_000)", {}),
        ("window_overrun", "time.sleep(0.3)", {"budget_ms": 60}),
        ("cpu_exceeded", SPIN, ROOMY),
    ],
)
@pytest.mark.parametrize("action", ["note", "drop"])
def test_a_mild_row_lets_the_partition_live(
    device: Run, event: str, body: str, more: dict[str, int], action: str
) -> None:
    outcome = device(Toy(at_five(body), health={event: action}, **more))  # type: ignore[arg-type]
    assert (5, event, action) in outcome.rulings()
    assert {what for _, what, _ in outcome.rulings()} == {event}
    assert outcome.lives() == [(0, 0, "up")]
    assert outcome.end.why == ""


def test_one_that_loses_every_window_and_is_spared_for_it_may_not_spin_for_ever(device: Run) -> None:
    outcome = device(Toy("while True: pass", budget_ms=100, cpu_ms=30, health={"window_overrun": "drop"}))
    found = [row[1:] for row in outcome.rulings()]
    assert ("window_overrun", "drop") in found
    assert [action for event, action in found if event == "cpu_exceeded"] == ["restart"] * 3 + ["quarantine"]
    assert len(outcome.beats) == 11


def test_a_partition_that_fails_in_every_life_is_quarantined_alone(device: Run) -> None:
    outcome = device(Toy("window._emit(port, b'zz')", restarts=2))
    assert [action for _, _, action in outcome.rulings()] == ["restart", "restart", "quarantine"]
    assert outcome.lives()[-1] == (2, 2, "killed")
    assert [note.partition for note in outcome.record.of_kind("quarantine")] == ["rogue"]
    assert len(outcome.beats) == 11


def test_a_row_of_safe_state_stops_all_and_the_world_goes_on_alone(device: Run) -> None:
    toy = Toy(at_five("window._emit(port, b'zz')"), is_critical=True, health={"bad_message": "safe_state"})
    outcome = device(toy)
    assert outcome.rulings() == [(5, "bad_message", "safe_state")]
    assert outcome.lives()[-1] == (5, 0, "killed")
    assert outcome.record.exit_status == 1
    assert outcome.end.frames == 5
    assert outcome.end.why.startswith("safe state: bad_message in rogue")
    assert outcome.record.frames_done + outcome.record.world.orphaned_frames == 12


def test_a_life_that_cannot_begin_again_quarantines_its_own_partition_only(device: Run) -> None:
    folders: list[Path] = []

    def note(note: links.Note) -> None:
        if note.kind == "world_gate":
            folders.append(Path(note.text).parent.parent.parent)

    def spoil(frame: int, _: Any) -> None:
        if frame == 3:
            (folders[0] / "root").rmdir()  # where every confined process builds its root

    outcome = device(Toy(at_five("os._exit(0)"), restarts=2), on_note=note, on_frame=spoil)
    assert [(event, action) for _, event, action in outcome.rulings()] == [
        ("partition_exit", "restart"),
        ("partition_exit", "restart"),
        ("partition_exit", "quarantine"),
    ]
    assert [what for _, _, what in outcome.lives()] == ["up", "ended", "failed", "failed"]
    assert len(outcome.beats) == 11
    assert outcome.end.why == ""


def test_every_event_is_fired_by_a_test_here_or_by_a_gate_that_lies() -> None:
    fired = {event for _, event, _, _ in MISDEEDS} | {"stale_input"}
    assert fired == {event.value for event in Event} - {"gate_lied"}
    assert {"note", "drop", "restart", "quarantine", "safe_state"} == {action.value for action in Action}
